//! Bare git mirrors: upstream tags, fetched one at a time and never moved.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use kdistro_formats::{CommitId, Tag, TreeId};

use crate::{
    command::{CommandError, Environment, Output, Progress},
    git::Git,
};

/// Where the mirrored tags stand; git's own `refs/tags` is left alone.
const TAGS: &str = "refs/kdistro/tags";

/// Where a tag stands until it is judged.
const INCOMING: &str = "refs/kdistro/incoming";

/// Settings written into a new mirror, for whoever runs git in it by hand.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.ext.allow", "never"),
    ("transfer.fsckObjects", "true"),
];

/// A commit of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The commit.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// The committer's time, in seconds since 1970.
    pub commit_time: i64,
}

/// A tag to fetch.
#[derive(Clone, Copy, Debug)]
pub struct TagSource<'a> {
    /// The public address of the repository, `https://…`; git's `url.<base>.insteadOf` may lead elsewhere.
    pub url: &'a str,
    /// The tag.
    pub tag: &'a Tag,
    /// The commit it must name; none on the first look.
    pub expected: Option<&'a CommitId>,
    /// Whether to ask upstream again about a tag that is mirrored already.
    pub refresh: bool,
}

/// A mirror that could not be made, read or extended.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The upstream names another commit than before.
    #[error(
        "tag `{tag}` of {url} moved: it names commit {found} now, and {kept} when it was mirrored; {kept} is kept"
    )]
    Moved {
        /// The tag.
        tag: Tag,
        /// The upstream.
        url: String,
        /// What the mirror keeps.
        kept: CommitId,
        /// What the upstream names.
        found: CommitId,
    },
    /// The tag names another commit than the caller expects.
    #[error("tag `{tag}` of {origin} names commit {found}, expected {expected}")]
    Unexpected {
        /// The tag.
        tag: Tag,
        /// The upstream, or the mirror.
        origin: String,
        /// What the caller expects.
        expected: CommitId,
        /// What the tag names.
        found: CommitId,
    },
    /// An address that git must not be given.
    #[error("`{0}` is not the address of an upstream; expected `https://…`")]
    Address(String),
    /// The file system refused.
    #[error("cannot use the mirror {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// git failed.
    #[error("cannot read or extend the mirror {}", path.display())]
    Git {
        /// The mirror.
        path: PathBuf,
        /// What git said.
        source: CommandError,
    },
    /// git answered something else than its documentation says.
    #[error("git's answer about {what} in the mirror {} is not understood: `{answer}`", path.display())]
    Answer {
        /// The mirror.
        path: PathBuf,
        /// What was asked.
        what: String,
        /// The answer.
        answer: String,
    },
}

/// A bare repository that only grows.
#[derive(Clone, Debug)]
pub struct Mirror {
    directory: PathBuf,
    environment: Environment,
}

impl Mirror {
    /// Opens the mirror in `directory`, which is made when it is missing.
    pub fn open(directory: &Path, environment: &Environment) -> Result<Self, MirrorError> {
        let directory = std::path::absolute(directory).map_err(file_error(directory))?;
        let mirror = Self { directory, environment: environment.clone() };
        if !mirror.directory.join("HEAD").is_file() {
            mirror.create()?;
        }
        Ok(mirror)
    }

    /// Returns the folder of the mirror.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Fetches one tag, or returns what the mirror already has of it. A tag never moves: both commits are named.
    pub fn fetch_tag(
        &self,
        source: &TagSource<'_>,
        progress: Progress<'_>,
    ) -> Result<Revision, MirrorError> {
        check_address(source.url)?;
        let lock = self.lock(progress)?;
        let kept = self.tag(source.tag)?;
        if let Some(kept) = &kept {
            let origin = format!("the mirror {}", self.directory.display());
            check_expected(source, &kept.commit, origin)?;
            if !source.refresh {
                return Ok(kept.clone());
            }
        }
        progress(&format!("fetching tag {} of {}", source.tag, source.url));
        self.remove_leftovers()?;
        let found = self.fetch(source, &lock)?;
        if let Some(kept) = kept
            && kept.commit != found.commit
        {
            return Err(MirrorError::Moved {
                tag: source.tag.clone(),
                url: source.url.to_owned(),
                kept: kept.commit,
                found: found.commit,
            });
        }
        check_expected(source, &found.commit, source.url.to_owned())?;
        self.keep(source.tag, &found.commit)?;
        Ok(found)
    }

    /// Returns what the mirror has of a tag, without any network.
    pub fn tag(&self, tag: &Tag) -> Result<Option<Revision>, MirrorError> {
        let name = format!("{TAGS}/{tag}^{{commit}}");
        let call = self.git().call(["rev-parse", "--verify", "--quiet", "--end-of-options", &name]);
        let output = call.try_run().map_err(|source| self.git_error(source))?;
        if output.code != Some(0) {
            return Ok(None);
        }
        self.revision(&self.parse(&output.text(), &name)?).map(Some)
    }

    /// Returns tree and time of a commit that the mirror has.
    pub fn revision(&self, commit: &CommitId) -> Result<Revision, MirrorError> {
        let output =
            self.run(["log", "-1", "--no-show-signature", "--format=%T %ct", commit.as_str()])?;
        let answer = output.text();
        let what = format!("commit {commit}");
        let (tree, time) = answer.split_once(' ').unwrap_or_default();
        Ok(Revision {
            commit: commit.clone(),
            tree: self.parse(tree, &what)?,
            commit_time: self.parse(time, &what)?,
        })
    }

    /// Holds the mirror for one writer; says so when another run has it.
    pub(crate) fn lock(&self, progress: Progress<'_>) -> Result<File, MirrorError> {
        let path = self.directory.join("kdistro.lock");
        wait_for_lock(&path, progress).map_err(file_error(&path))
    }

    /// Returns git in this mirror.
    pub(crate) fn git(&self) -> Git<'_> {
        Git { repository: &self.directory, environment: &self.environment }
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Makes a commit what a tag of the mirror names, and forgets the incoming one.
    pub(crate) fn keep(&self, tag: &Tag, commit: &CommitId) -> Result<(), MirrorError> {
        self.run(["update-ref", &format!("{TAGS}/{tag}"), commit.as_str()])?;
        self.forget_incoming(tag)
    }

    /// Returns the name under which a tag is received.
    pub(crate) fn incoming(tag: &Tag) -> String {
        format!("{INCOMING}/{tag}")
    }

    pub(crate) fn forget_incoming(&self, tag: &Tag) -> Result<(), MirrorError> {
        self.run(["update-ref", "-d", &Self::incoming(tag)]).map(drop)
    }

    pub(crate) fn run<const N: usize>(&self, arguments: [&str; N]) -> Result<Output, MirrorError> {
        self.git().run(arguments).map_err(|source| self.git_error(source))
    }

    pub(crate) fn git_error(&self, source: CommandError) -> MirrorError {
        MirrorError::Git { path: self.directory.clone(), source }
    }

    pub(crate) fn parse<T: std::str::FromStr>(
        &self,
        answer: &str,
        what: &str,
    ) -> Result<T, MirrorError> {
        answer.parse().map_err(|_| MirrorError::Answer {
            path: self.directory.clone(),
            what: what.to_owned(),
            answer: answer.to_owned(),
        })
    }

    /// Makes the repository beside its place and renames it, so that nobody sees half of one.
    fn create(&self) -> Result<(), MirrorError> {
        let parent = self.directory.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(file_error(parent))?;
        let folder = tempfile::Builder::new().prefix(".new-mirror-").tempdir_in(parent);
        let folder = folder.map_err(file_error(parent))?;
        let new = folder.path().join("mirror");
        let git = Git { repository: &new, environment: &self.environment };
        let run = |arguments: Vec<&str>| git.run(arguments).map_err(|e| self.git_error(e));
        run(vec!["init", "--quiet", "--bare", "--template=", "--initial-branch=none"])?;
        for (name, value) in SETTINGS {
            run(vec!["config", name, value])?;
        }
        match fs::rename(&new, &self.directory) {
            // Another run was faster.
            Err(_) if self.directory.join("HEAD").is_file() => Ok(()),
            result => result.map_err(file_error(&self.directory)),
        }
    }

    fn fetch(&self, source: &TagSource<'_>, lock: &File) -> Result<Revision, MirrorError> {
        let incoming = Self::incoming(source.tag);
        let refspec = format!("+refs/tags/{}:{incoming}", source.tag);
        let arguments = [
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--",
            source.url,
            &refspec,
        ];
        let lock = lock.try_clone().map_err(file_error(&self.directory))?;
        let fetched = self.git().fetch(lock, arguments);
        fetched.map_err(|source| self.git_error(source))?;
        let name = format!("{incoming}^{{commit}}");
        let found = self.run(["rev-parse", "--verify", "--end-of-options", &name])?;
        let commit = self.parse(&found.text(), &name)?;
        self.forget_incoming(source.tag)?;
        self.revision(&commit)
    }

    /// Removes what a killed git left: locks and half-written packs. Safe under our lock, which a living fetch holds.
    pub(crate) fn remove_leftovers(&self) -> Result<(), MirrorError> {
        let is_lock = |name: &str| {
            ["shallow.lock", "packed-refs.lock", "config.lock", "HEAD.lock"].contains(&name)
                || name.starts_with("fast_import_crash_")
        };
        self.remove_files("", is_lock)?;
        for folder in [TAGS, INCOMING] {
            self.remove_files(folder, |name| name.strip_suffix(".lock").is_some())?;
        }
        self.remove_files("objects/pack", |name| name.starts_with("tmp_"))
    }

    fn remove_files(
        &self,
        folder: &str,
        matches: impl Fn(&str) -> bool,
    ) -> Result<(), MirrorError> {
        let Ok(files) = fs::read_dir(self.directory.join(folder)) else { return Ok(()) };
        for entry in files.flatten() {
            if matches(&entry.file_name().to_string_lossy()) {
                remove_if_there(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Takes the lock of a file, made when missing, and says when it must wait for another process.
pub(crate) fn wait_for_lock(path: &Path, progress: Progress<'_>) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress(&format!("waiting for another run to release {}", path.display()));
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

fn remove_if_there(path: &Path) -> Result<(), MirrorError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path)(error)),
        _ => Ok(()),
    }
}

fn check_address(url: &str) -> Result<(), MirrorError> {
    let printable = url.bytes().all(|byte| byte.is_ascii_graphic());
    if url.starts_with("https://") && printable {
        Ok(())
    } else {
        Err(MirrorError::Address(url.to_owned()))
    }
}

fn check_expected(
    source: &TagSource<'_>,
    found: &CommitId,
    origin: String,
) -> Result<(), MirrorError> {
    match source.expected {
        Some(expected) if expected != found => Err(MirrorError::Unexpected {
            tag: source.tag.clone(),
            origin,
            expected: expected.clone(),
            found: found.clone(),
        }),
        _ => Ok(()),
    }
}

pub(crate) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> MirrorError {
    let path = path.to_path_buf();
    move |source| MirrorError::File { path, source }
}
