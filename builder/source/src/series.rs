//! Applies a series of patches inside the mirror, to the commit that `git am` would make.
//!
//! Only git's plumbing on a temporary index: no work tree, and the same commit id on every machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kdistro_formats::CommitId;
use tempfile::TempDir;

use crate::{
    command::{Call, CommandError, Input, Output},
    mirror::{Mirror, MirrorError, Revision},
    offset::{self, Failure},
    patch::{Patch, PatchProblem, parse},
};

/// The committer of every patched commit; the date is the author's.
pub(crate) const COMMITTER: (&str, &str) = ("kdistro", "patches@kdistro.dev");

/// The patches of one upstream tag, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// The patches.
    pub patches: Vec<Patch>,
}

/// How a patch stands towards a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchStatus {
    /// The patch file's name.
    pub patch: String,
    /// The finding.
    pub state: PatchState,
}

/// The finding on one patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchState {
    /// It applies where it says.
    Applies,
    /// It applies, but elsewhere.
    Drifted {
        /// The most lines a hunk is off.
        lines: u64,
    },
    /// It does not apply.
    Conflicts {
        /// The file that stops it.
        file: String,
        /// The hunk of that file, from 1 on; none when the file as a whole does not fit.
        hunk: Option<usize>,
    },
    /// The commit contains it: the patch can be dropped.
    AlreadyUpstream,
}

/// A series that could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// A patch does not fit the commit.
    #[error("{patch} does not apply to {file}{}: {reason}", in_hunk(*.hunk))]
    Conflict {
        /// The patch file's name.
        patch: String,
        /// The file that stops it.
        file: String,
        /// The hunk of that file, from 1 on.
        hunk: Option<usize>,
        /// git's words.
        reason: String,
    },
    /// The mail could not be read by git.
    #[error("cannot read author and message of {patch}")]
    Mail {
        /// The patch file's name.
        patch: String,
        /// Why.
        source: CommandError,
    },
    /// A temporary file could not be written.
    #[error("cannot write the temporary index and message")]
    Temporary(#[source] io::Error),
    /// The mirror could not be read or extended.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

fn in_hunk(hunk: Option<usize>) -> String {
    hunk.map_or_else(String::new, |hunk| format!(", hunk {hunk}"))
}

impl Series {
    /// Reads every patch of a folder; a folder that does not exist is an empty series. Lists all problems.
    pub fn read(directory: &Path) -> Result<Self, Vec<PatchProblem>> {
        let unreadable = |file: &Path, error: &io::Error| PatchProblem {
            file: file.display().to_string(),
            line: None,
            message: format!("cannot be read: {error}"),
        };
        let files = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>)
        {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(vec![unreadable(directory, &error)]),
        };
        let mut files: Vec<_> = files.into_iter().map(|entry| entry.path()).collect();
        files.sort();
        let (mut patches, mut problems) = (Vec::new(), Vec::new());
        for (number, file) in (1..).zip(&files) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            match fs::read(file) {
                Err(error) => problems.push(unreadable(file, &error)),
                Ok(content) => match parse(&name, &content) {
                    Ok(patch) => patches.push(patch),
                    Err(found) => problems.extend(found),
                },
            }
            if !name.starts_with(&format!("{number:04}-")) {
                let message = format!("is patch {number} in order, expected `{number:04}-…`");
                problems.push(PatchProblem { file: name.into_owned(), line: None, message });
            }
        }
        if problems.is_empty() { Ok(Self { patches }) } else { Err(problems) }
    }
}

/// Applies every patch on top of `base` and returns the last commit; `base` itself for an empty series.
pub fn apply(mirror: &Mirror, base: &CommitId, series: &Series) -> Result<Revision, PatchError> {
    let mut stage = Stage::new(mirror, base)?;
    for patch in &series.patches {
        if let Err(failure) = stage.apply(patch)? {
            let Failure { file, hunk, reason } = failure;
            return Err(PatchError::Conflict { patch: patch.name.clone(), file, hunk, reason });
        }
        stage.commit(patch)?;
    }
    Ok(mirror.revision(&stage.head)?)
}

/// Judges every patch, each on top of those before it that apply.
pub fn status(
    mirror: &Mirror,
    base: &CommitId,
    series: &Series,
) -> Result<Vec<PatchStatus>, PatchError> {
    let index = Stage::new(mirror, base)?;
    let mut found = Vec::new();
    for patch in &series.patches {
        let state = match index.apply(patch)? {
            Ok(0) => PatchState::Applies,
            Ok(lines) => PatchState::Drifted { lines },
            Err(_) if index.contains(patch)? => PatchState::AlreadyUpstream,
            Err(Failure { file, hunk, .. }) => PatchState::Conflicts { file, hunk },
        };
        found.push(PatchStatus { patch: patch.name.clone(), state });
    }
    Ok(found)
}

/// Applies the longest part of a series that fits and returns the commit and how many patches that were.
pub(crate) fn apply_fitting(
    mirror: &Mirror,
    base: &CommitId,
    series: &Series,
) -> Result<(CommitId, usize), PatchError> {
    let mut stage = Stage::new(mirror, base)?;
    let mut count = 0;
    for patch in &series.patches {
        if stage.apply(patch)?.is_err() {
            break;
        }
        stage.commit(patch)?;
        count += 1;
    }
    Ok((stage.head, count))
}

/// A temporary index over a mirror.
struct Stage<'a> {
    mirror: &'a Mirror,
    folder: TempDir,
    head: CommitId,
}

/// What the header of a mail says, in the words that git passes on.
#[derive(Default)]
struct Author {
    name: String,
    mail: String,
    date: String,
    subject: String,
}

impl<'a> Stage<'a> {
    fn new(mirror: &'a Mirror, base: &CommitId) -> Result<Self, PatchError> {
        let folder = tempfile::tempdir().map_err(PatchError::Temporary)?;
        let stage = Self { mirror, folder, head: base.clone() };
        stage.run(&["read-tree", base.as_str()])?;
        Ok(stage)
    }

    fn call(&self, arguments: &[&str]) -> Call<'_> {
        let mut call = self.mirror.git().call(arguments);
        call.variables.push(("GIT_INDEX_FILE", self.path("index").into()));
        call
    }

    fn run(&self, arguments: &[&str]) -> Result<Output, MirrorError> {
        self.call(arguments).run().map_err(|source| self.mirror.git_error(source))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Applies a patch to the index: the most lines a hunk is off, or what stops it. All of it or nothing.
    fn apply(&self, patch: &Patch) -> Result<Result<u64, Failure>, MirrorError> {
        let mut call = self.call(&["apply", "--cached", "--verbose", "--whitespace=nowarn", "-"]);
        call.input = Input::Bytes(&patch.content);
        let output = call.try_run().map_err(|source| self.mirror.git_error(source))?;
        Ok(if output.code == Some(0) {
            Ok(offset::largest(&output.messages))
        } else {
            Err(offset::failure(&output.messages, patch))
        })
    }

    /// Tells whether undoing a patch would work, that is whether it is in.
    fn contains(&self, patch: &Patch) -> Result<bool, MirrorError> {
        let mut call =
            self.call(&["apply", "--cached", "--check", "--reverse", "--whitespace=nowarn", "-"]);
        call.input = Input::Bytes(&patch.content);
        let output = call.try_run().map_err(|source| self.mirror.git_error(source))?;
        Ok(output.code == Some(0))
    }

    /// Commits the index with the author and message of a patch.
    fn commit(&mut self, patch: &Patch) -> Result<(), PatchError> {
        let (author, message) = self.mail(patch)?;
        let tree = self.run(&["write-tree"])?.text();
        let mut call = self.call(&["commit-tree", "-p", self.head.as_str(), &tree]);
        call.input = Input::Bytes(message.as_bytes());
        call.variables.extend([
            ("GIT_AUTHOR_NAME", author.name.into()),
            ("GIT_AUTHOR_EMAIL", author.mail.into()),
            ("GIT_AUTHOR_DATE", author.date.clone().into()),
            ("GIT_COMMITTER_NAME", COMMITTER.0.into()),
            ("GIT_COMMITTER_EMAIL", COMMITTER.1.into()),
            ("GIT_COMMITTER_DATE", author.date.into()),
        ]);
        let mail = |source| PatchError::Mail { patch: patch.name.clone(), source };
        let commit = call.run().map_err(mail)?.text();
        self.head = self.mirror.parse(&commit, &patch.name)?;
        Ok(())
    }

    /// Reads author and message as `git am` does.
    fn mail(&self, patch: &Patch) -> Result<(Author, String), PatchError> {
        let (message, diff) = (self.path("message"), self.path("diff"));
        let mut call = self.call(&["mailinfo", "--encoding=UTF-8"]);
        call.arguments.extend([message.clone().into(), diff.into()]);
        call.input = Input::Bytes(&patch.content);
        let mail = |source| PatchError::Mail { patch: patch.name.clone(), source };
        let info = call.run().map_err(mail)?.text();
        let mut author = Author::default();
        for line in info.lines() {
            match line.split_once(": ") {
                Some(("Author", value)) => value.clone_into(&mut author.name),
                Some(("Email", value)) => value.clone_into(&mut author.mail),
                Some(("Date", value)) => value.clone_into(&mut author.date),
                Some(("Subject", value)) => {
                    if !author.subject.is_empty() {
                        author.subject.push('\n');
                    }
                    author.subject.push_str(value);
                }
                _ => {}
            }
        }
        let body = fs::read_to_string(&message).map_err(PatchError::Temporary)?;
        let message = strip_space(&format!("{}\n\n{body}", author.subject));
        Ok((author, message))
    }
}

/// Removes white space at line ends, empty lines at both ends, and repeated empty lines.
///
/// Source: git, `strbuf_stripspace`, as `git am` calls it.
fn strip_space(text: &str) -> String {
    let mut result = String::new();
    let mut empty = 0;
    for line in text.split('\n') {
        let line = line.trim_end_matches([' ', '\t', '\r', '\x0b', '\x0c']);
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if empty > 0 && !result.is_empty() {
            result.push('\n');
        }
        empty = 0;
        result.push_str(line);
        result.push('\n');
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_stripped_as_git_strips_it() {
        assert_eq!(strip_space("\n\n a \n\n\n\nb\t\n\n"), " a\n\nb\n");
        assert_eq!(strip_space("a"), "a\n");
        assert_eq!(strip_space("\n \n"), "");
    }

    #[test]
    fn a_series_reports_gaps_and_strangers() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Series::read(&folder.path().join("none")), Ok(Series::default()));
        fs::write(folder.path().join("0002-b.patch"), "").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let problems = Series::read(folder.path()).unwrap_err();
        let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let has = |wanted: &str| text.iter().any(|problem| problem == wanted);
        assert!(has("0002-b.patch: is patch 1 in order, expected `0001-…`"), "{text:?}");
        assert!(has("notes.txt: is not named `NNNN-subject.patch`"), "{text:?}");
    }
}
