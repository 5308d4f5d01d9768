//! `testbed`: starts servers, runs a command with their addresses in its environment, and ends them.
//!
//! Exit codes: the command's own; 128 and the number of a signal that ended the command or was sent to this program;
//! 2 when the servers or the command could not be started. Without a command 0 after Ctrl-C.

use std::{
    env,
    error::Error,
    ffi::{OsStr, OsString},
    fmt::Write as _,
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, process::ExitStatusExt},
    },
    path::Path,
    process::{Command, ExitCode, ExitStatus},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use kdistro_testbed::{Server, Testbed, tool};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

const USAGE: &str = "\
usage: testbed [--with SERVER,…] [COMMAND…]

Starts servers on free ports of this machine, runs COMMAND with their addresses in its environment, and ends them.
Without COMMAND it prints the environment for a shell and stays until Ctrl-C. COMMAND finds Amazon's own `aws` in its PATH.

  --with SERVER,…  what to start: aws, moto, registry, plain-registry, git [default: aws,registry,git]

What they do not do:
  aws              `aws sqs` of version 1 asks Amazon's servers instead: give it --endpoint-url $AWS_ENDPOINT_URL
  aws              infra/aws/account.yaml is refused: there is no AWS::IAM::OIDCProvider
  aws, registries  no referrers API, which `ecr` and `immutable: true` of an environment need: use `oci` without

Exit codes: the command's own, 128 + n after signal n, 2 when something could not be started.
";

/// What is started when nothing is said.
const DEFAULT: [Server; 3] = [Server::Aws, Server::Registry, Server::Git];

/// How long a command may take to end by itself: after Ctrl-C, which reaches it too, and after being told.
const AFTER_INTERRUPT: Duration = Duration::from_secs(2);
const AFTER_TERMINATION: Duration = Duration::from_secs(5);

type Failure = Box<dyn Error + Send + Sync>;

/// What somebody asked for.
struct Arguments {
    servers: Vec<Server>,
    command: Vec<OsString>,
}

/// What happens while the servers run.
enum Event {
    /// This program got a signal.
    Signal(i32),
    /// The command ended.
    Ended(io::Result<ExitStatus>),
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "--help" || word == "-h") {
        return match io::stdout().write_all(USAGE.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        };
    }
    match parse(arguments).map_err(Failure::from).and_then(|arguments| run(&arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => complain(&*error),
    }
}

fn complain(error: &(dyn Error + 'static)) -> ExitCode {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    // Nobody is left to hear when even this fails.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(2)
}

fn parse(arguments: Vec<OsString>) -> Result<Arguments, String> {
    let mut words = arguments.into_iter().peekable();
    let mut servers = DEFAULT.to_vec();
    while let Some(word) = words.next_if(|word| word.as_bytes().starts_with(b"-")) {
        let list = match word.to_str() {
            Some("--") => break,
            Some("--with") => words.next(),
            Some(word) => word.strip_prefix("--with=").map(OsString::from),
            None => None,
        };
        let list = list.ok_or_else(|| format!("what is `{}`?\n\n{USAGE}", word.display()))?;
        servers =
            list.as_bytes().split(|byte| *byte == b',').map(server).collect::<Result<_, _>>()?;
    }
    Ok(Arguments { servers, command: words.collect() })
}

fn server(name: &[u8]) -> Result<Server, String> {
    let found = Server::ALL.into_iter().find(|server| server.name().as_bytes() == name);
    found.ok_or_else(|| {
        let name = OsStr::from_bytes(name).display();
        let known = Server::ALL.map(Server::name).join(", ");
        format!("`{name}` is not a server; expected one of {known}")
    })
}

fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let bed = Testbed::start(&arguments.servers)?;
    // Not before: a signal while it starts ends this program, and that ends the servers.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (sender, events) = mpsc::channel();
    let signalled = sender.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            // Once nobody listens, the program ends.
            let _ = signalled.send(Event::Signal(signal));
        }
    });
    let Some((program, words)) = arguments.command.split_first() else {
        io::stdout().write_all(exports(&bed).as_bytes())?;
        return Ok(match events.recv()? {
            Event::Signal(SIGINT) | Event::Ended(_) => 0,
            Event::Signal(signal) => after(signal),
        });
    };
    let command = start(&bed, program, words, sender)?;
    attend(&command, &events)
}

/// The variables of this program's own environment that would lead a command to somebody's real account.
fn foreign() -> impl Iterator<Item = OsString> {
    env::vars_os().map(|(name, _)| name).filter(|name| name.as_bytes().starts_with(b"AWS_"))
}

/// Where programs are looked for: first among those that were made for the servers.
#[expect(clippy::disallowed_methods, reason = "only main.rs reads the environment")]
fn path() -> Result<OsString, Failure> {
    let own = tool("aws")?.parent().map(Path::to_owned);
    let others = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(own.into_iter().chain(env::split_paths(&others)))?)
}

/// The environment as lines for a shell.
fn exports(bed: &Testbed) -> String {
    let mut text = String::new();
    for name in foreign() {
        let _ = writeln!(text, "unset {}", name.display());
    }
    for (name, value) in bed.environment() {
        let _ = writeln!(text, "export {name}='{}'", value.replace('\'', "'\\''"));
    }
    text
}

/// Starts the command; says when it has ended. Returns what it is signalled by.
#[expect(clippy::disallowed_methods, reason = "running a command is what this program is for")]
fn start(
    bed: &Testbed,
    program: &OsStr,
    words: &[OsString],
    sender: Sender<Event>,
) -> Result<OwnedFd, Failure> {
    // It dies with this thread, which is the program's first.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(words);
    foreign().for_each(|name| {
        command.env_remove(name);
    });
    let mut child = command.env("PATH", path()?).envs(bed.environment()).spawn()?;
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    thread::spawn(move || {
        let ended = child.wait();
        let _ = sender.send(Event::Ended(ended));
    });
    Ok(process)
}

/// Waits for the end of the command, and brings it about after a signal.
fn attend(command: &OwnedFd, events: &Receiver<Event>) -> Result<u8, Failure> {
    let signal = match events.recv()? {
        Event::Ended(status) => return Ok(code(status?)),
        Event::Signal(signal) => signal,
    };
    // Whoever presses Ctrl-C sends it to the command, too.
    let first = if signal == SIGINT { AFTER_INTERRUPT } else { Duration::ZERO };
    let steps = [(first, Signal::TERM), (AFTER_TERMINATION, Signal::KILL)];
    for (patience, next) in steps {
        if !is_over(events, patience)? {
            // It may have ended just now.
            let _ = pidfd_send_signal(command, next);
            continue;
        }
        return Ok(after(signal));
    }
    while !is_over(events, AFTER_TERMINATION)? {}
    Ok(after(signal))
}

/// Waits for the end of the command, but not for long, nor after one more signal.
fn is_over(events: &Receiver<Event>, patience: Duration) -> Result<bool, Failure> {
    match events.recv_timeout(patience) {
        Ok(Event::Ended(status)) => status.map(|_| true).map_err(Failure::from),
        Ok(Event::Signal(_)) | Err(RecvTimeoutError::Timeout) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or_else(|| after(status.signal().unwrap_or_default()))
}

/// The exit code after a signal, as shells have it.
fn after(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}
