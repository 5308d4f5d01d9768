//! A private apt: own lists, cache and keyring; nothing of the host's is changed, and no root is needed.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    apt_sources::{
        Archive, field, names_of, paragraphs, read_list, read_sources, select, write_source,
    },
    command::{Call, CommandError, Environment, Output, Progress},
    keyring,
    mirror::wait_for_lock,
    stored::{StoredError, remove_tree},
};

/// Where a host describes its archives.
const HOST: &str = "/etc/apt";

/// The host's settings of how archives are reached, which are taken over.
const REACHED: &[&str] = &["Acquire::Retries", "Acquire::http::", "Acquire::https::"];

/// The host's settings of how old its own archives may be; a file that is named instead says that itself.
const AGES: &[&str] =
    &["Acquire::Check-Date", "Acquire::Check-Valid-Until", "Acquire::Max-ValidTime"];

/// Where packages come from.
#[derive(Clone, Debug)]
pub struct AptSettings {
    /// The variables of every program.
    pub environment: Environment,
    /// The suite by its code name, such as `bookworm`.
    pub suite: String,
    /// The fingerprints of the keys that may sign the archives, uppercase hex.
    pub keys: Vec<String>,
    /// A file to read instead of the host's own, in the `.sources` or (named `.list`) one-line format.
    pub sources: Option<PathBuf>,
    /// The folder for lists and cache, kept between runs.
    pub state: PathBuf,
}

/// An archive that could not be asked, or whose answer is refused.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// A word that apt could take for an option or a pattern.
    #[error("`{text}` is not a {kind}")]
    Name {
        /// What it should be.
        kind: &'static str,
        /// The word.
        text: String,
    },
    /// No archive of the host carries the suite.
    #[error(
        "no archive in {origin} carries suite `{suite}` signed by one of {keys}; expected an entry of Debian such as `deb <address> {suite} main`"
    )]
    NoArchive {
        /// The file or folder that was read.
        origin: String,
        /// The suite.
        suite: String,
        /// The fingerprints.
        keys: String,
    },
    /// A keyring that the host names.
    #[error("{} is not an OpenPGP keyring", .0.display())]
    Keyring(PathBuf),
    /// The archive says that it is another suite.
    #[error("{file} says that its code name is `{found}`, expected one of {expected}")]
    Suite {
        /// The file in the lists.
        file: String,
        /// What it says.
        found: String,
        /// The names that are right.
        expected: String,
    },
    /// The update brought no signed index.
    #[error("the archives of suite `{0}` have no signed index")]
    NoIndex(String),
    /// The lists cannot be had, or nobody who may has signed them, or they are too old.
    #[error(
        "cannot read the package lists of suite `{suite}`; expected archives that answer, signed in time by one of {keys}"
    )]
    Lists {
        /// The suite.
        suite: String,
        /// The fingerprints.
        keys: String,
        /// What apt said.
        source: CommandError,
    },
    /// apt failed.
    #[error("{what}")]
    Command {
        /// What was tried.
        what: String,
        /// What it said.
        source: CommandError,
    },
    /// apt said something else than its documentation says.
    #[error("apt's answer about {what} is not understood: `{answer}`")]
    Answer {
        /// What was asked.
        what: String,
        /// The answer.
        answer: String,
    },
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A fetched file is not the pinned one, or could not be kept.
    #[error(transparent)]
    Stored(#[from] StoredError),
}

/// A private apt for one suite.
#[derive(Debug)]
pub struct Apt {
    pub(crate) settings: AptSettings,
    archives: Vec<(Archive, Vec<u8>)>,
    host_settings: String,
    updated: Mutex<BTreeSet<String>>,
}

/// What apt reads in a session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind<'a> {
    Source,
    Packages { architecture: &'a str },
}

/// The right to use a private configuration.
pub(crate) struct Session<'a> {
    environment: &'a Environment,
    config: PathBuf,
    _lock: File,
}

impl Apt {
    /// Reads the host's archives. Asks no network: that happens with the first question, once an architecture.
    pub fn open(settings: AptSettings) -> Result<Self, AptError> {
        check_word("suite", &settings.suite, "-")?;
        let (origin, archives) = host_archives(&settings)?;
        let mut kept = Vec::new();
        for archive in select(archives, &settings.suite) {
            let keyring = keyring_for(&archive, &settings.keys)?;
            if !keyring.is_empty() {
                kept.push((archive, keyring));
            }
        }
        if kept.is_empty() {
            let keys = settings.keys.join(", ");
            return Err(AptError::NoArchive { origin, suite: settings.suite, keys });
        }
        let host_settings = host_settings(&settings)?;
        let updated = Mutex::default();
        Ok(Self { settings, archives: kept, host_settings, updated })
    }

    /// Tells whether this host's settings, or a named archive's, accept an index that has expired: then nobody would
    /// notice a mirror that shows an old state of the archive.
    pub fn accepts_expired(&self) -> bool {
        let by_host = self.host_settings.lines().any(|line| {
            let value = |name: &str| line.strip_prefix(name).map(is_off);
            value("Acquire::Check-Valid-Until ").or_else(|| value("Acquire::Check-Date "))
                == Some(true)
        });
        let checks = self.archives.iter().flat_map(|(archive, _)| &archive.checks);
        by_host || checks.into_iter().any(|(_, value)| is_off(value))
    }

    /// Prepares a private configuration and brings its lists up to date.
    pub(crate) fn session(
        &self,
        kind: Kind<'_>,
        progress: Progress<'_>,
    ) -> Result<Session<'_>, AptError> {
        let name = match kind {
            Kind::Source => "source",
            Kind::Packages { architecture } => architecture,
        };
        check_word("architecture", name, "")?;
        let mut updated = self.updated.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.settings.state.join(&self.settings.suite).join(name);
        fs::create_dir_all(&folder).map_err(file_error(&folder))?;
        let folder = std::path::absolute(&folder).map_err(file_error(&folder))?;
        let lock = folder.join("kdistro.lock");
        let lock = wait_for_lock(&lock, progress).map_err(file_error(&lock))?;
        let config = self.configure(&folder, kind)?;
        let session = Session { environment: &self.settings.environment, config, _lock: lock };
        if !updated.contains(name) {
            progress(&format!("reading the lists of {} ({name})", self.settings.suite));
            session.call(None, &["update"]).map_err(|source| AptError::Lists {
                suite: self.settings.suite.clone(),
                keys: self.settings.keys.join(", "),
                source,
            })?;
            self.check_releases(&folder.join("state/lists"))?;
            updated.insert(name.to_owned());
        }
        Ok(session)
    }

    /// Writes the configuration, the archives and their keyrings.
    fn configure(&self, folder: &Path, kind: Kind<'_>) -> Result<PathBuf, AptError> {
        let text = folder.display().to_string();
        if text.contains(['"', '\\', '\n', ' ', ',']) {
            let text = text.clone();
            return Err(AptError::Name { kind: "path that apt can be told", text });
        }
        // Nothing of an interrupted run but finished downloads may stay.
        for name in ["etc", "state/lists/partial", "cache/archives"] {
            let path = folder.join(name);
            remove_tree(&path).map_err(file_error(&path))?;
        }
        for name in [
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/trusted.gpg.d",
            "etc/sources.list.d",
            "state/lists/partial",
            "cache/archives/partial",
            "log",
        ] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(file_error(&path))?;
        }
        let (word, architecture) = match kind {
            Kind::Source => ("deb-src", "amd64"),
            Kind::Packages { architecture } => ("deb", architecture),
        };
        let mut sources = String::new();
        for (number, (archive, keyring)) in (1..).zip(&self.archives) {
            let path = folder.join(format!("etc/keyring-{number}.gpg"));
            write(&path, keyring)?;
            sources += &write_source(archive, word, &path.display().to_string());
        }
        write(&folder.join("etc/sources.list.d/kdistro.sources"), sources.as_bytes())?;
        write(&folder.join("status"), b"")?;
        let config = folder.join("apt.conf");
        let settings = settings(&text, architecture) + &self.host_settings;
        write(&config, settings.as_bytes())?;
        Ok(config)
    }

    /// Refuses an archive that is, by its own signed word, another suite.
    fn check_releases(&self, lists: &Path) -> Result<(), AptError> {
        let expected = names_of(&self.settings.suite);
        let mut count = 0;
        for entry in fs::read_dir(lists).map_err(file_error(lists))? {
            let path = entry.map_err(file_error(lists))?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !file.ends_with("_InRelease") && !file.ends_with("_Release") {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(file_error(&path))?;
            let found = code_name(&text).unwrap_or_default();
            if !expected.contains(&found) {
                let expected = expected.join(", ");
                return Err(AptError::Suite { file, found, expected });
            }
            count += 1;
        }
        if count == 0 { Err(AptError::NoIndex(self.settings.suite.clone())) } else { Ok(()) }
    }
}

impl Session<'_> {
    /// Runs `apt-get` with the private configuration.
    pub(crate) fn run(
        &self,
        what: &str,
        directory: Option<&Path>,
        arguments: &[&str],
    ) -> Result<Output, AptError> {
        let failed = |source| AptError::Command { what: what.to_owned(), source };
        self.call(directory, arguments).map_err(failed)
    }

    fn call(&self, directory: Option<&Path>, arguments: &[&str]) -> Result<Output, CommandError> {
        let mut call = Call::new(Path::new("apt-get"), self.environment);
        call.arguments = ["-q", "-y"].iter().chain(arguments).map(Into::into).collect();
        call.directory = directory;
        call.variables.push(("APT_CONFIG", self.config.clone().into()));
        call.run()
    }
}

/// The whole private configuration but what the host adds.
fn settings(folder: &str, architecture: &str) -> String {
    format!(
        r#"Dir "{folder}";
Dir::State "state";
Dir::State::status "{folder}/status";
Dir::Cache "cache";
Dir::Etc "etc";
Dir::Log "log";
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::ForceHash "SHA256";
Acquire::GzipIndexes "false";
Acquire::Languages "none";
Acquire::PDiffs "false";
"#
    )
}

/// Takes the host's proxies and the like out of `apt-config dump`.
fn host_settings(settings: &AptSettings) -> Result<String, AptError> {
    let mut call = Call::new(Path::new("apt-config"), &settings.environment);
    call.arguments = vec!["dump".into(), "Acquire".into()];
    let what = "cannot read this host's apt settings".to_owned();
    let dump = call.run().map_err(|source| AptError::Command { what, source })?.text();
    let ages = if settings.sources.is_none() { AGES } else { &[] };
    let taken = dump.lines().filter(|line| {
        REACHED.iter().chain(ages).any(|name| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| name.ends_with("::") || rest.starts_with(' '))
        })
    });
    Ok(taken.flat_map(|line| [line, "\n"]).collect())
}

/// Reads the host's archives, or those of the file named instead, and says where they stand.
fn host_archives(settings: &AptSettings) -> Result<(String, Vec<Archive>), AptError> {
    let (origin, mut files) = match &settings.sources {
        Some(file) => (file.clone(), vec![file.clone()]),
        None => (PathBuf::from(HOST), vec![Path::new(HOST).join("sources.list")]),
    };
    if settings.sources.is_none() {
        let folder = fs::read_dir(origin.join("sources.list.d")).into_iter().flatten().flatten();
        let mut more: Vec<_> = folder.map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
        files.retain(|file| file.is_file());
    }
    let mut archives = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(file_error(&file))?;
        let is_list = file.extension().is_some_and(|extension| extension == "list");
        archives.extend(if is_list { read_list(&text) } else { read_sources(&text) });
    }
    Ok((origin.display().to_string(), archives))
}

/// Collects the wanted keys of an archive's keyrings; empty when it is signed by others.
fn keyring_for(archive: &Archive, wanted: &[String]) -> Result<Vec<u8>, AptError> {
    let mut keyrings: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let named = archive.signed_by.as_deref().unwrap_or_default();
    if named.contains("-----BEGIN PGP") {
        keyrings.push((PathBuf::from("the key in a `.sources` file"), named.as_bytes().to_vec()));
    } else {
        let mut paths: Vec<PathBuf> = named
            .split([',', ' ', '\n'])
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from)
            .collect();
        if paths.is_empty() {
            let folder = Path::new(HOST).join("trusted.gpg.d");
            let files = fs::read_dir(folder).into_iter().flatten().flatten();
            paths.extend(files.map(|entry| entry.path()));
            paths.sort();
        }
        for path in paths {
            let bytes = fs::read(&path).map_err(file_error(&path))?;
            keyrings.push((path, bytes));
        }
    }
    let mut bytes = Vec::new();
    for (path, keyring) in keyrings {
        let keys = keyring::keys(&keyring).ok_or(AptError::Keyring(path))?;
        let is_wanted = |key: &keyring::Key| wanted.contains(&key.fingerprint);
        bytes.extend(keys.into_iter().filter(is_wanted).flat_map(|key| key.bytes));
    }
    Ok(bytes)
}

/// Tells whether apt takes a word for "no".
///
/// Source: apt, `StringToBool` in apt-pkg/contrib/strutl.cc.
fn is_off(value: &str) -> bool {
    let value = value.trim_end_matches(';').trim_matches('"').to_ascii_lowercase();
    ["no", "false", "without", "off", "disable", "0"].contains(&value.as_str())
}

/// Reads the code name out of a (clear-signed) release file.
fn code_name(text: &str) -> Option<String> {
    let found = paragraphs(text);
    found.iter().find_map(|paragraph| field(paragraph, "codename")).map(str::to_owned)
}

/// Refuses a word that is not letters, digits and `extra`, or begins otherwise.
pub(crate) fn check_word(kind: &'static str, text: &str, extra: &str) -> Result<(), AptError> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c)) {
        Ok(())
    } else {
        Err(AptError::Name { kind, text: text.to_owned() })
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), AptError> {
    fs::write(path, content).map_err(file_error(path))
}

pub(crate) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> AptError {
    let path = path.to_path_buf();
    move |source| AptError::File { path, source }
}
