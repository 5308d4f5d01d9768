//! Zip files of Go modules, read for their content and for their sum.

#![no_main]

use kdistro_assemble::{
    Entry,
    module_zip::{ModuleZipError, read_module_zip},
};
use kdistro_fuzz::MODULE;
use kdistro_source::{mod_file_hash, module_hash};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

fuzz_target!(|data: &[u8]| {
    let _ = module_hash(Cursor::new(data));
    let _ = mod_file_hash(data);
    let visit = &mut |entry: Entry<'_>| -> Result<(), ModuleZipError> {
        kdistro_fuzz::read_content(entry);
        Ok(())
    };
    let _ = read_module_zip(Cursor::new(data), MODULE, visit);
});
