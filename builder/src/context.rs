//! What a command works with: the home folder, the build repository and the environment it publishes to.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use kdistro_source::Environment;

use crate::{
    config::{Files, INPUTS, Problem, Workspace, environment},
    content::ContentStore,
    home::{Home, HomeError, Lock},
    report::Reporter,
};

/// What `main` read of the world.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Seconds since 1970.
    pub now: u64,
    /// The home folder unless `--home` names another.
    pub default_home: PathBuf,
    /// The current directory.
    pub current_directory: PathBuf,
    /// The folder that this program lies in, with those that belong to it.
    pub programs: PathBuf,
    /// How wide lines for people may be; none where nobody looks at them.
    pub columns: Option<usize>,
    /// The machine.
    pub host: Host,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its platform, such as `linux/amd64`.
    pub platform: String,
    /// Its cores.
    pub cores: usize,
    /// Its memory in bytes.
    pub memory_bytes: u64,
}

/// What every command works with.
pub struct Context {
    /// The home folder.
    pub home: Home,
    /// Inputs, outputs and assets by digest.
    pub content: ContentStore,
    /// Who is told.
    pub reporter: Reporter,
    /// The environment of git, apt and go.
    pub environment: Environment,
    /// What `main` read of the world.
    pub surroundings: Surroundings,
    /// The name of the environment that is published to.
    pub environment_name: String,
    /// Another list of Debian archives than the host's.
    pub apt_sources: Option<PathBuf>,
    /// True with `--json`.
    pub json: bool,
    /// Keeps what this run is writing from being cleared away by another; none where nothing can be written.
    pub in_use: Option<Lock>,
}

/// Why a command cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// Not inside a build repository.
    #[error("{} is not inside a build repository\nhelp:  run this in a clone of one: a folder with {INPUTS}", .0.display())]
    NoRepository(PathBuf),
    /// The configuration has problems.
    #[error("{}", list(.0))]
    Configuration(Vec<Problem>),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something among the configuration that is neither file nor folder.
    #[error("{} is a link or device; expected a plain file", .0.display())]
    NoFile(PathBuf),
    /// The environment's file is wrong.
    #[error("{0}")]
    Environment(Problem),
    /// No such environment.
    #[error(
        "unknown environment `{name}`, expected one of {known}\nhelp:  name one with --environment, or write {}", environment::file(.name)
    )]
    UnknownEnvironment {
        /// Its name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// There is no place for what is in between.
    #[error(
        "cannot make a scratch folder\nhelp:  name a home folder that you may write to with --home, or set TMPDIR"
    )]
    Scratch(#[source] io::Error),
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Context {
    /// Returns the top of the build repository that the current directory is in.
    pub fn top(&self) -> Result<PathBuf, ContextError> {
        let from = &self.surroundings.current_directory;
        let top = from.ancestors().find(|folder| folder.join(INPUTS).is_file());
        top.map(Path::to_owned).ok_or_else(|| ContextError::NoRepository(from.clone()))
    }

    /// A new, empty scratch folder, removed when it is dropped: in the home, or where that cannot be written to in the
    /// system's own folder for such.
    pub fn scratch(&self, name: &str) -> Result<tempfile::TempDir, ContextError> {
        if self.in_use.is_some() {
            return Ok(self.home.scratch(name)?);
        }
        let made = tempfile::Builder::new().prefix(&format!("kdistro-{name}-")).tempdir();
        made.map_err(ContextError::Scratch)
    }

    /// The proxy for addresses, as the environment names it.
    pub fn proxy(&self) -> Option<String> {
        let named = |name: &str| {
            let found = self.surroundings.variables.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.to_string_lossy().into_owned())
        };
        named("https_proxy").or_else(|| named("HTTPS_PROXY")).filter(|value| !value.is_empty())
    }

    /// Reads the declarative files of the build repository.
    pub fn workspace(&self) -> Result<Workspace, ContextError> {
        Workspace::read(read_files(&self.top()?)?).map_err(ContextError::Configuration)
    }

    /// Reads the file of the environment that the command line names.
    pub fn target(&self) -> Result<environment::Environment, ContextError> {
        self.target_called(&self.environment_name)
    }

    /// Reads the file of an environment.
    pub fn target_called(&self, name: &str) -> Result<environment::Environment, ContextError> {
        let files = read_environments(&self.top()?)?;
        let file = environment::file(name);
        let Some(bytes) = files.get(&file) else {
            let names = files.keys().filter_map(|path| environment::name_of(path));
            let known = names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let name = name.to_owned();
            return Err(ContextError::UnknownEnvironment { name, known });
        };
        environment::Environment::read(&file, bytes).map_err(ContextError::Environment)
    }
}

/// Reads the files of all environments below the top of a build repository.
pub fn read_environments(top: &Path) -> Result<Files, ContextError> {
    let mut files = Files::new();
    read_below(top, &top.join(environment::FOLDER), &mut files)?;
    Ok(files)
}

/// Reads all declarative files below the top of a build repository.
pub fn read_files(top: &Path) -> Result<Files, ContextError> {
    let mut files = Files::new();
    for folder in ["projects", "release-manifests", "patches"] {
        read_below(top, &top.join(folder), &mut files)?;
    }
    Ok(files)
}

fn read_below(top: &Path, folder: &Path, files: &mut Files) -> Result<(), ContextError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ContextError::Read { path, source }
    };
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        // A link could lead to any file of this machine, and what is configuration gets published.
        let kind = path.symlink_metadata().map_err(failed(&path))?.file_type();
        if kind.is_dir() {
            read_below(top, &path, files)?;
            continue;
        }
        if !kind.is_file() {
            return Err(ContextError::NoFile(path));
        }
        let name = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned();
        files.insert(name, fs::read(&path).map_err(failed(&path))?);
    }
    Ok(())
}
