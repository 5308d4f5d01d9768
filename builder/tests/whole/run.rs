//! Starts programs and reads what they say.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

pub(crate) use crate::ran::{Ran, run};

/// The program under test.
pub(crate) const KDISTRO: &str = env!("CARGO_BIN_EXE_kdistro");

impl Ran {
    /// Fails the test unless the program said all of this on standard error.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text), "`{text}` is not in:\n{}", self.err);
        }
        self
    }

    /// Fails the test unless the program printed all of this.
    #[track_caller]
    pub(crate) fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.out.contains(text), "`{text}` is not in:\n{}\n{}", self.out, self.err);
        }
        self
    }
}

/// A program to be started.
#[expect(clippy::disallowed_methods, reason = "the tests start the programs that they judge")]
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}

/// Runs a program that must end well; returns what it printed.
#[track_caller]
pub(crate) fn must(command: &mut Command) -> String {
    run(command).expect(0).out
}

/// A program by name and arguments.
pub(crate) fn with<I: AsRef<OsStr>>(
    name: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = I>,
) -> Command {
    let mut command = program(name);
    command.args(arguments);
    command
}

/// True when the tests run as root.
pub(crate) fn is_root() -> bool {
    must(&mut with("id", ["-u"])).trim() == "0"
}

/// Where programs are found.
#[expect(clippy::disallowed_methods, reason = "programs with an otherwise empty environment")]
pub(crate) fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap()
}

/// Variables of Go as this host has them, so that a program with another home folder asks the same proxy.
pub(crate) fn go_settings() -> &'static [(String, String)] {
    static SETTINGS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let names = ["GOPROXY", "GOSUMDB"];
        let values = must(with("go", ["env"]).args(names));
        let values = values.lines().map(str::to_owned);
        names.map(str::to_owned).into_iter().zip(values).collect()
    })
}

/// The verifier's program, which is built when it is not there.
pub(crate) fn verifier() -> &'static Path {
    static VERIFIER: OnceLock<PathBuf> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let path = Path::new(KDISTRO).with_file_name("kdistro-verify");
        if !path.is_file() {
            let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
            let build = ["build", "--locked", "--package", "kdistro-verify"];
            must(with(env!("CARGO"), build).current_dir(top));
        }
        path
    })
}

/// Says on standard error that something was not judged, and why.
#[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not judged")]
pub(crate) fn not_judged(what: &str, why: &str) {
    eprintln!("NOT JUDGED: {what}: {why}");
}
