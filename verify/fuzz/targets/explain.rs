//! Two files that differ, as archives, programs and texts.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::explain(data));
