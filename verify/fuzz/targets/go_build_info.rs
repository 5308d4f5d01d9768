//! The build information in programs that Go made: ELF, Mach-O and PE.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kdistro_outside::go_build_info(data));
