//! Rebuild statements and provenance, as they stand in an envelope.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::statement(data));
