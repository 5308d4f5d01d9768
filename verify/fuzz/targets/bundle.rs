//! Sigstore bundles and bare envelopes: none that a fuzzer writes is by the key.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::bundle(data));
