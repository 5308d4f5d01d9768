//! Trusted roots and public keys.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::trust(data));
