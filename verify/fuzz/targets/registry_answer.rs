//! What a registry and its token server answer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::registry_answer(data));
