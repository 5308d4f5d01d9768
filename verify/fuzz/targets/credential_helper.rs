//! What a credential helper prints.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::credential_helper(data));
