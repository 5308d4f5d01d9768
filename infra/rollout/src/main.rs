//! `kdistro-rollout`: shows and steers what happens to a subscriber's cluster.
//!
//! Exit codes: 0 done; 1 nothing is known of the release, it failed and the one before runs again, or something is forged;
//! 2 could not.

mod cli;
mod commands;

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory, Parser};
use jiff::Timestamp;
use kdistro_devcluster::told;
use kdistro_formats::{
    ReleaseName,
    terminal::{printable, printable_json, printable_lines},
};
use kdistro_rollout::{
    decide::Decision,
    history::{Change, Direction, Event, Held, History, What},
    listen::Listening,
    once::{Looked, Once, OnceError},
    policy::Subscriber,
    receive::Heard,
    roll::Outcome,
};
use serde::Serialize;
use serde_json::json;

use cli::{Cli, Command};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            let refused = match error.downcast_ref::<OnceError>() {
                Some(OnceError::Refused(refused)) => refused.outcome().exit_code(),
                _ => commands::inspect::exit_code(&*error),
            };
            // When even this cannot be written, the exit code still says it.
            let _ = writeln!(io::stderr(), "error: {}", told(&*error));
            ExitCode::from(refused)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    if let Command::Completions { shell } = &cli.command {
        // Into memory first: the library panics where a pipe is closed.
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut Cli::command(), "kdistro-rollout", &mut script);
        io::stdout().write_all(&script)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Inspect(inspect) = &cli.command {
        return commands::inspect::run(cli, inspect);
    }
    fs::create_dir_all(&cli.state).map_err(|error| format!("{}: {error}", cli.state.display()))?;
    if let Command::Run { config } = &cli.command {
        return run_on(cli, config);
    }
    let history = open(cli)?;
    match &cli.command {
        Command::Once { config } => {
            return look(cli, &history, (&subscriber(config)?, &[])).map(|looked| code(&looked));
        }
        Command::Approve { release } => return approve(&history, release),
        Command::Status => status(cli, &history)?,
        Command::History => list(cli, &history.events()?)?,
        Command::Why { release } => return why(cli, &history, release),
        Command::Hold { release: None, reason } => history.pause(Some(reason))?,
        Command::Hold { release: Some(release), reason } => hold(&history, release, reason)?,
        Command::Resume { release: None } => history.pause(None)?,
        Command::Resume { release: Some(release) } => return resume(&history, release),
        Command::Run { .. } | Command::Inspect(_) | Command::Completions { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn subscriber(config: &Path) -> Result<Subscriber, Failure> {
    let bytes = fs::read(config).map_err(|error| format!("{}: {error}", config.display()))?;
    Ok(Subscriber::read(config, &bytes)?)
}

/// Looks once, and says what came of it; `heard` is the reason, where there is one.
fn look(
    cli: &Cli,
    history: &History,
    (subscriber, heard): (&Subscriber, &[Heard]),
) -> Result<Looked, Failure> {
    let mut say = |event: &Event| {
        let Event { at, release, what, text } = event;
        // Progress that cannot be shown hinders nothing.
        let _ = writeln!(io::stderr(), "{at}  {release}  {what}: {}", printable(text));
    };
    let mut once = Once {
        subscriber,
        history,
        now: &now,
        say: &mut say,
        proxy: proxy(),
        heard: heard.iter().map(|heard| (heard.number, heard.severity)).collect(),
    };
    let looked = once.run()?;
    let (outcome, release, why) = match &looked {
        Looked::Rolled(name, Outcome::Kept) => {
            ("kept", Some(name.to_string()), format!("{name} runs"))
        }
        Looked::Rolled(name, Outcome::RolledBack(why)) => {
            let text = format!("{name} failed and is held, the release before runs again: {why}");
            ("rolled-back", Some(name.to_string()), text)
        }
        Looked::Decided(decision) => ("decided", None, decision.why().to_owned()),
    };
    if cli.json {
        print_json(&json!({"outcome": outcome, "release": release, "why": why}))?;
    } else {
        print(&format!("{why}\n"))?;
    }
    Ok(looked)
}

fn code(looked: &Looked) -> ExitCode {
    match looked {
        Looked::Rolled(_, Outcome::RolledBack(_)) | Looked::Decided(Decision::Alarm { .. }) => {
            ExitCode::from(1)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn open(cli: &Cli) -> Result<History, Failure> {
    Ok(History::open(&cli.state.join("history"))?)
}

/// Looks whenever something is heard, and as often as the subscriber's file says. What fails is said, and tried again at the
/// next look. Between looks the history is closed, so that others can ask it.
fn run_on(cli: &Cli, config: &Path) -> Result<ExitCode, Failure> {
    let subscriber = subscriber(config)?;
    let pause = subscriber.hear.poll.as_duration().unsigned_abs();
    let listening = Listening::start(&subscriber, proxy().as_deref(), now)?;
    let mut say = |text: &str| {
        let _ = writeln!(io::stderr(), "note: {}", printable(text));
    };
    let mut heard = Vec::new();
    loop {
        let looked = open(cli).and_then(|history| look(cli, &history, (&subscriber, &heard)));
        if let Err(error) = looked {
            let _ = writeln!(io::stderr(), "error: {}", told(&*error));
        }
        heard = listening.wait(pause, &mut say);
    }
}

fn approve(history: &History, release: &ReleaseName) -> Result<ExitCode, Failure> {
    let seen = history.seen()?;
    let offered = seen.iter().flat_map(|seen| &seen.index.status.releases);
    let Some(found) = offered.clone().find(|one| one.number == release.number) else {
        let _ = writeln!(
            io::stderr(),
            "the channel did not offer release {release} when it was looked at last"
        );
        return Ok(ExitCode::from(1));
    };
    let text = format!("manifest {}", found.digest);
    let event = Event { at: now(), release: release.clone(), what: What::Approved, text };
    history.write(&event, &Change::Approve(found))?;
    Ok(ExitCode::SUCCESS)
}

fn status(cli: &Cli, history: &History) -> Result<(), Failure> {
    let (running, under_way) = (history.running()?, history.under_way()?);
    let held = history.held()?;
    if cli.json {
        return print_json(&json!({"running": running, "underWay": under_way, "held": held}));
    }
    let running = running.map_or("nothing yet".to_owned(), |target| target.name.to_string());
    let mut text = format!("runs       {running}\n");
    if let Some(under_way) = under_way {
        let (done, all) = (under_way.done, under_way.steps.len());
        let way = match under_way.direction {
            Direction::Forward => format!("{done} of {all} steps are done"),
            Direction::Back(why) => format!("going back, because {why}"),
        };
        let _ = writeln!(text, "under way  {}: {way}", under_way.to.name);
    }
    for held in held {
        let _ = writeln!(text, "held       {} since {}: {}", held.release, held.since, held.why);
    }
    print(&text)
}

fn list(cli: &Cli, events: &[Event]) -> Result<(), Failure> {
    if cli.json {
        return print_json(&events);
    }
    let mut text = String::new();
    for Event { at, release, what, text: said } in events {
        let what = what.to_string();
        let _ = writeln!(text, "{at}  {release:<10} {what:<12} {}", printable(said));
    }
    print(&text)
}

fn why(cli: &Cli, history: &History, release: &ReleaseName) -> Result<ExitCode, Failure> {
    let mut events = history.events()?;
    events.retain(|event| event.release == *release);
    if events.is_empty() {
        let _ = writeln!(io::stderr(), "nothing is known of release {release}");
        return Ok(ExitCode::from(1));
    }
    list(cli, &events)?;
    Ok(ExitCode::SUCCESS)
}

fn hold(history: &History, release: &ReleaseName, reason: &str) -> Result<(), Failure> {
    let (release, at) = (release.clone(), now());
    let held = Held { release: release.clone(), since: at, why: reason.to_owned() };
    let event = Event { at, release, what: What::Held, text: reason.to_owned() };
    Ok(history.write(&event, &Change::Hold(&held))?)
}

fn resume(history: &History, release: &ReleaseName) -> Result<ExitCode, Failure> {
    if !history.held()?.iter().any(|held| held.release == *release) {
        let _ = writeln!(io::stderr(), "release {release} is not held");
        return Ok(ExitCode::from(1));
    }
    let text = "it may be rolled out again".to_owned();
    let event = Event { at: now(), release: release.clone(), what: What::Released, text };
    history.write(&event, &Change::Release(release))?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::disallowed_methods, reason = "only main.rs reads the environment")]
fn proxy() -> Option<String> {
    let read = |name| env::var(name).ok().filter(|value| !value.is_empty());
    read("HTTPS_PROXY").or_else(|| read("https_proxy"))
}

/// The time; everything else is given it.
fn now() -> Timestamp {
    Timestamp::now()
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(io::stdout().write_all(printable_lines(text).as_bytes())?)
}

fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = printable_json(&serde_json::to_string_pretty(value)?);
    Ok(writeln!(io::stdout(), "{text}")?)
}
