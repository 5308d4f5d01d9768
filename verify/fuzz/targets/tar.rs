//! Tar archives: what is read is written in our form and read again as the same.

#![no_main]

use kdistro_assemble::{
    Entry,
    tar::{TarError, TarWriter, read_tar},
};
use libfuzzer_sys::fuzz_target;
use std::io;

fuzz_target!(|data: &[u8]| {
    let mut count = 0_u32;
    let read = read_tar(data, &mut |entry: Entry<'_>| -> Result<(), TarError> {
        count += 1;
        kdistro_fuzz::read_content(entry);
        Ok(())
    });
    if read.is_err() {
        return;
    }
    // Sorted archives are also written.
    let mut writer = TarWriter::new(Vec::new(), 0);
    let copied = read_tar(data, &mut |entry: Entry<'_>| writer.append(entry));
    let Ok(written) = copied.and_then(|()| writer.finish()) else { return };
    let mut again = 0_u32;
    let read = read_tar(&written[..], &mut |mut entry: Entry<'_>| -> Result<(), TarError> {
        again += 1;
        if let kdistro_assemble::EntryKind::File { content, .. } = &mut entry.kind {
            let _ = io::copy(content, &mut io::sink());
        }
        Ok(())
    });
    assert!(read.is_ok() && again == count, "{read:?}: {again} of {count}");
});
