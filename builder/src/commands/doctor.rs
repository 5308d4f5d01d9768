//! `kdistro doctor`: what this machine can and cannot do, and how to fix it.

use kdistro_container::{Fact, State};
use kdistro_source::tools;
use serde::Serialize;

use super::{
    Answer, Result,
    output::{print, print_json},
};
use crate::context::Context;

#[derive(Serialize)]
struct Shown {
    name: String,
    state: &'static str,
    explanation: String,
    fix: Option<String>,
}

pub(super) fn run(context: &Context, probe: bool) -> Result {
    let facts = facts(context)?;
    let missing = facts.iter().any(|fact| fact.state == State::Missing);
    if context.json {
        let shown = facts.into_iter().map(|fact| Shown {
            name: fact.name,
            state: word(fact.state),
            explanation: fact.explanation,
            fix: fact.fix,
        });
        print_json(&shown.collect::<Vec<_>>())?;
    } else {
        show(&facts)?;
    }
    let held = if probe { run_probe(context)? } else { true };
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

pub(super) fn show(facts: &[Fact]) -> Result<()> {
    for fact in facts {
        print(format!("{:9} {:22} {}", word(fact.state), fact.name, fact.explanation))?;
        if let Some(fix) = &fact.fix {
            print(format!("{:9} {:22} help: {fix}", "", ""))?;
        }
    }
    Ok(())
}

/// Runs the hostile probe in the container; true when everything it tried was refused.
fn run_probe(context: &Context) -> Result<bool> {
    let scratch = context.home.scratch("probe")?;
    context.reporter.progress("running the probe");
    let results = kdistro_container::probe(scratch.path())?;
    context.reporter.clear();
    for result in &results {
        let word = if result.refused { "refused" } else { "ALLOWED" };
        print(format!("{word:9} {:40} {}", result.attempt, result.how))?;
    }
    Ok(results.iter().all(|result| result.refused))
}
