//! The commands, a file each or a few that belong together, and what they share.

mod ask;
mod fleet;
mod inspect;
mod look;
mod page;
mod report;
mod steer;

use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::{self, Path},
    process::ExitCode,
};

use clap::CommandFactory;
use jiff::Timestamp;
use kdistro_formats::{
    failure,
    terminal::{printable_json, printable_lines},
};
use kdistro_rollout::{
    decide::Refused,
    history::{History, Standing},
    once::OnceError,
    policy::Subscriber,
};
use serde::Serialize;

use crate::{
    cli::{CONFIG, Cli, Command, Of},
    log::Log,
};

/// The folder of the history where nothing names another.
const STATE: &str = "/var/lib/kdistro-rollout";

/// The name of the history in it.
const HISTORY: &str = "history";

/// What a command that could not be done fails with.
pub(crate) type Failure = Box<dyn Error>;

/// The program as it was called, and the outside that only `main.rs` sees.
pub(crate) struct Program {
    /// The command line.
    pub(crate) cli: Cli,
    /// Tells the time.
    pub(crate) now: fn() -> Timestamp,
    /// A proxy for https.
    pub(crate) proxy: Option<String>,
}

impl Program {
    /// Does what was asked; what could not be done is said.
    pub(crate) fn run(&self) -> ExitCode {
        self.dispatch().unwrap_or_else(|error| {
            let failure = failure::Failure::of(&*error, exit_code(&*error));
            if self.cli.json {
                // When even this cannot be written, the exit code still says it.
                let _ = io::stdout().write_all(json(&failure).as_bytes());
            } else {
                self.log().error(&failure.told());
            }
            ExitCode::from(failure.exit)
        })
    }

    fn dispatch(&self) -> Result<ExitCode, Failure> {
        match &self.cli.command {
            Command::Once { config } => self.once(config),
            Command::Run { config } => self.run_on(config),
            Command::Approve { release, of } => self.approve(release, of),
            Command::Status(of) => self.status(of),
            Command::History(of) => self.list(of),
            Command::Why { release, of } => self.why(release, of),
            Command::Hold { release, reason, of } => self.hold(release.as_ref(), reason, of),
            Command::Resume { release, of } => self.resume(release.as_ref(), of),
            Command::Page { out, of } => self.page(out, of),
            Command::Report { config } => self.report(config),
            Command::Fleet(question) => self.fleet(question),
            Command::Inspect(wanted) => self.inspect(wanted),
            Command::Completions { shell } => completions(*shell),
        }
    }

    /// Who is told what happens meanwhile.
    fn log(&self) -> Log {
        Log { json: self.cli.log_json, cluster: None, now: self.now }
    }

    /// The folder of the history that was named, else that of a subscriber.
    fn state<'a>(&'a self, subscriber: Option<&'a Subscriber>) -> &'a Path {
        let given = self.cli.state.as_deref().or(subscriber.map(|it| it.state.as_path()));
        given.unwrap_or(Path::new(STATE))
    }

    /// Opens the history that was named, else that of a subscriber, and makes it where there is none. Where nobody named
    /// one, it must be there: what is said in a new one reaches no cluster.
    fn open(&self, subscriber: Option<&Subscriber>) -> Result<History, Failure> {
        let state = self.state(subscriber);
        let is_named = self.cli.state.is_some() || subscriber.is_some();
        if !is_named && !has_history(state)? {
            let help = "name the subscriber's file with --config, or the folder of the cluster's history with --state";
            return Err(format!("{}\nhelp:  {help}", without_history(state)).into());
        }
        Ok(History::open(&state.join(HISTORY))?)
    }

    /// The subscriber whose history a command is about: of the file that was named, else of the one that is here.
    fn subscriber_of(&self, of: &Of) -> Result<Option<Subscriber>, Failure> {
        let here = Path::new(CONFIG);
        match &of.config {
            Some(config) => subscriber(config).map(Some),
            None if self.cli.state.is_none() && here.is_file() => subscriber(here).map(Some),
            None => Ok(None),
        }
    }

    /// Opens the history that a command is about, as [`Program::open`] does.
    fn open_of(&self, of: &Of) -> Result<History, Failure> {
        self.open(self.subscriber_of(of)?.as_ref())
    }

    /// Opens the history, where there is one; else that is said.
    fn find(&self, of: &Of) -> Result<Option<History>, Failure> {
        let subscriber = self.subscriber_of(of)?;
        let state = self.state(subscriber.as_ref());
        if has_history(state)? {
            return Ok(Some(History::open(&state.join(HISTORY))?));
        }
        self.log().note(&format!("nothing happened yet: {}", without_history(state)));
        Ok(None)
    }

    /// How things stand, with at most so many of the last events.
    fn standing(&self, of: &Of, events: usize) -> Result<Standing, Failure> {
        let history = self.find(of)?;
        Ok(history.map_or_else(|| Ok(Standing::default()), |history| history.standing(events))?)
    }

    /// Writes a result: as JSON where that was asked for.
    fn print<T: Serialize>(&self, value: &T, text: &str) -> Result<(), Failure> {
        let text = if self.cli.json { json(value) } else { printable_lines(text) };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}

/// A document for another program.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    // None of ours has a map whose keys are no text, and nothing else fails.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    format!("{}\n", printable_json(&text))
}

fn has_history(state: &Path) -> Result<bool, Failure> {
    let file = state.join(HISTORY);
    fs::exists(&file).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn without_history(state: &Path) -> String {
    format!("there is no history in {}", state.display())
}

fn subscriber(config: &Path) -> Result<Subscriber, Failure> {
    let bytes = fs::read(config).map_err(|error| format!("{}: {error}", config.display()))?;
    // What it names is handed to programs that work elsewhere.
    Ok(Subscriber::read(&path::absolute(config)?, &bytes)?)
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    // Into memory first: the library panics where a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kdistro-rollout", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// The exit code of what could not be done: 1 where that is because something is forged.
fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    let refused = match error.downcast_ref::<OnceError>() {
        Some(OnceError::Cluster(error)) if error.is_forged() => return 1,
        Some(OnceError::Refused(refused)) => Some(refused),
        _ => error.downcast_ref::<Refused>(),
    };
    let code = refused.map(|refused| refused.outcome().exit_code());
    code.unwrap_or_else(|| inspect::exit_code(error))
}
