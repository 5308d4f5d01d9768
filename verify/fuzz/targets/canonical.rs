//! Canonical JSON: a value has one form, which is read as the same value.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::canonical(data));
