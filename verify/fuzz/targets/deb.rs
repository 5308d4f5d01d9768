//! Debian packages: ar, control file, compressed tars.

#![no_main]

use kdistro_assemble::{
    Entry,
    deb::{self, DebError},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = deb::control(data).map(|control| control.status());
    let _ = deb::maintainer_scripts(data);
    let _ = deb::read_deb(data, &mut |entry: Entry<'_>| -> Result<(), DebError> {
        kdistro_fuzz::read_content(entry);
        Ok(())
    });
});
