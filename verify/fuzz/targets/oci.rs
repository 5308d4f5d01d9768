//! Indexes, manifests and configurations of images: what is read is written and read again as the same.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::oci(data));
