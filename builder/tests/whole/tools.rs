//! Other people's programs: installed, or fetched or built into temporary folders. A test that cannot have one fails
//! and says what to install.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_testbed::{debian_program, tool_of};

use crate::run::{self, Ran, path, program, run, with};

/// The Debian package that has a program which judges.
const PACKAGES: [(&str, &str); 9] = [
    ("bsdtar", "libarchive-tools"),
    ("dpkg-query", "dpkg"),
    ("getcap", "libcap2-bin"),
    ("go", "golang-go"),
    ("node", "nodejs"),
    ("npm", "npm"),
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
    let wanted = include_str!("../judges/requirements.txt");
    let tool = tool_of("judges-python", wanted, name);
    program(tool.unwrap_or_else(|error| panic!("{name} judges here: {error}")))
}

/// A program of Debian's unstable suite, such as cosign, unpacked once for all runs.
#[track_caller]
pub(crate) fn debian(name: &str) -> Command {
    program(debian_program(name).unwrap_or_else(|error| panic!("{name} judges here: {error}")))
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
    build(folder, toolchain, ("fsck", "."))
}

/// Builds Amazon's credential helper with the toolchain that built the release; returns the folder that it is in.
#[cfg(feature = "aws")]
#[track_caller]
pub(crate) fn ecr_login(folder: &Path, toolchain: &Path) -> PathBuf {
    let package =
        "github.com/awslabs/amazon-ecr-credential-helper/ecr-login/cli/docker-credential-ecr-login";
    let built = build(folder, toolchain, ("ecr-login", package));
    let helper = folder.join("docker-credential-ecr-login");
    fs::rename(built, helper).unwrap();
    folder.to_owned()
}

/// Builds a program of a Go module of the judges.
#[track_caller]
fn build(folder: &Path, toolchain: &Path, (module, package): (&str, &str)) -> PathBuf {
    let built = folder.join(module);
    let mut build = go(toolchain, folder);
    let arguments = ["build", "-mod=readonly", "-modcacherw", "-trimpath", "-o"];
    build.args(arguments).arg(&built).arg(package).current_dir(judges().join(module));
    got(&run(&mut build), module, "what tests/judges lists in its go.mod");
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
