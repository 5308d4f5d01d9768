//! The claim on a number: canonical JSON of one form only.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::claim(data));
