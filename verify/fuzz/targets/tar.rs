//! Tar archives: what is read is written in our form and read again as the same.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::tar(data));
