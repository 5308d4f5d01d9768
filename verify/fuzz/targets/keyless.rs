//! Bundles without a key, and the roots that say whom to believe.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::keyless(data));
