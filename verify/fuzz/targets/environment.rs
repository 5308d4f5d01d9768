//! An environment's file.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::environment(data));
