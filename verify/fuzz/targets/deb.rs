//! Debian packages: ar, control file, compressed tars.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::deb(data));
