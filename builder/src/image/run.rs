//! Starts the program of an image in the build container, from its unpacked layers.
//!
//! The container is that of build steps: no network, no capabilities, one user id whatever the image says, everything
//! read-only but `/tmp` and `/out`. That is enough to see that an image is whole and its program starts.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use kdistro_container::{Finished, Limits, Mount, StepError, StepSpec};

use super::{ImageError, Images, PlatformImage, failed};
use crate::home::Home;

/// How much a started image may use. How long it may take is said with each.
const LIMITS: Limits = Limits {
    seconds: 0,
    memory_bytes: 4 << 30,
    processes: 1024,
    disk_bytes: 1 << 30,
    log_bytes: 64 << 20,
};

/// Where programs are looked for when the image does not say.
///
/// Source: the default of runc and containerd.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the emulator lies in the container.
const EMULATOR: &str = "/.kdistro-emulator";

/// What is started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The image.
    pub image: &'a PlatformImage,
    /// A program in place of the image's entry point.
    pub entrypoint: Option<&'a str>,
    /// Arguments in place of the image's command; none: the image's.
    pub arguments: &'a [String],
    /// The emulator on this machine, where the image is for another architecture.
    pub emulator: Option<&'a Path>,
    /// After how many seconds it is ended.
    pub seconds: u64,
}

/// How a started image ended.
#[derive(Debug)]
pub struct Ran {
    /// What it wrote on standard output and standard error, whatever the end.
    pub output: Vec<u8>,
    /// What it used, and what held it in, when it ended with 0; otherwise why it ended.
    pub ended: Result<Finished, StepError>,
}

impl Ran {
    /// Returns the exit code, as a shell has it where a signal ended the program; none where it did not come to its
    /// own end.
    pub fn code(&self) -> Option<i32> {
        match &self.ended {
            Ok(_) => Some(0),
            Err(StepError::Exited { code }) => Some(*code),
            Err(StepError::Signal { signal, .. }) => Some(signal.saturating_add(128)),
            Err(_) => None,
        }
    }
}

/// Unpacks an image into a scratch folder of the home and starts it; waits until it ends.
pub fn run(home: &Home, images: &Images<'_>, start: &Start<'_>) -> Result<Ran, ImageError> {
    let scratch = home.scratch("image")?;
    let folder = |name: &str| {
        let path = scratch.path().join(name);
        fs::create_dir(&path).map_err(failed(&path))?;
        Ok::<_, ImageError>(path)
    };
    let (root, out, temporary) = (folder("root")?, folder("out")?, folder("tmp")?);
    images.unpack(start.image, &root, scratch.path())?;
    let log = scratch.path().join("log");
    let spec = StepSpec {
        mounts: mounts(start),
        argv: argv(start, &root)?,
        env: environment(start.image),
        directory: directory(start.image),
        limits: Limits { seconds: start.seconds, ..LIMITS },
        root,
        out,
        scratch: temporary,
        log: log.clone(),
    };
    match kdistro_container::run(&spec) {
        // Nothing of the image ran.
        Err(error @ (StepError::CannotStart { .. } | StepError::Engine { .. })) => {
            Err(ImageError::Step(error))
        }
        ended => {
            let output = fs::read(&log).map_err(failed(&log))?;
            Ok(Ran { output, ended })
        }
    }
}

/// Finds the emulator of an architecture in the folders of `path`: a static program, since it must start anywhere.
///
/// `host` and `arch` are in Go's words; none is needed where they are the same.
pub fn emulator(host: &str, arch: &str, path: &OsStr) -> Result<Option<PathBuf>, ImageError> {
    if host == arch {
        return Ok(None);
    }
    // Source: the names of QEMU's user-mode programs.
    let word = match arch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    let name = format!("qemu-{word}-static");
    let found = std::env::split_paths(path).map(|folder| folder.join(&name)).find(|p| p.is_file());
    let missing = || ImageError::NoEmulator { arch: arch.to_owned(), emulator: name.clone() };
    found.ok_or_else(missing).map(Some)
}

fn mounts(start: &Start<'_>) -> Vec<Mount> {
    let mount = |host: &Path| Mount { host: host.to_owned(), path: EMULATOR.to_owned() };
    start.emulator.map(mount).into_iter().collect()
}

fn argv(start: &Start<'_>, root: &Path) -> Result<Vec<String>, ImageError> {
    let config = &start.image.config.config;
    let given = !start.arguments.is_empty();
    let arguments = if given { start.arguments } else { &config.command };
    let entrypoint = match start.entrypoint {
        // The image's command is for its own entry point.
        Some(program) if given => [&[program.to_owned()], arguments].concat(),
        Some(program) => vec![program.to_owned()],
        None => [&config.entrypoint, arguments].concat(),
    };
    let (program, rest) = entrypoint.split_first().ok_or(ImageError::NoEntryPoint)?;
    let program = resolve(program, &environment(start.image), root);
    let emulator = start.emulator.map(|_| EMULATOR.to_owned());
    Ok(emulator.into_iter().chain([program]).chain(rest.iter().cloned()).collect())
}

/// Finds a program without a folder as `execvp` would; one that is not found keeps its name for the error.
fn resolve(program: &str, environment: &BTreeMap<String, String>, root: &Path) -> String {
    if program.contains('/') {
        return program.to_owned();
    }
    let path = environment.get("PATH").map_or(PATH, String::as_str);
    let is_there = |folder: &&str| {
        let inside = root.join(folder.trim_start_matches('/')).join(program);
        inside.symlink_metadata().is_ok()
    };
    let found = path.split(':').filter(|folder| folder.starts_with('/')).find(is_there);
    found.map_or_else(|| program.to_owned(), |folder| format!("{folder}/{program}"))
}

fn environment(image: &PlatformImage) -> BTreeMap<String, String> {
    let given = image.config.config.env.iter();
    let given = given.filter_map(|text| text.split_once('=')).map(|(n, v)| (n.into(), v.into()));
    let defaults = [("HOME", "/tmp"), ("PATH", PATH)];
    let defaults = defaults.map(|(name, value)| (name.to_owned(), value.to_owned()));
    defaults.into_iter().chain(given).collect()
}

fn directory(image: &PlatformImage) -> String {
    match image.config.config.working_directory.as_str() {
        "" => "/".to_owned(),
        given => given.to_owned(),
    }
}
