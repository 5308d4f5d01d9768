//! Checkpoints of the log: one form only, and none that a fuzzer writes is signed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::checkpoint(data));
