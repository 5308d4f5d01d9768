//! Starts programs: the one place in this crate where a process begins.
//!
//! A child sees a clean environment: the variables of [`Environment`], a fixed locale, and what the call names.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// What long operations call with one line about what they do now.
pub type Progress<'a> = &'a dyn Fn(&str);

/// Host variables that reach the programs; everything else is dropped.
///
/// Where the programs and their settings are, how the network is reached, and which module proxy is asked.
const PASSED: &[&str] = &[
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GOENV",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NETRC",
    "NO_PROXY",
    "PATH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// The locale and time zone of every child, so that messages can be read by programs.
const FIXED: &[(&str, &str)] = &[("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")];

/// The most of a failed program's messages that an error carries.
const LAST_LINES: usize = 12;

/// The variables that every program gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Keeps of the host's variables what the programs need: paths, proxies, certificates, the Go module proxy.
    pub fn of_host(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let passed = |name: &OsStr| PASSED.iter().any(|passed| name == *passed);
        Self(variables.into_iter().filter(|(name, _)| passed(name)).collect())
    }

    /// Sets one variable more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Returns the value of a variable.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }
}

/// A program that did not do what it was called for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program is not there, or may not be run.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Its input could not be written or its output not read.
    #[error("cannot exchange data with `{program}`")]
    Exchange {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with an error.
    #[error("`{program} {arguments}` ended with {}{}", ending(*.code), said(.messages))]
    Failed {
        /// The program.
        program: String,
        /// Its arguments, separated by spaces.
        arguments: String,
        /// The exit code; none after a signal.
        code: Option<i32>,
        /// The last lines of its error messages.
        messages: String,
    },
}

fn ending(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"))
}

fn said(messages: &str) -> String {
    if messages.is_empty() { String::new() } else { format!(", saying:\n{messages}") }
}

/// What a child reads.
pub(crate) enum Input<'a> {
    /// Nothing.
    Nothing,
    /// These bytes.
    Bytes(&'a [u8]),
    /// An open file, which stays open as long as the child lives.
    File(File),
    /// What is written to [`Running::input`].
    Pipe,
}

/// A program to start.
pub(crate) struct Call<'a> {
    pub program: &'a Path,
    /// Arguments before the others. They are the same in every call, so no error repeats them.
    pub settings: Vec<OsString>,
    pub arguments: Vec<OsString>,
    pub directory: Option<&'a Path>,
    pub environment: &'a Environment,
    pub variables: Vec<(&'static str, OsString)>,
    pub input: Input<'a>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(program: &'a Path, environment: &'a Environment) -> Self {
        Self {
            program,
            settings: Vec::new(),
            arguments: Vec::new(),
            directory: None,
            environment,
            variables: Vec::new(),
            input: Input::Nothing,
        }
    }

    /// Starts the program and reads all that it says. A failure is data here, for who expects one.
    pub(crate) fn try_run(self) -> Result<Output, CommandError> {
        let mut running = self.start()?;
        let mut stdout = Vec::new();
        let read = running.output()?.read_to_end(&mut stdout);
        read.map_err(|source| running.exchange(source))?;
        let mut output = running.wait()?;
        output.stdout = stdout;
        Ok(output)
    }

    /// Starts the program and reads all that it says; an exit code other than 0 is an error.
    pub(crate) fn run(self) -> Result<Output, CommandError> {
        self.try_run()?.checked()
    }

    /// Starts the program. Its messages go to a file, so that only one pipe has to be served at a time.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one function of this crate that starts processes"
    )]
    pub(crate) fn start(self) -> Result<Running, CommandError> {
        let program = self.program.display().to_string();
        let failed = |source| CommandError::Start { program: program.clone(), source };
        let messages = tempfile::tempfile().map_err(failed)?;
        let mut command = Command::new(self.program);
        command.args(&self.settings).args(&self.arguments).env_clear().envs(&self.environment.0);
        command.envs(FIXED.iter().copied());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(self.input.stdio().map_err(failed)?);
        command.stdout(Stdio::piped());
        command.stderr(messages.try_clone().map_err(failed)?);
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().map_err(failed)?;
        let arguments: Vec<_> = self.arguments.iter().map(|a| a.to_string_lossy()).collect();
        Ok(Running {
            program,
            arguments: arguments.join(" "),
            input: child.stdin.take(),
            output: child.stdout.take(),
            messages,
            child,
        })
    }
}

impl Input<'_> {
    fn stdio(self) -> io::Result<Stdio> {
        Ok(match self {
            Self::Nothing => Stdio::null(),
            Self::Bytes(bytes) => {
                let mut file = tempfile::tempfile()?;
                file.write_all(bytes)?;
                file.seek(SeekFrom::Start(0))?;
                file.into()
            }
            Self::File(file) => file.into(),
            Self::Pipe => Stdio::piped(),
        })
    }
}

/// A program under way; it is killed when this is dropped before it ended.
pub(crate) struct Running {
    program: String,
    arguments: String,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    messages: File,
    child: Child,
}

impl Running {
    /// Returns the pipe the child reads; there is one only with [`Input::Pipe`].
    pub(crate) fn input(&mut self) -> Result<&mut ChildStdin, CommandError> {
        self.input.as_mut().ok_or_else(|| no_pipe(&self.program))
    }

    /// Returns the pipe the child writes.
    pub(crate) fn output(&mut self) -> Result<&mut ChildStdout, CommandError> {
        self.output.as_mut().ok_or_else(|| no_pipe(&self.program))
    }

    /// Names the program in an error of its pipes.
    pub(crate) fn exchange(&self, source: io::Error) -> CommandError {
        CommandError::Exchange { program: self.program.clone(), source }
    }

    /// Closes the child's input and waits for its end.
    pub(crate) fn wait(mut self) -> Result<Output, CommandError> {
        drop(self.input.take());
        drop(self.output.take());
        let status = self.child.wait().map_err(|source| self.exchange(source))?;
        let mut messages = Vec::new();
        let read = self.messages.seek(SeekFrom::Start(0));
        read.and_then(|_| self.messages.read_to_end(&mut messages))
            .map_err(|source| self.exchange(source))?;
        Ok(Output {
            program: std::mem::take(&mut self.program),
            arguments: std::mem::take(&mut self.arguments),
            code: status.code(),
            stdout: Vec::new(),
            messages: String::from_utf8_lossy(&messages).into_owned(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the child has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn no_pipe(program: &str) -> CommandError {
    let source = io::Error::from(io::ErrorKind::BrokenPipe);
    CommandError::Exchange { program: program.to_owned(), source }
}

/// What a program left when it ended.
pub(crate) struct Output {
    program: String,
    arguments: String,
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub messages: String,
}

impl Output {
    /// Returns the output when the exit code is 0.
    pub(crate) fn checked(self) -> Result<Self, CommandError> {
        if self.code == Some(0) { Ok(self) } else { Err(self.failure()) }
    }

    /// Makes the error that names the call and its last messages.
    pub(crate) fn failure(self) -> CommandError {
        let lines: Vec<_> = self.messages.trim_end().lines().collect();
        let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
        CommandError::Failed {
            program: self.program,
            arguments: self.arguments,
            code: self.code,
            messages: last.join("\n"),
        }
    }

    /// Returns what was written to standard output as text without the last line end.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }
}

/// Finds a program in the folders of `PATH`, as it would be started.
pub(crate) fn find(program: &str, environment: &Environment) -> Option<PathBuf> {
    let folders = environment.value("PATH")?;
    std::env::split_paths(folders).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell<'a>(script: &str, environment: &'a Environment) -> Call<'a> {
        Call {
            arguments: vec!["-c".into(), script.into()],
            ..Call::new(Path::new("sh"), environment)
        }
    }

    fn host() -> Environment {
        Environment::default().with("PATH", "/usr/bin:/bin")
    }

    #[test]
    fn a_child_sees_only_the_named_variables() {
        let host = [("PATH", "/usr/bin:/bin"), ("SECRET", "1"), ("https_proxy", "p")];
        let host = Environment::of_host(host.map(|(name, value)| (name.into(), value.into())));
        let output = shell("env | cut -d= -f1 | grep -v -E '^(_|PWD|SHLVL|OLDPWD)$' | sort", &host);
        assert_eq!(output.run().unwrap().text(), "LANG\nLC_ALL\nPATH\nTZ\nhttps_proxy");
    }

    #[test]
    fn a_failure_names_the_call_the_code_and_the_last_messages() {
        let host = host();
        let Err(error) =
            shell("for i in $(seq 100); do echo line $i >&2; done; exit 3", &host).run()
        else {
            panic!("exit code 3 was taken for success")
        };
        let text = error.to_string();
        assert!(text.starts_with("`sh -c "), "{text}");
        assert!(text.contains("exit code 3, saying:\nline 89\n"), "{text}");
        assert!(text.ends_with("line 100"), "{text}");
        let missing = Call::new(Path::new("no-such-program"), &host).run();
        assert!(matches!(missing, Err(CommandError::Start { .. })));
    }

    #[test]
    fn settings_come_first_and_no_error_repeats_them() {
        let host = host();
        let call = || Call { settings: vec!["-f".into()], ..shell("echo *; exit 1", &host) };
        assert_eq!(call().try_run().unwrap().text(), "*", "-f leaves patterns as they are");
        let Err(error) = call().run() else { panic!("exit code 1 was taken for success") };
        assert!(error.to_string().starts_with("`sh -c echo *; exit 1` ended"), "{error}");
    }

    #[test]
    fn a_child_reads_what_it_is_given_and_ends_when_it_is_dropped() {
        let host = host();
        let call = Call { input: Input::Bytes(b"abc"), ..Call::new(Path::new("cat"), &host) };
        assert_eq!(call.run().unwrap().stdout, b"abc");
        let started = std::time::Instant::now();
        drop(shell("exec sleep 60", &host).start().unwrap());
        assert!(started.elapsed().as_secs() < 30, "the child was waited for, not killed");
    }
}
