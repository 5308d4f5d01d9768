//! Plain files, opened so that nothing else is read in their place, nor keeps whoever opens it waiting.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// What is done where the name of a file is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// What it leads to is opened.
    Follow,
    /// It is an error.
    Refuse,
}

/// Opens a plain file; none for all else. It is told by what was opened, as a name may get another file at any moment.
pub(super) fn open(path: &Path, links: Links) -> io::Result<Option<File>> {
    // Without it a pipe is not opened until somebody writes to it. It means nothing for plain files.
    let flags = match links {
        Links::Follow => libc::O_NONBLOCK,
        Links::Refuse => libc::O_NONBLOCK | libc::O_NOFOLLOW,
    };
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_plain_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), b"content").unwrap();
        symlink(at("file"), at("link")).unwrap();
        for links in [Links::Follow, Links::Refuse] {
            for (name, is_plain) in [("file", true), ("", false)] {
                assert_eq!(open(&at(name), links).unwrap().is_some(), is_plain, "{name}");
            }
        }
        assert!(open(&at("link"), Links::Follow).unwrap().is_some());
        assert!(open(&at("link"), Links::Refuse).is_err());
    }
}
