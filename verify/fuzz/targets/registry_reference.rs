//! Where a registry's answer leads.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::registry_reference(data));
