//! The strict YAML reader into plain types: what is read is written and read again as the same.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::yaml(data));
