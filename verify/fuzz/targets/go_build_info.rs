//! The build information in programs that Go made: ELF, Mach-O and PE.

#![no_main]

use std::io::Cursor;

use kdistro_assemble::go_build_info;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(found)) = go_build_info::read(&mut Cursor::new(data)) else { return };
    let _ = found.linked();
    let _ = found.setting("-tags");
});
