//! Files that others read while they are written anew.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use kdistro_formats::layout;

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", file.display())]
pub struct FileError {
    /// The file.
    file: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// Writes a file, whole or not at all, in place of what was there; its folder is made where there is none.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = write(file, bytes);
    written.map_err(|source| FileError { file: file.to_owned(), source })
}

fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!("{}{}-{name}", layout::UNFINISHED, process::id()));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&new, file));
    if moved.is_err() {
        // What is left of it is nobody's.
        let _ = fs::remove_file(&new);
    }
    moved?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_stays_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b");
        let beside = || fs::read_dir(folder.path().join("a")).unwrap().count();
        replace(&file, b"one").unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!((fs::read(&file).unwrap().as_slice(), beside()), (&b"two"[..], 1));
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let error = replace(&file, b"three").unwrap_err().to_string();
        assert_eq!(error, format!("cannot write {}", file.display()));
        assert_eq!(beside(), 1);
    }
}
