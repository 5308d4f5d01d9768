//! The commands, a file each: they read the command line, call the library and say what came out.

mod abandon;
mod attest;
mod channels;
mod check;
mod cut;
mod diff;
mod doctor;
mod find;
mod hint;
mod image;
mod key;
mod lock;
mod mirror;
mod new_project;
mod output;
mod patch;
mod plan;
mod promote;
mod quickstart;
mod rebuild;
mod status;
mod yank;

use std::{error::Error, ffi::OsString, path::Path, process::ExitCode};

use clap::{CommandFactory, Parser};
use kdistro_formats::failure::{Failure, asks_for_json};
use kdistro_verify::check::Outcome;
use serde_json::json;

use self::output::{in_environment, print, print_json, tell};
use crate::{
    cli::{Cli, Command, LOCAL, NewCommand},
    config::environment::{FOLDER, is_name},
    content::ContentStore,
    context::{Context, ContextError, Surroundings},
    home::{Home, HomeError, Lock},
    report::Reporter,
};

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, verified, same: exit code 0.
    Yes,
    /// Differs, forged, a named problem found: exit code 1.
    No,
    /// Could not tell: exit code 2, as for every error.
    Unknown,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Verified => Self::Yes,
            Outcome::Differs => Self::No,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// The result of a command; any error is exit code 2.
type Result<T = Answer> = std::result::Result<T, Box<dyn Error>>;

/// The exit code of every error.
const COULD_NOT: u8 = 2;

/// Reads the command line. Help and version are printed, and are an exit code, as is what is not understood.
pub fn parse(arguments: &[OsString]) -> std::result::Result<Cli, ExitCode> {
    Cli::try_parse_from(arguments).map_err(|error| {
        if !error.use_stderr() || !asks_for_json(arguments) {
            // When even this cannot be written, the exit code still says it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(COULD_NOT));
        }
        tell(&Failure::of_usage(&error.render().to_string(), COULD_NOT), true);
        ExitCode::from(COULD_NOT)
    })
}

/// Runs the command that the command line names.
pub fn run(cli: &Cli, surroundings: Surroundings) -> ExitCode {
    let result = named(cli).and_then(|()| {
        let context = context(cli, surroundings)?;
        let result = dispatch(cli, &context);
        context.reporter.clear();
        result
    });
    match result {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Ok(Answer::Unknown) => ExitCode::from(COULD_NOT),
        Err(error) => {
            let failure = Failure::of(error.as_ref(), COULD_NOT);
            tell(&in_environment(failure, environment(cli)), cli.global.json);
            ExitCode::from(COULD_NOT)
        }
    }
}

/// The environment that is written to, or looked at.
fn environment(cli: &Cli) -> &str {
    match &cli.command {
        Command::Promote(arguments) => &arguments.to,
        command => command.environment().unwrap_or(LOCAL),
    }
}

/// Refuses names of environments that are none, before anything is looked for under them.
fn named(cli: &Cli) -> Result<()> {
    let from = match &cli.command {
        Command::Promote(arguments) => Some(arguments.from.as_str()),
        _ => None,
    };
    match from.into_iter().chain([environment(cli)]).find(|name| !is_name(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "`{}` is not the name of an environment; expected letters, digits, `-`, `_` and `.`\nhelp:  name a file of {FOLDER} without its `.yaml`",
            name.escape_debug()
        )
        .into()),
    }
}

fn context(cli: &Cli, surroundings: Surroundings) -> std::result::Result<Context, ContextError> {
    let global = &cli.global;
    let root = global.home.as_deref().unwrap_or(&surroundings.default_home);
    let (home, in_use) = open_home(root, cli.command.only_reads())?;
    let variables = surroundings.variables.clone();
    Ok(Context {
        content: ContentStore::new(home.content()),
        in_use,
        home,
        reporter: Reporter::new(global.json, global.quiet, surroundings.columns),
        environment: kdistro_source::Environment::of_host(variables),
        surroundings,
        environment_name: cli.command.environment().unwrap_or(LOCAL).to_owned(),
        apt_sources: cli.command.apt_sources().cloned(),
        json: global.json,
    })
}

/// Opens the home folder; for who only reads it may be missing, or be somebody else's.
fn open_home(
    root: &Path,
    only_reads: bool,
) -> std::result::Result<(Home, Option<Lock>), HomeError> {
    if !only_reads {
        let home = Home::open(root)?;
        let lock = home.enter()?;
        return Ok((home, Some(lock)));
    }
    let entered = || Home::open(root).and_then(|home| home.enter().map(|lock| (home, lock)));
    match root.is_dir().then(entered) {
        Some(Ok((home, lock))) => Ok((home, Some(lock))),
        _ => Ok((Home::to_read(root), None)),
    }
}

fn dispatch(cli: &Cli, context: &Context) -> Result {
    match &cli.command {
        Command::Quickstart { fast, channel, .. } => {
            quickstart::run(context, *fast, channel.as_ref())
        }
        Command::Doctor { probe, .. } => doctor::run(context, *probe),
        Command::Check => check::run(context),
        Command::Status { channels, upstream, .. } => status::run(context, channels, *upstream),
        Command::New(NewCommand::Project { url, tag, name }) => {
            new_project::run(context, url, tag, name.as_deref())
        }
        Command::Mirror { channels, refresh, .. } => mirror::run(context, channels, *refresh),
        Command::Patch(command) => patch::run(context, command),
        Command::Lock { channels, check, refresh, partial, .. } => lock::run(
            context,
            channels,
            lock::Options { check: *check, refresh: *refresh, partial: *partial },
        ),
        Command::Plan { channels, from, part } => match from {
            Some(manifest) => plan::from_release(context, manifest),
            None => plan::run(context, channels, part),
        },
        Command::Build { channels, part, .. } => cut::build(context, channels, part),
        Command::Cut { channels, part, until, date, gate, .. } => {
            cut::run(context, channels, part, (*until, date.as_deref(), *gate))
        }
        Command::Abandon(which) => abandon::run(context, &which.release, &which.reason),
        Command::Yank(which) => yank::run(context, &which.release, &which.reason),
        Command::Attest(arguments) => attest::run(context, arguments),
        Command::Promote(arguments) => promote::run(context, arguments),
        Command::Rebuild(arguments) => rebuild::run(context, arguments),
        Command::Diff { from, to, markdown, .. } => diff::run(context, (from, to), *markdown),
        Command::Image(command) => image::run(context, command),
        Command::Key(command) => key::run(context, command),
        Command::Completions { shell } => completions(context, *shell),
    }
}

fn completions(context: &Context, shell: clap_complete::Shell) -> Result {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kdistro", &mut bytes);
    let script = String::from_utf8_lossy(&bytes);
    if context.json {
        print_json(&json!({"shell": shell.to_string(), "script": script}))?;
    } else {
        print(script.trim_end())?;
    }
    Ok(Answer::Yes)
}
