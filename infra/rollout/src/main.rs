//! `kdistro-rollout`: shows and steers what happens to a subscriber's cluster.
//!
//! Exit codes: 0 done, 1 nothing is known of the release, 2 could not.

mod cli;

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};
use jiff::Timestamp;
use kdistro_formats::{
    ReleaseName,
    terminal::{printable, printable_json, printable_lines},
};
use kdistro_rollout::history::{Change, Direction, Event, Held, History, What};
use kdistro_verify::check::chain;
use serde::Serialize;
use serde_json::json;

use cli::{Cli, Command};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            // When even this cannot be written, the exit code still says it.
            let _ = writeln!(io::stderr(), "error: {}", printable_lines(&chain(&*error)));
            ExitCode::from(2)
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
    fs::create_dir_all(&cli.state).map_err(|error| format!("{}: {error}", cli.state.display()))?;
    let history = History::open(&cli.state.join("history"))?;
    match &cli.command {
        Command::Status => status(cli, &history)?,
        Command::History => list(cli, &history.events()?)?,
        Command::Why { release } => return why(cli, &history, release),
        Command::Hold { release, reason } => hold(&history, release, reason)?,
        Command::Resume { release } => return resume(&history, release),
        Command::Completions { .. } => {}
    }
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
