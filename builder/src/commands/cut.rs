//! `kdistro cut` and `kdistro build`.

use kdistro_formats::{ChannelName, CommitId, ReleaseName, layout};
use serde_json::{Value, json};

use super::{
    Answer, Result,
    channels::{self, Said},
    output::say,
    plan::{configured, selection},
};
use crate::{
    cli::Part,
    context::Context,
    cut::{self, Order, Outcome, Stage},
    place, time,
};

pub(super) fn run(
    context: &Context,
    wanted: &[ChannelName],
    part: &Part,
    (until, date): (Stage, Option<&str>),
) -> Result {
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
        };
        let outcome = cut::cut(context, &order)?;
        context.reporter.clear();
        outcome_of(context, channel, &outcome)
    })
}

pub(super) fn build(context: &Context, wanted: &[ChannelName], part: &Part) -> Result {
    run(context, wanted, part, (Stage::Build, None))
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
        Outcome::Unchanged(name) => (
            format!("nothing changed: release {name} has this plan already"),
            json!({
                "outcome": "unchanged", "channel": channel, "release": name.to_string(),
                "manifest": manifest(name),
            }),
        ),
        Outcome::Released { name, digest, repeated } => {
            let again = if *repeated { " (announced before)" } else { "" };
            let json = json!({
                "outcome": "released", "channel": channel, "release": name.to_string(),
                "digest": digest, "manifest": manifest(name),
            });
            (format!("released {name}{again}"), json)
        }
    };
    say(context, &summary)?;
    if let Outcome::Released { name, digest, .. } = outcome {
        say(context, format!("manifest {}\ndigest   {digest}", manifest(name)))?;
    }
    Ok(Said { answer: Answer::Yes, summary, json })
}
