//! Scratch work trees in which a person writes patches with plain git, and the way back into files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kdistro_formats::CommitId;

use crate::{
    command::{Call, CommandError, Environment},
    git::Git,
    mirror::Mirror,
    patch::{Patch, PatchProblem},
    series::{COMMITTER, PatchError, Series, apply_fitting},
};

/// The branch that carries the patches.
const BRANCH: &str = "patches";

/// Options of `git format-patch` that make the same commits the same bytes everywhere.
const CANONICAL: &[&str] = &[
    "format-patch",
    "--quiet",
    "--no-numbered",
    "--subject-prefix=PATCH",
    "--patch",
    "--stat=72",
    "--summary",
    "--unified=3",
    "--diff-algorithm=myers",
    "--find-renames",
    "--full-index",
    "--binary",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-signature",
    "--zero-commit",
    "--no-encode-email-headers",
    "--filename-max-length=64",
    "--no-attach",
    "--no-thread",
    "--no-cover-letter",
    "--no-from",
    "--no-to",
    "--no-cc",
    "--no-notes",
    "--no-base",
    "--no-add-header",
];

/// A work tree that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedOut {
    /// How many patches stand in it as commits.
    pub applied: usize,
    /// The patch that waits for a person: resolve it, then `git am --continue` goes on with the rest.
    pub stopped_at: Option<String>,
}

/// A work tree that could not be made or written back.
#[derive(Debug, thiserror::Error)]
pub enum WorktreeError {
    /// The folder is in use.
    #[error("{} is there already; remove it or name another folder", .0.display())]
    Exists(PathBuf),
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// git failed.
    #[error("git failed in {}", path.display())]
    Git {
        /// The work tree.
        path: PathBuf,
        /// What it said.
        source: CommandError,
    },
    /// The patches could not be applied for another reason than a conflict.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// There is work that is not committed.
    #[error("{} has changes that are not committed: {files}", path.display())]
    NotCommitted {
        /// The work tree.
        path: PathBuf,
        /// The files, as `git status --short` lists them.
        files: String,
    },
    /// A `git am` or `git rebase` is under way.
    #[error("{} is in the middle of `{operation}`; continue or abort it first", path.display())]
    UnderWay {
        /// The work tree.
        path: PathBuf,
        /// What is under way.
        operation: &'static str,
    },
    /// The commits do not stand in a line on the base.
    #[error("the commits of {} are not a plain line on {base}: {problem}", path.display())]
    NotALine {
        /// The work tree.
        path: PathBuf,
        /// The commit they should stand on.
        base: CommitId,
        /// What is in the way.
        problem: String,
    },
    /// The commits do not make good patches; nothing was changed.
    #[error("{} of the patches are wrong, the first: {}", .0.len(), first(.0))]
    Problems(Vec<PatchProblem>),
}

fn first(problems: &[PatchProblem]) -> String {
    problems.first().map_or_else(String::new, ToString::to_string)
}

/// Makes a git work tree in `directory` with one commit a patch on the branch `patches`.
///
/// Objects are shared with the mirror, so the mirror must stay where it is. When a patch does not apply, the work tree
/// is left in the middle of `git am` for a person to resolve.
pub fn check_out(
    mirror: &Mirror,
    base: &CommitId,
    series: &Series,
    directory: &Path,
) -> Result<CheckedOut, WorktreeError> {
    if directory.exists() {
        return Err(WorktreeError::Exists(directory.to_path_buf()));
    }
    let (head, applied) = apply_fitting(mirror, base, series)?;
    let directory = &std::path::absolute(directory).map_err(file_error(directory))?;
    let repository = directory.join(".git");
    let work = Work { directory, repository: &repository, environment: mirror.environment() };
    fs::create_dir_all(directory).map_err(file_error(directory))?;
    work.init()?;
    let file = |name: &str| repository.join(name);
    let alternates = format!("{}\n", mirror.directory().join("objects").display());
    write(&file("objects/info/alternates"), alternates.as_bytes())?;
    if let Ok(shallow) = fs::read(mirror.directory().join("shallow")) {
        write(&file("shallow"), &shallow)?;
    }
    work.git(&["update-ref", "refs/kdistro/base", base.as_str()])?;
    work.git(&["checkout", "--quiet", "-b", BRANCH, head.as_str()])?;
    let rest = series.patches.get(applied..).unwrap_or_default();
    let resolved = if rest.is_empty() { 0 } else { work.apply_by_hand(rest)? };
    let stopped_at = rest.get(resolved).map(|patch| patch.name.clone());
    Ok(CheckedOut { applied: applied + resolved, stopped_at })
}

/// Writes the commits since `base` as canonical patch files in place of those in `patches`, and returns the series.
///
/// The same commits give the same bytes. Nothing is changed unless every patch is good.
pub fn write_back(
    directory: &Path,
    base: &CommitId,
    patches: &Path,
    environment: &Environment,
) -> Result<Series, WorktreeError> {
    let directory = &std::path::absolute(directory).map_err(file_error(directory))?;
    let repository = directory.join(".git");
    let work = Work { directory, repository: &repository, environment };
    work.check_at_rest()?;
    work.check_line(base)?;
    let parent = patches.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(file_error(parent))?;
    let new = tempfile::Builder::new().prefix(".new-patches-").tempdir_in(parent);
    let new = new.map_err(file_error(parent))?;
    let output = std::path::absolute(new.path()).map_err(file_error(parent))?;
    let output = format!("--output-directory={}", output.display());
    let range = format!("{base}..HEAD");
    let mut arguments = CANONICAL.to_vec();
    arguments.extend([output.as_str(), range.as_str()]);
    work.git(&arguments)?;
    let series = Series::read(new.path()).map_err(WorktreeError::Problems)?;
    replace(patches, &series)?;
    Ok(series)
}

/// Makes the folder hold exactly the series; a file that stays the same is not touched.
fn replace(patches: &Path, series: &Series) -> Result<(), WorktreeError> {
    fs::create_dir_all(patches).map_err(file_error(patches))?;
    for patch in &series.patches {
        let path = patches.join(&patch.name);
        if fs::read(&path).ok().as_deref() != Some(&patch.content) {
            let new = patches.join(format!(".{}.new", patch.name));
            write(&new, &patch.content)?;
            fs::rename(&new, &path).map_err(file_error(&path))?;
        }
    }
    for entry in fs::read_dir(patches).map_err(file_error(patches))? {
        let path = entry.map_err(file_error(patches))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let wanted = series.patches.iter().any(|patch| patch.name == name);
        if !wanted && (name.ends_with(".patch") || name.ends_with(".patch.new")) {
            fs::remove_file(&path).map_err(file_error(&path))?;
        }
    }
    if series.patches.is_empty() {
        // It stays when it holds something else.
        let _ = fs::remove_dir(patches);
    }
    Ok(())
}

/// A scratch repository.
struct Work<'a> {
    directory: &'a Path,
    repository: &'a Path,
    environment: &'a Environment,
}

impl<'a> Work<'a> {
    fn call(&self, arguments: &[&str]) -> Call<'a> {
        let git = Git { repository: self.repository, environment: self.environment };
        let mut call = git.call(arguments);
        call.variables.extend([
            ("GIT_WORK_TREE", self.directory.into()),
            ("GIT_COMMITTER_NAME", COMMITTER.0.into()),
            ("GIT_COMMITTER_EMAIL", COMMITTER.1.into()),
        ]);
        call.directory = Some(self.directory);
        call
    }

    /// Makes the repository; a work tree named to `git init` would be written into its settings.
    fn init(&self) -> Result<(), WorktreeError> {
        let git = Git { repository: self.repository, environment: self.environment };
        let made = git.run(["init", "--quiet", "--template=", "--initial-branch=none"]);
        made.map(drop).map_err(|source| self.failed(source))
    }

    fn git(&self, arguments: &[&str]) -> Result<String, WorktreeError> {
        let output = self.call(arguments).run();
        Ok(output.map_err(|source| self.failed(source))?.text())
    }

    /// Hands patches to `git am`, which stops at what a person must resolve; returns how many went through.
    fn apply_by_hand(&self, patches: &[Patch]) -> Result<usize, WorktreeError> {
        let waiting = self.repository.join("kdistro-waiting");
        fs::create_dir_all(&waiting).map_err(file_error(&waiting))?;
        let mut call = self.call(&["am", "--quiet", "--keep-cr", "--3way"]);
        call.arguments.push("--committer-date-is-author-date".into());
        for patch in patches {
            let path = waiting.join(&patch.name);
            write(&path, &patch.content)?;
            call.arguments.push(path.into());
        }
        let output = call.try_run().map_err(|source| self.failed(source))?;
        if output.code == Some(0) {
            return Ok(patches.len());
        }
        match fs::read_to_string(self.repository.join("rebase-apply/next")) {
            Ok(next) => Ok(next.trim().parse::<usize>().unwrap_or(1).saturating_sub(1)),
            // It did not even begin.
            Err(_) => Err(self.failed(output.failure())),
        }
    }

    fn failed(&self, source: CommandError) -> WorktreeError {
        WorktreeError::Git { path: self.directory.to_path_buf(), source }
    }

    fn check_at_rest(&self) -> Result<(), WorktreeError> {
        let path = self.directory.to_path_buf();
        for (folder, operation) in [("rebase-apply", "git am"), ("rebase-merge", "git rebase")] {
            if self.repository.join(folder).exists() {
                return Err(WorktreeError::UnderWay { path, operation });
            }
        }
        let files = self.git(&["status", "--short"])?;
        if files.is_empty() {
            return Ok(());
        }
        let files: Vec<_> = files.lines().map(str::trim).collect();
        Err(WorktreeError::NotCommitted { path, files: files.join(", ") })
    }

    fn check_line(&self, base: &CommitId) -> Result<(), WorktreeError> {
        let not_a_line = |problem: String| WorktreeError::NotALine {
            path: self.directory.to_path_buf(),
            base: base.clone(),
            problem,
        };
        let ancestor = self.call(&["merge-base", "--is-ancestor", base.as_str(), "HEAD"]);
        if ancestor.try_run().map_err(|source| self.failed(source))?.code != Some(0) {
            return Err(not_a_line("the branch does not contain it".to_owned()));
        }
        let merges = self.git(&["rev-list", "--merges", &format!("{base}..HEAD")])?;
        match merges.lines().next() {
            Some(merge) => Err(not_a_line(format!("{merge} is a merge"))),
            None => Ok(()),
        }
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), WorktreeError> {
    fs::write(path, content).map_err(file_error(path))
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> WorktreeError {
    let path = path.to_path_buf();
    move |source| WorktreeError::File { path, source }
}
