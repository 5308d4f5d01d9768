//! The repository, fetched and never checked out: whatever it holds runs nothing and leads nowhere.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::GitopsError;
use crate::{limited, policy};

/// How long one call of git may take.
const TIME: Duration = Duration::from_mins(2);
/// The largest file that is read of a repository, in bytes.
const LARGEST: usize = 1024 * 1024;
/// What the fetched branch is called here.
const BRANCH: &str = "refs/heads/fetched";

/// Settings that neither user nor repository can change: nothing runs that an address or the repository names.
const SETTINGS: [&str; 6] = [
    "protocol.ext.allow=never",
    "core.hooksPath=/dev/null",
    "core.autocrlf=false",
    "gc.auto=0",
    "push.followTags=false",
    "push.gpgSign=false",
];

/// What a calling git would leave in the environment: another repository than this one.
const ELSEWHERE: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
];

/// A branch as it was when it was fetched, in a folder that goes with this.
pub(super) struct Fetched<'a> {
    place: &'a policy::Gitops,
    folder: PathBuf,
    /// The commit that the branch had.
    pub(super) head: String,
}

/// A new content of one file.
pub(super) struct Change<'a> {
    /// The file, from the top of the repository.
    pub(super) file: &'a str,
    /// What it is to hold.
    pub(super) text: &'a str,
    /// What is said of the change.
    pub(super) message: &'a str,
}

impl<'a> Fetched<'a> {
    /// Fetches the newest commit of the branch into a folder of its own.
    pub(super) fn fetch(place: &'a policy::Gitops, folder: &Path) -> Result<Self, GitopsError> {
        // One that was killed may have left it.
        remove(folder)?;
        let mut fetched = Self { place, folder: folder.to_owned(), head: String::new() };
        fetched.git(&["init", "--quiet", "--bare", "--template="], b"")?;
        let branch = format!("+refs/heads/{}:{BRANCH}", place.branch);
        let options = ["--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--"];
        fetched.git(&[&["fetch"], &options[..], &[&place.repository, &branch]].concat(), b"")?;
        fetched.head = fetched.line(&["rev-parse", "--verify", BRANCH])?;
        Ok(fetched)
    }

    /// Reads a file; none where there is no such file. A link is refused.
    pub(super) fn read(&self, file: &str) -> Result<Option<String>, GitopsError> {
        let entry = self.git(&["ls-tree", "--full-tree", "-z", BRANCH, "--", file], b"")?;
        let entry = String::from_utf8_lossy(&entry).into_owned();
        let mut words = entry.split(['\0', '\t', ' ']);
        let (Some(mode), Some("blob"), Some(object)) = (words.next(), words.next(), words.next())
        else {
            return Ok(None);
        };
        if !mode.starts_with("100") {
            return Err(GitopsError::Link(file.to_owned()));
        }
        let bytes = self.git(&["cat-file", "blob", object], b"")?;
        String::from_utf8(bytes).map(Some).map_err(|_| GitopsError::Text(file.to_owned()))
    }

    /// Makes a commit upon the fetched one; returns it.
    pub(super) fn commit(&self, change: &Change<'_>) -> Result<String, GitopsError> {
        let object = ["hash-object", "-w", "--stdin"];
        let object = self.git(&object, change.text.as_bytes())?;
        let entry = format!("100644,{},{}", said(&object), change.file);
        self.git(&["read-tree", BRANCH], b"")?;
        self.git(&["update-index", "--add", "--cacheinfo", &entry], b"")?;
        let tree = self.line(&["write-tree"])?;
        let commit = ["commit-tree", &tree, "-p", &self.head, "-F", "-"];
        self.git(&commit, change.message.as_bytes()).map(|line| said(&line))
    }

    /// Pushes a commit, never over another one.
    pub(super) fn push(&self, commit: &str) -> Result<(), GitopsError> {
        let branch = format!("{commit}:refs/heads/{}", self.place.branch);
        let options = ["--quiet", "--no-verify", "--recurse-submodules=no", "--"];
        let push = [&["push"], &options[..], &[&self.place.repository, &branch]].concat();
        self.git(&push, b"").map(drop)
    }

    fn line(&self, arguments: &[&str]) -> Result<String, GitopsError> {
        self.git(arguments, b"").map(|bytes| said(&bytes))
    }

    #[expect(clippy::disallowed_methods, reason = "git is the subscriber's own")]
    fn git(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, GitopsError> {
        let mut git = Command::new("git");
        for name in ELSEWHERE {
            git.env_remove(name);
        }
        git.env("GIT_DIR", &self.folder).env("GIT_LITERAL_PATHSPECS", "1");
        git.env("GIT_TERMINAL_PROMPT", "0");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), &self.place.author.name);
            git.env(format!("GIT_{who}_EMAIL"), &self.place.author.email);
        }
        for setting in SETTINGS {
            git.args(["-c", setting]);
        }
        git.args(arguments);
        let limits = limited::Limits { time: TIME, bytes: LARGEST, is_part: false };
        let ended = limited::run(&mut git, input, limits)?;
        let what = arguments.first().copied().unwrap_or_default().to_owned();
        if !ended.status.success() {
            return Err(GitopsError::Git { what, said: ended.text() });
        }
        if !ended.out.is_whole {
            return Err(GitopsError::Large { limit: LARGEST });
        }
        Ok(ended.out.bytes)
    }
}

impl Drop for Fetched<'_> {
    fn drop(&mut self) {
        // Whoever fetches next removes it first.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn remove(folder: &Path) -> Result<(), GitopsError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(GitopsError::Folder { folder: folder.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// A line without its end.
fn said(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}
