//! Asks credential helpers: the programs `docker-credential-…` that keep passwords for registries.
//!
//! Source: docker/docker-credential-helpers, README.md, "Development": `get` reads a server's address from its standard
//! input and writes a JSON object to its standard output. What it writes is a secret, or may hold one: no error shows it.

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::Read,
    os::fd::AsFd,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use serde::Deserialize;

use crate::command::{Call, CommandError, Environment, Input, Running};

/// What a helper prints when it has no credential for a server.
///
/// Source: docker/docker-credential-helpers, `credentials/error.go`, `errCredentialsNotFoundMessage`.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// How long a helper may take: some ask a service, or a person for a password.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a helper knows about a server.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Helped {
    /// The user; `<token>` when the secret is an identity token.
    pub username: String,
    /// The password or token.
    pub secret: String,
}

impl fmt::Debug for Helped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helped").finish_non_exhaustive()
    }
}

/// A helper that gave no answer. What it writes can hold secrets, so all that is said is how to see it.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// It could not be run.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It ended with an error.
    #[error("it ended with {}\nhelp:  `echo {server} | {program} get` shows what it says", ending(*.code))]
    Failed {
        /// The program.
        program: String,
        /// The server that it was asked for.
        server: String,
        /// The exit code; none after a signal.
        code: Option<i32>,
    },
    /// It does not come to an end.
    #[error(
        "it gave no answer within {} seconds and was stopped\nhelp:  `echo {server} | {program} get` shows what it waits for", patience.as_secs()
    )]
    Slow {
        /// The program.
        program: String,
        /// The server that it was asked for.
        server: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It answered something else than it should.
    #[error(
        "its answer is not a JSON object with `Username` and `Secret` (line {line} column {column})"
    )]
    Answer {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
}

fn ending(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"))
}

/// Passes on all variables: a helper is the user's own program, and needs what he set for it (`AWS_PROFILE`,
/// `DBUS_SESSION_BUS_ADDRESS`, `GNUPGHOME`).
pub fn whole(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    variables.into_iter().fold(Environment::default(), |environment, (name, value)| {
        match name.to_str() {
            Some(name) => environment.with(name, value),
            None => environment,
        }
    })
}

/// Asks a helper such as `docker-credential-ecr-login` for what it knows about a server.
pub fn ask(
    program: &str,
    server: &str,
    environment: &Environment,
) -> Result<Option<Helped>, HelperError> {
    ask_within(PATIENCE, (program, server), environment)
}

fn ask_within(
    patience: Duration,
    (program, server): (&str, &str),
    environment: &Environment,
) -> Result<Option<Helped>, HelperError> {
    let call = Call {
        arguments: vec!["get".into()],
        input: Input::Bytes(server.as_bytes()),
        ..Call::new(Path::new(program), environment)
    };
    let (program, server) = (program.to_owned(), server.to_owned());
    let mut running = call.start()?;
    let Some(stdout) = read_within(patience, &mut running)? else {
        // Dropped, and with that killed.
        return Err(HelperError::Slow { program, server, patience });
    };
    let code = running.wait()?.code;
    if code != Some(0) {
        if String::from_utf8_lossy(&stdout).trim() == NOT_FOUND {
            return Ok(None);
        }
        return Err(HelperError::Failed { program, server, code });
    }
    read(&stdout)
}

/// Reads all that a program writes, or nothing where that takes too long.
fn read_within(patience: Duration, running: &mut Running) -> Result<Option<Vec<u8>>, CommandError> {
    let output = running.output()?.as_fd().try_clone_to_owned();
    let mut output = File::from(output.map_err(|source| running.exchange(source))?);
    let (done, waiting) = mpsc::channel();
    // Ends with the program at the latest, or with what that left behind holding its output.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.read_to_end(&mut bytes).map(|_| bytes);
        // Nobody waits any more for one that took too long.
        let _ = done.send(read);
    });
    match waiting.recv_timeout(patience) {
        Ok(read) => read.map(Some).map_err(|source| running.exchange(source)),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
    }
}

/// Reads what a helper printed.
pub fn read(answer: &[u8]) -> Result<Option<Helped>, HelperError> {
    // The reader's own words may quote what it read.
    let helped: Helped = serde_json::from_slice(answer)
        .map_err(|error| HelperError::Answer { line: error.line(), column: error.column() })?;
    let is_empty = helped.username.is_empty() && helped.secret.is_empty();
    Ok(Some(helped).filter(|_| !is_empty))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Runs a helper whose body is a shell script; returns what it came to.
    fn helper(script: &str) -> Result<Option<Helped>, HelperError> {
        helper_within(PATIENCE, script)
    }

    fn helper_within(patience: Duration, script: &str) -> Result<Option<Helped>, HelperError> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker-credential-test");
        // Written by a child: what this process had open for writing while another test starts one could not be run.
        let host = Environment::default().with("PATH", "/usr/bin:/bin");
        let text = format!("#!/bin/sh\n{script}\n");
        let write = Call {
            arguments: vec!["-c".into(), r#"cat > "$0"; chmod 755 "$0""#.into(), program.into()],
            input: Input::Bytes(text.as_bytes()),
            ..Call::new(Path::new("sh"), &host)
        };
        write.run().unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let variables = [("PATH", path.as_str()), ("OWN_SETTING", "kept")];
        let environment =
            whole(variables.map(|(name, value)| (OsString::from(name), OsString::from(value))));
        ask_within(patience, ("docker-credential-test", "registry.example:5000"), &environment)
    }

    #[test]
    fn a_helper_that_waits_for_ever_is_stopped_and_how_to_see_it_is_said() {
        let started = Instant::now();
        let patience = Duration::from_secs(1);
        let slow = helper_within(patience, "echo planted-secret >&2; exec sleep 60").unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(30), "it was waited for to its end");
        assert_eq!(
            slow.to_string(),
            "it gave no answer within 1 seconds and was stopped\nhelp:  `echo registry.example:5000 | docker-credential-test get` shows what it waits for"
        );
        let failed = helper("exit 3").unwrap_err().to_string();
        let help =
            "\nhelp:  `echo registry.example:5000 | docker-credential-test get` shows what it says";
        assert!(failed.ends_with(help), "{failed}");
    }

    #[test]
    fn a_helper_gets_the_server_and_its_own_settings() {
        let script = r#"[ "$1" = get ] || exit 9
            printf '{"ServerURL":"%s","Username":"%s","Secret":"s\\"x"}' "$(cat)" "$OWN_SETTING""#;
        let helped = helper(script).unwrap().unwrap();
        assert_eq!((helped.username.as_str(), helped.secret.as_str()), ("kept", "s\"x"));
        assert_eq!(format!("{helped:?}"), "Helped { .. }");
    }

    #[test]
    fn a_helper_may_know_nothing() {
        assert_eq!(helper(&format!("echo '{NOT_FOUND}'; exit 1")).unwrap(), None);
        assert_eq!(helper(r#"echo '{"ServerURL":"","Username":"","Secret":""}'"#).unwrap(), None);
    }

    #[test]
    fn nothing_that_a_helper_prints_is_shown() {
        for (script, expected) in [
            ("echo planted-secret; echo planted-secret >&2; exit 3", "exit code 3"),
            ("echo planted-secret; kill -9 $$", "a signal"),
            ("echo planted-secret", "line 1 column 1"),
            (r#"echo '{"Username":"u","Secret":["planted-secret"]}'"#, "`Secret`"),
            (r#"echo '{"Username":"planted-secret"}'"#, "`Secret`"),
        ] {
            let error = helper(script).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("planted-secret"), "{shown}");
            assert!(shown.contains(expected), "{shown}");
        }
        let missing = ask("docker-credential-nowhere", "x", &Environment::default()).unwrap_err();
        assert_eq!(missing.to_string(), "cannot start `docker-credential-nowhere`");
    }
}
