//! Patch files with their trailers.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::patch(data));
