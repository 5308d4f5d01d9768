//! `kdistro cut` and `kdistro build`.

use kdistro_formats::{
    ChannelName, CommitId, ReleaseName, layout,
    statement::{TestResult, TestVerdict},
};
use serde_json::{Value, json};

use super::{
    Answer, Result,
    channels::{self, Said},
    output::{count, say},
    plan::{configured, selection},
};
use crate::{
    cli::Part,
    config::environment::Gate,
    context::Context,
    cut::{self, Order, Outcome, Stage},
    place, time,
};

pub(super) fn run(
    context: &Context,
    wanted: &[ChannelName],
    part: &Part,
    (until, date, gate): (Stage, Option<&str>, Option<Gate>),
) -> Result {
    if gate.is_some() && until < Stage::Publish {
        return Err("a gate is passed in stage `publish`, which --until leaves out".into());
    }
    if let Some(date) = date.filter(|date| !time::is_rfc3339(date)) {
        return Err(format!("`{date}` is not a date such as 2026-11-21T10:00:00Z").into());
    }
    let commit = commit(context)?;
    channels::each(context, wanted, |channel| {
        configured(&context.workspace()?, channel)?;
        let order = Order {
            channel: channel.clone(),
            selection: selection(part),
            until,
            date: date.map(str::to_owned),
            commit: commit.clone(),
            gate,
        };
        let outcome = cut::cut(context, &order)?;
        context.reporter.clear();
        outcome_of(context, channel, &outcome)
    })
}

pub(super) fn build(context: &Context, wanted: &[ChannelName], part: &Part) -> Result {
    run(context, wanted, part, (Stage::Build, None, None))
}

/// The build repository's commit, when its tree is clean.
pub(super) fn commit(context: &Context) -> Result<Option<CommitId>> {
    Ok(kdistro_source::checkout::clean_commit(&context.top()?, &context.environment)?)
}

/// Where a release can be read: in a folder of this machine, else at the distribution's public address.
fn address(context: &Context) -> Result<String> {
    let store = place::open_store(context, &context.target()?)?;
    match store.folder() {
        Some(_) => Ok(store.place()),
        None => Ok(context.workspace()?.distribution.url),
    }
}

fn outcome_of(context: &Context, channel: &ChannelName, outcome: &Outcome) -> Result<Said> {
    let address = address(context)?;
    let manifest = |name: &ReleaseName| format!("{address}/{}", layout::manifest(name));
    let (summary, json): (String, Value) = match outcome {
        Outcome::Until(stage) => {
            let stage = format!("{stage:?}").to_lowercase();
            let text = format!("done until stage {stage}; nothing was published");
            (text, json!({"outcome": "until", "channel": channel, "stage": stage}))
        }
        Outcome::Unchanged { name, tests } => {
            let json = json!({
                "outcome": "unchanged", "channel": channel, "release": name.to_string(),
                "manifest": manifest(name), "tests": tests,
            });
            (
                format!(
                    "nothing changed: release {name} has this plan already{}",
                    tried(tests.as_ref())
                ),
                json,
            )
        }
        Outcome::Released { name, digest, repeated, tests } => {
            let again = if *repeated { " (announced before)" } else { "" };
            let json = json!({
                "outcome": "released", "channel": channel, "release": name.to_string(),
                "digest": digest, "manifest": manifest(name), "tests": tests,
            });
            (format!("released {name}{again}{}", tried(tests.as_ref())), json)
        }
        Outcome::Withheld { name, tests } => (
            format!("withheld {name}: it failed at the gate: {}", tests.failed_tests.join(", ")),
            json!({
                "outcome": "withheld", "channel": channel, "release": name.to_string(),
                "manifest": manifest(name), "tests": tests,
            }),
        ),
    };
    say(context, &summary)?;
    if let Outcome::Released { name, digest, .. } = outcome {
        say(context, format!("manifest {}\ndigest   {digest}", manifest(name)))?;
    }
    Ok(Said { answer: answer(outcome), summary, json })
}

/// No, where a release failed at the gate: one that is offered all the same, too.
fn answer(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Withheld { .. } => Answer::No,
        Outcome::Unchanged { tests: Some(tests), .. } if tests.result == TestVerdict::Failed => {
            Answer::No
        }
        Outcome::Unchanged { .. } | Outcome::Released { .. } | Outcome::Until(_) => Answer::Yes,
    }
}

/// What tests came to, where they were run, in a few words.
fn tried(tests: Option<&TestResult>) -> String {
    let Some(tests) = tests else { return String::new() };
    let passed = count(tests.passed_tests.len(), "test");
    match tests.result {
        TestVerdict::Passed => format!(", {passed} passed at the gate"),
        TestVerdict::Warned => format!(", {passed} passed at the gate, without a node"),
        TestVerdict::Failed => {
            format!(", and failed at the gate: {}; yank it", tests.failed_tests.join(", "))
        }
    }
}
