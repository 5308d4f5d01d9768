//! The declarative files: a release publishes those it was made from, and a rebuild reads them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::configuration(data));
