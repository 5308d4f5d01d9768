//! Names and tiles of the log, and proofs over tiles that lie.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::log(data));
