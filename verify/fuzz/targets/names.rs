//! Names with a grammar, paths in an archive and names in a store: each has one spelling.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::names(data));
