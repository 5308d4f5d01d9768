//! The commands, a file each: they read the command line, call the library and say what came out.

mod abandon;
mod channels;
mod check;
mod cut;
mod diff;
mod doctor;
mod image;
mod key;
mod lock;
mod mirror;
mod new_project;
mod output;
mod patch;
mod plan;
mod quickstart;
mod rebuild;
mod status;

use std::{error::Error, process::ExitCode};

use clap::CommandFactory;

use self::output::{print, print_error};
use crate::{
    cli::{Cli, Command, NewCommand},
    content::ContentStore,
    context::{Context, ContextError, Surroundings},
    home::Home,
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

/// The result of a command; any error is exit code 2.
type Result<T = Answer> = std::result::Result<T, Box<dyn Error>>;

/// Runs the command that the command line names.
pub fn run(cli: &Cli, surroundings: Surroundings) -> ExitCode {
    let result = context(cli, surroundings).map_err(Into::into).and_then(|context| {
        let result = dispatch(cli, &context);
        context.reporter.clear();
        result
    });
    match result {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Ok(Answer::Unknown) => ExitCode::from(2),
        Err(error) => {
            print_error(error.as_ref());
            ExitCode::from(2)
        }
    }
}

fn context(cli: &Cli, surroundings: Surroundings) -> std::result::Result<Context, ContextError> {
    let global = &cli.global;
    let home = Home::open(global.home.as_deref().unwrap_or(&surroundings.default_home))?;
    let variables = surroundings.variables.clone();
    Ok(Context {
        content: ContentStore::new(home.content()),
        in_use: home.enter()?,
        home,
        reporter: Reporter::new(global.json, global.quiet),
        environment: kdistro_source::Environment::of_host(variables),
        surroundings,
        environment_name: global.environment.clone(),
        apt_sources: global.apt_sources.clone(),
        json: global.json,
    })
}

fn dispatch(cli: &Cli, context: &Context) -> Result {
    match &cli.command {
        Command::Quickstart { fast, channel } => quickstart::run(context, *fast, channel.as_ref()),
        Command::Doctor { probe } => doctor::run(context, *probe),
        Command::Check => check::run(context),
        Command::Status { channels, upstream } => status::run(context, channels, *upstream),
        Command::New(NewCommand::Project { url, tag, name }) => {
            new_project::run(context, url, tag, name.as_deref())
        }
        Command::Mirror { channels, refresh } => mirror::run(context, channels, *refresh),
        Command::Patch(command) => patch::run(context, command),
        Command::Lock { channels, check, refresh, partial } => lock::run(
            context,
            channels,
            lock::Options { check: *check, refresh: *refresh, partial: *partial },
        ),
        Command::Plan { channels, from, part } => match from {
            Some(manifest) => plan::from_release(context, manifest),
            None => plan::run(context, channels, part),
        },
        Command::Build { channels, part } => cut::build(context, channels, part),
        Command::Cut { channels, part, until, date } => {
            cut::run(context, channels, part, (*until, date.as_deref()))
        }
        Command::Abandon { release, reason } => abandon::run(context, release, reason),
        Command::Rebuild(arguments) => rebuild::run(context, arguments),
        Command::Diff { from, to, markdown } => diff::run(context, (from, to), *markdown),
        Command::Image(command) => image::run(context, command),
        Command::Key(command) => key::run(context, command),
        Command::Completions { shell } => {
            let mut bytes = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "kdistro", &mut bytes);
            print(String::from_utf8_lossy(&bytes).trim_end())?;
            Ok(Answer::Yes)
        }
    }
}
