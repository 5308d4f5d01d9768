//! Files to be stored, opened so that nothing else is read in their place.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Take},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;

/// Opens a plain file, or one that a link leads to; returns its length as well.
///
/// Devices and pipes are refused, which may have no end or keep whoever opens them waiting.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    // Without it a pipe is not opened until somebody writes to it. It means nothing for plain files.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
    }
    Ok((file, metadata.len()))
}

/// Opens a plain file to be read once, no further than it was long and one byte more: also one that grows has an end.
pub fn read(path: &Path) -> io::Result<Take<File>> {
    let (file, length) = open(path)?;
    Ok(file.take(length.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_plain_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), b"content").unwrap();
        symlink(at("file"), at("link")).unwrap();
        for name in ["file", "link"] {
            let mut text = String::new();
            read(&at(name)).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), open(&at(name)).unwrap().1), ("content", 7));
        }
        symlink("/dev/zero", at("zero")).unwrap();
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for path in [at("zero"), at("pipe"), folder.path().to_owned()] {
            let error = open(&path).unwrap_err();
            assert_eq!(error.to_string(), "it is not a plain file", "{}", path.display());
        }
        assert_eq!(open(&at("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"content").unwrap();
        let mut reader = read(&path).unwrap();
        fs::write(&path, vec![7; 1 << 20]).unwrap();
        assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 8);
    }
}
