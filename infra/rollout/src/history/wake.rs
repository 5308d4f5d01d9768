//! Whether somebody steered meanwhile: who waits for the next look looks at once.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What tells who waits that somebody steered: an empty file beside the history, and when it was written last.
#[derive(Debug)]
pub struct Wake {
    file: PathBuf,
    known: Option<SystemTime>,
}

impl Wake {
    /// Takes what belongs to a history; what was before does not count.
    pub(super) fn of(history: &Path) -> Self {
        let file = history.with_extension("wake");
        Self { known: written(&file), file }
    }

    /// Says that somebody steered.
    pub fn call(&self) -> io::Result<()> {
        fs::write(&self.file, b"")
    }

    /// True where somebody steered since this was asked last.
    pub fn is_called(&mut self) -> bool {
        let now = written(&self.file);
        let before = std::mem::replace(&mut self.known, now);
        now != before
    }
}

fn written(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_heard_once_by_whoever_waits() {
        let folder = tempfile::tempdir().unwrap();
        let history = folder.path().join("history");
        let (mut first, mut second) = (Wake::of(&history), Wake::of(&history));
        assert!(!first.is_called());
        Wake::of(&history).call().unwrap();
        assert!(first.is_called() && second.is_called());
        assert!(!first.is_called() && !Wake::of(&history).is_called());
        // The clock of files may be coarse.
        std::thread::sleep(std::time::Duration::from_millis(20));
        Wake::of(&history).call().unwrap();
        assert!(first.is_called());
    }
}
