//! `kdistro cut` and `kdistro build`.

use std::collections::BTreeMap;

use kdistro_formats::{ChannelName, CommitId, layout};

use super::{
    Answer, Result,
    output::{print, print_json},
    plan::{configured, selection},
};
use crate::{
    cli::Part,
    context::Context,
    cut::{self, Order, Outcome, Stage},
    time,
};

pub(super) fn run(
    context: &Context,
    channel: &ChannelName,
    part: &Part,
    (until, date): (Stage, Option<&str>),
) -> Result {
    if let Some(date) = date.filter(|date| !time::is_rfc3339(date)) {
        return Err(format!("`{date}` is not a date such as 2026-11-21T10:00:00Z").into());
    }
    configured(&context.workspace()?, channel)?;
    let order = Order {
        channel: channel.clone(),
        selection: selection(part),
        until,
        date: date.map(str::to_owned),
        commit: commit(context)?,
    };
    let outcome = cut::cut(context, &order)?;
    context.reporter.clear();
    say(context, &outcome)?;
    Ok(Answer::Yes)
}

pub(super) fn build(context: &Context, channel: &ChannelName, part: &Part) -> Result {
    run(context, channel, part, (Stage::Build, None))
}

/// The build repository's commit, when its tree is clean.
pub(super) fn commit(context: &Context) -> Result<Option<CommitId>> {
    Ok(kdistro_source::checkout::clean_commit(&context.top()?, &context.environment)?)
}

fn say(context: &Context, outcome: &Outcome) -> Result<()> {
    let store = context.home.resolve(&context.target()?.store.directory);
    let mut facts = BTreeMap::new();
    let text = match outcome {
        Outcome::Until(stage) => {
            facts.insert("outcome", "until".to_owned());
            format!(
                "done until stage {}; nothing was published",
                format!("{stage:?}").to_lowercase()
            )
        }
        Outcome::Unchanged(name) => {
            facts.insert("outcome", "unchanged".to_owned());
            facts.insert("release", name.to_string());
            facts.insert("manifest", store.join(layout::manifest(name)).display().to_string());
            format!("nothing changed: release {name} has this plan already")
        }
        Outcome::Released { name, digest, repeated } => {
            let manifest = store.join(layout::manifest(name));
            facts.insert("outcome", "released".to_owned());
            facts.insert("release", name.to_string());
            facts.insert("digest", digest.to_string());
            facts.insert("manifest", manifest.display().to_string());
            let again = if *repeated { " (announced before)" } else { "" };
            format!("released {name}{again}\nmanifest {}\ndigest   {digest}", manifest.display())
        }
    };
    if context.json {
        return print_json(&facts);
    }
    Ok(print(text)?)
}
