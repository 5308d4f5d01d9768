//! How a server wants to know who asks.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::challenge(data));
