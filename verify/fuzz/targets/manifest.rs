//! The manifest, ours and EKS-D's: what is read is written and read again as the same.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::manifest(data));
