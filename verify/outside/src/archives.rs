//! Archives, images, programs and patches.

use std::{
    fs,
    io::{self, Cursor},
    path::Path,
};

use kdistro_assemble::{
    Entry, EntryKind,
    deb::{self, DebError},
    go_build_info,
    module_zip::{ModuleZipError, read_module_zip},
    tar::{TarError, TarWriter, read_tar},
};
use kdistro_formats::oci::{Config, Index, Manifest};
use kdistro_source::{mod_file_hash, module_hash, patch::parse};
use kdistro_verify::{compare, explain};
use tempfile::TempDir;

use crate::seeds::MODULE;

/// A folder that is gone again with what it is for; in memory where that is possible.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let builder = tempfile::Builder::new().prefix("kdistro-outside-").to_owned();
    let made = memory.is_dir().then(|| builder.tempdir_in(memory).ok()).flatten();
    made.unwrap_or_else(|| builder.tempdir().expect("a temporary folder"))
}

/// Reads the content of an entry to its end, but no more than a few megabytes of what a small input unfolds to.
fn read_content(mut entry: Entry<'_>) {
    if let EntryKind::File { content, .. } = &mut entry.kind {
        let mut content = io::Read::take(content, 4 << 20);
        let _ = io::copy(&mut content, &mut io::sink());
    }
}

/// Debian packages: ar, control file, compressed tars.
pub fn deb(data: &[u8]) {
    let _ = deb::control(data).map(|control| control.status());
    let _ = deb::maintainer_scripts(data);
    let _ = deb::read_deb(data, &mut |entry: Entry<'_>| -> Result<(), DebError> {
        read_content(entry);
        Ok(())
    });
}

/// Tar archives: what is read is written in our form and read again as the same.
pub fn tar(data: &[u8]) {
    let mut count = 0_u32;
    let read = read_tar(data, &mut |entry: Entry<'_>| -> Result<(), TarError> {
        count += 1;
        read_content(entry);
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
        if let EntryKind::File { content, .. } = &mut entry.kind {
            let _ = io::copy(content, &mut io::sink());
        }
        Ok(())
    });
    assert!(read.is_ok() && again == count, "{read:?}: {again} of {count}");
}

/// Zip files of Go modules, read for their content and for their sum.
pub fn module_zip(data: &[u8]) {
    let _ = module_hash(Cursor::new(data));
    let _ = mod_file_hash(data);
    let visit = &mut |entry: Entry<'_>| -> Result<(), ModuleZipError> {
        read_content(entry);
        Ok(())
    };
    let _ = read_module_zip(Cursor::new(data), MODULE, visit);
}

/// The build information in programs that Go made: ELF, Mach-O and PE.
pub fn go_build_info(data: &[u8]) {
    let Ok(Some(found)) = go_build_info::read(&mut Cursor::new(data)) else { return };
    let _ = found.linked();
    let _ = found.setting("-tags");
}

/// Indexes, manifests and configurations of images: what is read is written and read again as the same.
pub fn oci(data: &[u8]) {
    for read in [Index::from_slice, Index::from_layout] {
        if let Ok(index) = read(data) {
            let written = index.to_vec().expect("what was read can be written");
            assert_eq!(read(&written).expect("it was written"), index);
        }
    }
    if let Ok(manifest) = Manifest::from_slice(data) {
        let written = manifest.to_vec().expect("what was read can be written");
        assert_eq!(Manifest::from_canonical(&written).expect("it was written"), manifest);
    }
    if let Ok(config) = Config::from_slice(data) {
        let written = config.to_vec().expect("what was read can be written");
        assert_eq!(Config::from_canonical(&written).expect("it was written"), config);
    }
}

/// Patch files with their trailers.
pub fn patch(data: &[u8]) {
    if let Ok(patch) = parse("0001-seed.patch", data) {
        assert!(!patch.subject.contains('\n'), "{:?}", patch.subject);
        assert!(patch.fixes.iter().all(|fix| !fix.contains(char::is_whitespace)));
    }
}

/// Two files that differ, as archives, programs and texts; the length of the first stands in front.
pub fn explain(data: &[u8]) {
    let Some((half, rest)) = data.split_first_chunk::<2>() else { return };
    let half = usize::from(u16::from_be_bytes(*half));
    let Some((a, b)) = rest.split_at_checked(half.min(rest.len())) else { return };
    let folder = scratch();
    let (first, second) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&first, a).and_then(|()| fs::write(&second, b)).expect("a file in memory");
    let difference = explain::first_difference(&first, &second).expect("both can be read");
    assert_eq!(difference.is_none(), a == b, "{difference:?}");
    let verdict = compare::compare_files(&first, &second).expect("both can be read");
    assert_eq!(verdict == compare::Verdict::Same, a == b, "{verdict}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn what_the_seeds_say_is_accepted() {
        let first = |name: &str| seeds::of(name).unwrap()[0].clone();
        deb::control(&first("deb")[..]).unwrap();
        read_tar(&first("tar")[..], &mut |_: Entry<'_>| Ok::<_, TarError>(())).unwrap();
        module_hash(Cursor::new(first("module-zip"))).unwrap();
        let facts = go_build_info::read(&mut Cursor::new(first("go-build-info"))).unwrap().unwrap();
        assert_eq!(facts.setting("-tags"), Some("x"));
        Index::from_slice(&first("oci")).unwrap();
        parse("0001-seed.patch", &first("patch")).unwrap();
    }
}
