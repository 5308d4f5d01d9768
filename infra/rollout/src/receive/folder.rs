//! A folder into which announcements are written, by a local announcer or by whoever carries them over an air gap.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use kdistro_border::plain;
use kdistro_formats::{Digest, announcement::Announcement, layout};

use super::{
    Heard, Ignored, Known, MessageError, Outcome, ReceiveError, Receiver, Source, Tell,
    message::{self, LARGEST_MESSAGE, shown},
};

/// How often the folder is looked at while somebody waits.
const PAUSE: Duration = Duration::from_millis(500);

/// Hears what [`FileAnnouncer`](kdistro_border::FileAnnouncer) writes: `<64 hex digits of the id>.json`.
///
/// The folder is only read. A file that is being written, or cannot be read for another reason, is told as ignored, and
/// again when it has changed. One that is told [`Outcome::Later`] is told again with the next call.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    known: Known,
    /// What was looked at, as it was then.
    seen: BTreeMap<String, State>,
}

/// What changes when a file is written to: its length and the time of that, if the file system tells.
type State = (u64, Option<std::time::SystemTime>);

impl Folder {
    /// Takes a folder, which may be made later, and the ids of what was told before.
    pub fn new(path: impl Into<PathBuf>, known: Known) -> Self {
        Self { path: path.into(), known, seen: BTreeMap::new() }
    }

    /// Tells what is new or changed, sorted by name; returns how much that was.
    fn look(&mut self, tell: &mut Tell<'_>) -> io::Result<usize> {
        let present = list(&self.path)?;
        // What is gone may come back.
        self.seen.retain(|name, _| present.contains_key(name));
        let mut told = 0;
        for (name, state) in present {
            if self.seen.get(&name) == Some(&state) {
                continue;
            }
            let heard = match read(&self.path, &name) {
                // Removed in the meantime.
                Err(MessageError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                    continue;
                }
                Err(source) => Err(Ignored {
                    way: Source::Folder,
                    what: format!("`{}`", shown(&name)),
                    source,
                }),
                Ok(said) => Ok(Heard::new(&said, Source::Folder)),
            };
            let id = heard.as_ref().ok().map(|heard| heard.id);
            let is_known = id.is_some_and(|id| self.known.has(&id));
            if !is_known {
                told += 1;
                if tell(heard) == Outcome::Later && id.is_some() {
                    continue;
                }
            }
            if let Some(id) = id {
                self.known.add(id);
            }
            self.seen.insert(name, state);
        }
        Ok(told)
    }
}

impl Receiver for Folder {
    fn receive(&mut self, patience: Duration, tell: &mut Tell<'_>) -> Result<usize, ReceiveError> {
        let begin = Instant::now();
        loop {
            let told = self.look(tell).map_err(|error| ReceiveError {
                place: format!("the folder {}", self.path.display()),
                source: Box::new(error),
            })?;
            let left = patience.saturating_sub(begin.elapsed());
            if told > 0 || left.is_zero() {
                return Ok(told);
            }
            thread::sleep(left.min(PAUSE));
        }
    }
}

/// Lists all names but those of files that an announcer is writing. A folder that is not there yet has none.
fn list(folder: &Path) -> io::Result<BTreeMap<String, State>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut present = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(layout::UNFINISHED) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => present.insert(name, (metadata.len(), metadata.modified().ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
    }
    Ok(present)
}

/// Reads one file; its name and what it calls itself must be the same.
fn read(folder: &Path, name: &str) -> Result<Announcement, MessageError> {
    let id = name.strip_suffix(".json").and_then(|hex| format!("sha256:{hex}").parse().ok());
    let id: Digest = id.ok_or(MessageError::Name)?;
    let mut bytes = Vec::new();
    plain::read(&folder.join(name))?.take(LARGEST_MESSAGE as u64 + 1).read_to_end(&mut bytes)?;
    let posted = message::posted(&bytes)?;
    if posted.id != id {
        let (found, expected) = (posted.id.to_string(), id.to_string());
        return Err(MessageError::Id { found, expected, place: "the file's name" });
    }
    posted.announcement()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::symlink};

    use kdistro_border::{Announced, Announcer, FileAnnouncer};
    use kdistro_verify::hash::sha256;
    use serde_json::json;

    use super::*;
    use crate::receive::tests::announcement;

    fn announce(folder: &Path, said: &Announcement) -> PathBuf {
        let announcer = FileAnnouncer::new(folder);
        let text = serde_json::to_string(said).unwrap();
        let (id, message) = (sha256(text.as_bytes()), json!({"default": text, "email": "x"}));
        let announced = announcer.announce(&id, "x", &message.to_string(), &BTreeMap::new());
        assert_eq!(announced.unwrap(), Announced::New);
        announcer.path(&id)
    }

    /// What one look tells: numbers of releases, and what is said of the rest.
    fn told(folder: &mut Folder, outcome: Outcome) -> Vec<String> {
        let mut told = Vec::new();
        let mut tell = |it: Result<Heard, Ignored>| {
            told.push(match it {
                Ok(heard) => heard.number.to_string(),
                Err(ignored) => format!("{ignored}: {}", ignored.source),
            });
            outcome
        };
        let count = folder.receive(Duration::ZERO, &mut tell).unwrap();
        assert_eq!(count, told.len());
        told.sort();
        told
    }

    #[test]
    fn what_an_announcer_writes_is_told_once() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("made/later");
        let mut folder = Folder::new(&path, Known::default());
        assert_eq!(told(&mut folder, Outcome::Done), [""; 0]);
        announce(&path, &announcement(7));
        announce(&path, &announcement(8));
        // Not taken, so told again.
        assert_eq!(told(&mut folder, Outcome::Later), ["7", "8"]);
        assert_eq!(told(&mut folder, Outcome::Done), ["7", "8"]);
        assert_eq!(told(&mut folder, Outcome::Done), [""; 0]);
        announce(&path, &announcement(9));
        assert_eq!(told(&mut folder, Outcome::Done), ["9"]);
        // The next run knows what the caller kept.
        let known = [7, 9].map(|number| Heard::new(&announcement(number), Source::Queue).id);
        let mut folder = Folder::new(&path, known.into_iter().collect());
        assert_eq!(told(&mut folder, Outcome::Done), ["8"]);
    }

    #[test]
    fn a_replay_under_another_name_is_not_told() {
        let path = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(path.path(), Known::default());
        announce(path.path(), &announcement(7));
        assert_eq!(told(&mut folder, Outcome::Done), ["7"]);
        let mut repeat = announcement(7);
        repeat.manifest.content = Some("said otherwise".to_owned());
        announce(path.path(), &repeat);
        assert_eq!(told(&mut folder, Outcome::Done), [""; 0]);
    }

    #[test]
    fn half_written_and_foreign_files_are_ignored_with_a_note_until_they_change() {
        let path = tempfile::tempdir().unwrap();
        let at = |name: &str| path.path().join(name);
        let whole = announce(path.path(), &announcement(7));
        let bytes = fs::read(&whole).unwrap();
        fs::write(&whole, &bytes[..100]).unwrap();
        let name = whole.file_name().unwrap().to_str().unwrap();
        let other = format!("{}.json", sha256(b"other").hex());
        fs::write(at(&other), &bytes).unwrap();
        fs::write(at("README"), "x").unwrap();
        fs::write(at(".kdistro-new-1-1"), "x").unwrap();
        fs::create_dir(at(&format!("{}.json", "0".repeat(64)))).unwrap();
        symlink("/dev/zero", at(&format!("{}.json", "1".repeat(64)))).unwrap();
        fs::write(at(&format!("{}.json", "2".repeat(64))), " ".repeat(2 << 20)).unwrap();
        let mut folder = Folder::new(path.path(), Known::default());
        let notes = told(&mut folder, Outcome::Done);
        let expected = [
            ("README", "it is no file of an announcer"),
            (&"0".repeat(64), "it cannot be read"),
            (&"1".repeat(64), "it cannot be read"),
            (&"2".repeat(64), "it has more than 1048576 bytes"),
            (name, "it breaks off after 100 bytes"),
            (&other, "it calls itself `sha256:"),
        ];
        assert_eq!(notes.len(), expected.len(), "{notes:#?}");
        for (name, what) in expected {
            let is_it = |note: &&String| note.starts_with(&format!("the folder brought `{name}"));
            let note = notes.iter().find(is_it).unwrap_or_else(|| panic!("{name}: {notes:#?}"));
            assert!(note.contains(what), "{note}");
        }
        assert_eq!(told(&mut folder, Outcome::Done), [""; 0], "a note is told twice");
        fs::write(&whole, &bytes).unwrap();
        assert_eq!(told(&mut folder, Outcome::Done), ["7"]);
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut folder = Folder::new(file.path(), Known::default());
        let error = folder.receive(Duration::ZERO, &mut |_| Outcome::Done).unwrap_err();
        assert!(error.to_string().starts_with("cannot receive from the folder /"), "{error}");
    }

    #[test]
    fn whoever_waits_hears_within_a_second() {
        let path = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(path.path(), Known::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                announce(path.path(), &announcement(7));
            });
            let begin = Instant::now();
            let count = folder.receive(Duration::from_mins(1), &mut |_| Outcome::Done).unwrap();
            assert_eq!(count, 1);
            assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        });
    }
}
