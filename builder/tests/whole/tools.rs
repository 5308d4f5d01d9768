//! Other people's programs: installed, or fetched or built into temporary folders. A test that cannot have one fails
//! and says what to install.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::run::{self, Ran, must, path, program, run, with};

/// The Debian package that has a program which judges.
const PACKAGES: [(&str, &str); 11] = [
    ("bsdtar", "libarchive-tools"),
    ("docker-registry", "docker-registry"),
    ("dpkg-query", "dpkg"),
    ("getcap", "libcap2-bin"),
    ("go", "golang-go"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3-venv"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    ("yq", "yq"),
];

/// Folder of the judges that were written for these tests.
pub(crate) fn judges() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges")
}

/// True when a program with this name is installed.
pub(crate) fn is_installed(name: &str) -> bool {
    run(with("sh", ["-c", "command -v \"$1\"", "sh", name]).env("PATH", path())).code == 0
}

/// A program that judges. Without it the test fails: what nobody judged has not passed.
#[track_caller]
pub(crate) fn judge(name: &str) -> Command {
    let package = PACKAGES.iter().find(|(program, _)| *program == name);
    let (_, package) = package.unwrap_or_else(|| panic!("which Debian package has `{name}`?"));
    assert!(
        is_installed(name),
        "`{name}` judges here and is not installed: apt-get install {package}"
    );
    program(name)
}

/// The result of fetching or building a judge.
#[track_caller]
fn got(ran: &Ran, what: &str, install: &str) {
    assert!(
        ran.code == 0,
        "{what} judges here and could not be had; install {install}, or look why:\n{}{}",
        ran.out,
        ran.err
    );
}

/// A program of the judges that are written in Python or come as Python packages: `pyspdxtools`, `syft`, and the
/// `python` that has `PyYAML`. Installed once for all runs, again when the list of them changes.
#[track_caller]
pub(crate) fn python(name: &str) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let top = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let lock = File::create(top.join("judges-python.lock")).unwrap();
        lock.lock().unwrap();
        let (folder, list) = (top.join("judges-python"), judges().join("requirements.txt"));
        let (wanted, done) = (fs::read(&list).unwrap(), folder.join("requirements.txt"));
        if fs::read(&done).is_ok_and(|installed| installed == wanted) {
            return folder;
        }
        if folder.is_dir() {
            fs::remove_dir_all(&folder).unwrap();
        }
        let made = run(judge("python3").args(["-m", "venv"]).arg(&folder));
        got(&made, "a virtual environment of Python", "python3-venv");
        let options = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
        let installed = run(with(folder.join("bin/pip"), options).arg(&list));
        got(&installed, "what tests/judges/requirements.txt lists", "it with pip");
        fs::copy(&list, done).unwrap();
        folder
    });
    program(folder.join("bin").join(name))
}

/// Unpacks cosign from Debian's unstable suite without installing it.
#[track_caller]
pub(crate) fn cosign(folder: &Path) -> PathBuf {
    let sources = "/etc/apt/sources.list.d/debian.sources";
    let host = fs::read_to_string(sources).unwrap_or_else(|error| {
        panic!("cosign judges here, out of the archive that {sources} names: {error}")
    });
    for name in ["lists/partial", "cache/archives/partial", "sources", "packages"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    let archive = host.split("\n\n").next().unwrap_or_default();
    let unstable = archive.lines().map(|line| match line.split_once(':') {
        Some(("Suites", _)) => "Suites: sid\n".to_owned(),
        _ => format!("{line}\n"),
    });
    fs::write(folder.join("sources/sid.sources"), unstable.collect::<String>()).unwrap();
    fs::write(folder.join("status"), "").unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let settings = format!(
        "Dir::State::Lists \"{}\";\nDir::Cache \"{}\";\nDir::State::status \"{}\";\nDir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{}\";\nAPT::Sandbox::User \"\";\nAcquire::Languages \"none\";\n",
        at("lists"),
        at("cache"),
        at("status"),
        at("sources")
    );
    fs::write(folder.join("apt.conf"), settings).unwrap();
    let packages = folder.join("packages");
    for arguments in [&["update", "-qq"][..], &["download", "-qq", "cosign"]] {
        let mut apt = with("apt-get", arguments);
        apt.current_dir(&packages).env("APT_CONFIG", folder.join("apt.conf"));
        got(&run(&mut apt), "cosign", "the package cosign of Debian's unstable suite");
    }
    let root = folder.join("root");
    for package in fs::read_dir(&packages).unwrap() {
        must(with("dpkg-deb", ["--extract"]).arg(package.unwrap().path()).arg(&root));
    }
    root.join("usr/bin/cosign")
}

/// Installs sigstore-js into a folder; returns the script that asks it.
#[track_caller]
pub(crate) fn sigstore_js(folder: &Path) -> PathBuf {
    for name in ["package.json", "verify.cjs"] {
        fs::copy(judges().join(name), folder.join(name)).unwrap();
    }
    let install = ["install", "--no-fund", "--no-audit", "--no-package-lock", "--ignore-scripts"];
    let installed = run(judge("npm").args(install).current_dir(folder));
    got(&installed, "sigstore-js", "what tests/judges/package.json lists with npm");
    folder.join("verify.cjs")
}

/// Builds Tessera's fsck with the toolchain that built the release.
#[track_caller]
pub(crate) fn tessera_fsck(folder: &Path, toolchain: &Path) -> PathBuf {
    let built = folder.join("fsck");
    let mut build = go(toolchain, folder);
    let arguments = ["build", "-mod=readonly", "-modcacherw", "-o"];
    build.args(arguments).arg(&built).arg(".").current_dir(judges().join("fsck"));
    got(&run(&mut build), "Tessera's fsck", "the modules of tests/judges/fsck with go");
    built
}

/// A toolchain's `go` with caches in a folder and the host's module proxy.
fn go(toolchain: &Path, folder: &Path) -> Command {
    let mut command = program(toolchain.join("bin/go"));
    command.env_remove("GOROOT").env("GOTOOLCHAIN", "local").env("GOFLAGS", "");
    command.env("GOCACHE", folder.join("cache")).env("GOMODCACHE", folder.join("modules"));
    command.envs(run::go_settings().iter().map(|(name, value)| (name, value)));
    command
}
