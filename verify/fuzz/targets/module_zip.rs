//! Zip files of Go modules, read for their content and for their sum.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::module_zip(data));
