//! Files that others read while they are written anew.

use std::{
    fs::{self, File},
    io::{self, Write},
    iter,
    os::unix::fs::OpenOptionsExt,
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

/// How often a name is tried that nobody has.
const ATTEMPTS: usize = 8;
/// The mode of what others read, less what the process keeps from them.
const MODE: u32 = 0o666;

/// Writes a file, whole or not at all, in place of what was there; its folder is made where there is none.
///
/// Where this is killed meanwhile, a file is left that begins with [`layout::UNFINISHED`]: nothing reads it, and nothing
/// removes it, as nobody can tell whether it is still being written on another machine.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = write(file, bytes);
    written.map_err(|source| FileError { file: file.to_owned(), source })
}

fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(file);
    fs::create_dir_all(folder)?;
    let (new, mut opened) = begin(folder, MODE)?;
    let written = opened.write_all(bytes).and_then(|()| opened.sync_all());
    let moved = written.and_then(|()| fs::rename(&new, file));
    if moved.is_err() {
        // What is left of it is nobody's.
        let _ = fs::remove_file(&new);
    }
    moved?;
    File::open(folder)?.sync_all()
}

/// The folder that a file is in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Makes a file that is still to get its name; returns the one that it has.
pub(crate) fn begin(folder: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let names = iter::repeat_with(|| Ok(folder.join(unfinished(random()?))));
    create(names.take(ATTEMPTS), mode)
}

/// Makes a file of the first name that nobody has. In a folder that others write, what has one may be a link to anything.
fn create(
    names: impl Iterator<Item = io::Result<PathBuf>>,
    mode: u32,
) -> io::Result<(PathBuf, File)> {
    for name in names {
        let name = name?;
        let mut options = File::options();
        match options.read(true).write(true).create_new(true).mode(mode).open(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|opened| (name, opened)),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "all names for what is written are taken"))
}

/// The name of what is being written, such as `.kdistro-new-12-345`.
fn unfinished(number: u64) -> String {
    format!("{}{}-{number}", layout::UNFINISHED, process::id())
}

fn random() -> io::Result<u64> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(u64::from_le_bytes(random))
}

#[cfg(test)]
mod tests {
    use std::{ops::RangeInclusive, os::unix::fs::symlink};

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

    #[test]
    fn nothing_is_written_where_a_link_leads_that_lies_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("other"), b"one").unwrap();
        for name in [format!("{}{}-file", layout::UNFINISHED, process::id()), unfinished(1)] {
            symlink(at("other"), at(&name)).unwrap();
        }
        replace(&at("file"), b"two").unwrap();
        let numbers = |range: RangeInclusive<u64>| range.map(|number| Ok(at(&unfinished(number))));
        assert_eq!(create(numbers(1..=2), MODE).unwrap().0, at(&unfinished(2)));
        let taken = create(numbers(1..=2), MODE).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(at("other")).unwrap(), b"one");
    }
}
