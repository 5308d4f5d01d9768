//! Looks at channels of real stores, signed and logged as `kdistro` does it, and then at what others made of them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

// The publisher of the tests of kdistro-verify, of which this needs a part.
#[path = "../../../verify/tests/store/content.rs"]
mod content;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../../../verify/tests/store/image.rs"]
mod image;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../../../verify/tests/store/publisher.rs"]
mod publisher;

#[path = "decide/looks.rs"]
mod looks;
#[path = "decide/releases.rs"]
mod releases;

use std::{
    fs,
    io::{self, Read},
    path::Path,
    sync::Mutex,
};

use kdistro_formats::ChannelName;
use kdistro_rollout::decide::{Publication, Refused, Seen, VerifiedChannel};
use kdistro_verify::{
    check::{TrustSource, chain},
    store::{Directory, Reader},
};
use publisher::Publisher;

fn channel() -> ChannelName {
    "1-20".parse().unwrap()
}

/// Looks at a publisher's channel.
fn look(publisher: &Publisher, seen: Option<&Seen>) -> Result<VerifiedChannel, Refused> {
    look_in(&publisher.root(), &publisher.source(), seen)
}

fn look_in(
    folder: &Path,
    source: &TrustSource,
    seen: Option<&Seen>,
) -> Result<VerifiedChannel, Refused> {
    let reader = Directory::new(folder);
    let channel = channel();
    Publication { reader: &reader, source, environment: "test", channel: &channel }.look(seen)
}

/// The error of what must be refused, with its causes.
fn refused<T>(looked: Result<T, Refused>) -> (Refused, String) {
    let error = looked.err().unwrap();
    let text = chain(&error);
    (error, text)
}

/// Copies a store as it is now.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A store that writes down what is read of it, and cannot be listed if it is asked to be like one behind an address.
struct Watched {
    store: Directory,
    opened: Mutex<Vec<String>>,
    lists: bool,
    /// A file that cannot be read.
    broken: Option<String>,
    /// A file that is another from this reading on, counted from 1.
    later: Option<(String, usize, Vec<u8>)>,
}

impl Watched {
    fn new(publisher: &Publisher) -> Self {
        let store = Directory::new(publisher.root());
        Self { store, opened: Mutex::default(), lists: true, broken: None, later: None }
    }
}

impl Reader for Watched {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        let mut opened = self.opened.lock().unwrap();
        opened.push(name.to_owned());
        let count = opened.iter().filter(|opened| *opened == name).count();
        if let Some((file, reading, bytes)) = &self.later
            && name == file
            && count >= *reading
        {
            return Ok(Some(Box::new(&bytes[..])));
        }
        if self.broken.as_deref() == Some(name) {
            return Err(io::Error::other("the server answered 503"));
        }
        self.store.open(name)
    }

    fn list(&self, prefix: &str) -> io::Result<Option<Vec<String>>> {
        if self.lists { self.store.list(prefix) } else { Ok(None) }
    }

    fn place(&self) -> String {
        self.store.place()
    }
}
