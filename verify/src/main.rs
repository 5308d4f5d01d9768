//! The program `kdistro-verify`: checks a published release, and says how two files differ.
//!
//! Exit codes, the same for all commands: 0 verified or same, 1 differs or forged, 2 could not tell.

mod cli;

use std::{
    env,
    ffi::OsString,
    fmt::Display,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory, Parser};
use kdistro_formats::{
    failure::{Failure, asks_for_json},
    terminal::{printable, printable_json},
};
use kdistro_verify::{
    check::{self, TrustSource},
    compare::{self, Compared, Verdict},
    explain, store,
    trust::PublicKey,
};

use cli::{Cli, Command, Release};

/// The exit code of what could not be told.
const UNKNOWN: u8 = 2;

/// What a command came to.
enum Answer {
    Yes,
    No,
    CouldNotTell,
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Yes => Self::SUCCESS,
            Answer::No => Self::from(1),
            Answer::CouldNotTell => Self::from(UNKNOWN),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error, &arguments),
    };
    let result = match &cli.command {
        None => verify(&cli),
        Some(Command::Compare { a, b }) => compare_paths(&cli, a, b),
        Some(Command::Explain { a, b }) => explain_paths(&cli, a, b),
        Some(Command::Completions { shell }) => {
            // Into memory first: the library panics where a pipe is closed.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "kdistro-verify", &mut script);
            write_text(&String::from_utf8_lossy(&script)).map(|()| Answer::Yes)
        }
    };
    result
        .unwrap_or_else(|message| {
            // When even this cannot be written, the exit code still says it.
            let _ = if cli.json {
                write_json(&failure(message))
            } else {
                writeln!(io::stderr(), "error: {}", printable(&message)).map_err(|e| e.to_string())
            };
            Answer::CouldNotTell
        })
        .into()
}

/// Tells how the program is used; help and version are asked for.
fn not_understood(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    // When even this cannot be written, the exit code still says it.
    if error.use_stderr() && asks_for_json(arguments) {
        let _ = write_json(&Failure::of_usage(&error.render().to_string(), UNKNOWN));
    } else {
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(UNKNOWN))
}

fn failure(error: String) -> Failure {
    Failure { error, causes: Vec::new(), help: Vec::new(), exit: UNKNOWN }
}

fn verify(cli: &Cli) -> Result<Answer, String> {
    let Release { key, trusted_root, revoked_from, store, manifest, .. } = &cli.release;
    let (Some(key), Some(manifest)) = (key, manifest) else {
        return Err("--key and a manifest are needed; see --help".to_owned());
    };
    let text = fs::read_to_string(key).map_err(|error| said(&key.display(), &error))?;
    let key = PublicKey::from_pem(&text).map_err(|error| said(&key.display(), &error))?;
    let read =
        |path: &std::path::PathBuf| fs::read(path).map_err(|error| said(&path.display(), &error));
    let trusted_root = trusted_root.as_ref().map(read).transpose()?;
    let source = TrustSource::new(key, trusted_root, *revoked_from);
    let source = source.map_err(|error| said(&"--revoked-from", &error))?;
    let proxy = proxy();
    let (reader, name) = store::locate(manifest, store.as_deref(), proxy.as_deref())
        .map_err(|error| error.to_string())?;
    let given = match store {
        Some(_) => store::read_given(manifest, &name, proxy.as_deref())
            .map_err(|error| error.to_string())?,
        None => None,
    };
    let mut report = check::check(&*reader, &name, &source, cli.release.scope());
    if let Some(read) = given {
        report = report.with_given(manifest, &read);
    }
    if cli.json {
        write_json(&report)?;
    } else if cli.quiet {
        let text = report.to_string();
        write_line(&text.lines().last().unwrap_or_default())?;
    } else {
        write_text(&report)?;
    }
    Ok(match report.outcome.exit_code() {
        0 => Answer::Yes,
        1 => Answer::No,
        _ => Answer::CouldNotTell,
    })
}

fn compare_paths(cli: &Cli, a: &Path, b: &Path) -> Result<Answer, String> {
    let compared = if a.is_dir() && b.is_dir() {
        compare::compare_folders(a, b).map_err(|error| error.to_string())?
    } else {
        let verdict = compare::compare_files(a, b);
        let verdict =
            verdict.map_err(|error| format!("{} or {}: {error}", a.display(), b.display()))?;
        vec![Compared { path: a.display().to_string(), verdict, note: None }]
    };
    if cli.json {
        write_json(&compared)?;
    } else if !cli.quiet {
        for file in &compared {
            let note = file.note.map(|note| format!(", {note}")).unwrap_or_default();
            write_line(&format!("{}: {}{note}", printable(&file.path), file.verdict))?;
        }
    }
    let differs = compared.iter().any(|file| file.verdict == Verdict::Different);
    Ok(if differs { Answer::No } else { Answer::Yes })
}

fn explain_paths(cli: &Cli, a: &Path, b: &Path) -> Result<Answer, String> {
    let difference = explain::first_difference(a, b);
    let difference =
        difference.map_err(|error| format!("{} or {}: {error}", a.display(), b.display()))?;
    if cli.json {
        write_json(&difference)?;
    } else if !cli.quiet {
        write_line(&difference.as_deref().unwrap_or("same"))?;
    }
    Ok(if difference.is_some() { Answer::No } else { Answer::Yes })
}

/// An error with what it is about and what caused it.
fn said(about: &dyn Display, error: &dyn std::error::Error) -> String {
    format!("{about}: {}", check::chain(error))
}

#[expect(clippy::disallowed_methods, reason = "only main.rs reads the environment")]
fn proxy() -> Option<String> {
    let read = |name| env::var(name).ok().filter(|value| !value.is_empty());
    read("HTTPS_PROXY").or_else(|| read("https_proxy"))
}

fn write_json<T: serde::Serialize>(value: &T) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    write_line(&printable_json(&text))
}

fn write_line(text: &dyn Display) -> Result<(), String> {
    write_text(&format!("{text}\n"))
}

/// Writes to standard output: who asked for a report and gets none must not be told yes.
fn write_text(text: &dyn Display) -> Result<(), String> {
    let mut out = io::stdout();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        // Who closes a pipe has read enough; it changes no verdict.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write the result: {error}"))
        }
        _ => Ok(()),
    }
}
