//! Docker's `config.json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::docker_config(data));
