//! `kdistro doctor`: what this machine can and cannot do, and how to fix it.

use kdistro_container::{Fact, State};
use kdistro_source::tools;
use serde::Serialize;

use super::{
    Answer, Result,
    output::{column, print_json, row},
};
use crate::context::Context;

/// A fact, as `--json` shows it.
#[derive(Serialize)]
pub(super) struct Shown {
    name: String,
    state: &'static str,
    explanation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// What the probe tried, as `--json` shows it.
#[derive(Serialize)]
struct Tried {
    attempt: String,
    refused: bool,
    how: String,
}

#[derive(Serialize)]
struct Found {
    facts: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<Vec<Tried>>,
}

pub(super) fn run(context: &Context, probe: bool) -> Result {
    let facts = facts(context)?;
    let missing = facts.iter().any(|fact| fact.state == State::Missing);
    show(context, &facts)?;
    let probe = if probe { Some(run_probe(context)?) } else { None };
    let held = probe.iter().flatten().all(|attempt| attempt.refused);
    if context.json {
        print_json(&Found { facts: shown(facts), probe })?;
    }
    Ok(if missing || !held { Answer::No } else { Answer::Yes })
}

/// Everything that is known about this machine.
pub(super) fn facts(context: &Context) -> Result<Vec<Fact>> {
    let mut facts = kdistro_container::host_report(context.home.scratch("doctor")?.path());
    for tool in tools(&context.environment) {
        let (state, explanation, fix) = match (&tool.file, &tool.version) {
            (Some(file), Some(version)) => {
                (State::Ok, format!("{version} at {}", file.display()), None)
            }
            (Some(file), None) => {
                (State::Missing, format!("{} does not run", file.display()), None)
            }
            (None, _) => {
                let package = if tool.name == "go" { "golang-go" } else { tool.name };
                let fix = format!("install it, on Debian with `apt-get install {package}`");
                (State::Missing, format!("not found; needed for {}", tool.needed_for), Some(fix))
            }
        };
        facts.push(Fact { name: tool.name.to_owned(), state, explanation, fix });
    }
    facts.push(archives(context));
    Ok(facts)
}

/// Whether the host's package archives have the suite that the build roots come from.
fn archives(context: &Context) -> Fact {
    let name = "Debian archives".to_owned();
    let Ok(workspace) = context.workspace() else {
        let explanation =
            "not looked at: not inside a build repository that `kdistro check` accepts".to_owned();
        return Fact { name, state: State::Degraded, explanation, fix: None };
    };
    let debian = &workspace.inputs.debian;
    let settings = kdistro_source::AptSettings {
        environment: context.environment.clone(),
        suite: debian.suite.clone(),
        keys: debian.keys.clone(),
        sources: context.apt_sources.clone(),
        state: context.home.path().join("apt"),
    };
    match kdistro_source::Apt::open(settings) {
        Ok(apt) if apt.accepts_expired() => {
            let explanation = format!(
                "suite {} with a known key; this host's apt accepts indexes that have expired",
                debian.suite
            );
            let fix = "remove Acquire::Check-Valid-Until and Check-Date from apt's settings where the archive is not a frozen copy";
            Fact { name, state: State::Degraded, explanation, fix: Some(fix.to_owned()) }
        }
        Ok(_) => {
            let explanation = format!("suite {} with a known key", debian.suite);
            Fact { name, state: State::Ok, explanation, fix: None }
        }
        Err(error) => {
            let fix =
                format!("name a .sources file that has suite {}: --apt-sources FILE", debian.suite);
            Fact { name, state: State::Missing, explanation: error.to_string(), fix: Some(fix) }
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Degraded => "degraded",
        State::Missing => "missing",
    }
}

/// Facts as `--json` shows them.
pub(super) fn shown(facts: Vec<Fact>) -> Vec<Shown> {
    let shown = facts.into_iter().map(|fact| Shown {
        name: fact.name,
        state: word(fact.state),
        explanation: fact.explanation,
        help: fact.fix,
    });
    shown.collect()
}

pub(super) fn show(context: &Context, facts: &[Fact]) -> Result<()> {
    let names = column(facts.iter().map(|fact| fact.name.as_str()), 22);
    for fact in facts {
        row(context, &[(word(fact.state), 9), (&fact.name, names)], &fact.explanation)?;
        if let Some(fix) = &fact.fix {
            row(context, &[("", 9), ("", names)], &format!("help: {fix}"))?;
        }
    }
    Ok(())
}

/// Runs the hostile probe in the container.
fn run_probe(context: &Context) -> Result<Vec<Tried>> {
    let scratch = context.home.scratch("probe")?;
    context.reporter.progress("running the probe");
    let results = kdistro_container::probe(scratch.path())?;
    context.reporter.clear();
    let names = column(results.iter().map(|result| result.attempt.as_str()), 40);
    for result in &results {
        let word = if result.refused { "refused" } else { "ALLOWED" };
        row(context, &[(word, 9), (&result.attempt, names)], &result.how)?;
    }
    let attempts = results.into_iter().map(|result| Tried {
        attempt: result.attempt,
        refused: result.refused,
        how: result.how,
    });
    Ok(attempts.collect())
}
