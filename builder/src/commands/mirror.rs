//! `kdistro mirror`: mirrors the sources of channels.

use std::collections::BTreeMap;

use kdistro_formats::ChannelName;
use serde_json::json;

use super::{
    Answer, Result,
    channels::{self, Said},
    output::print,
};
use crate::{context::Context, cut};

pub(super) fn run(context: &Context, wanted: &[ChannelName], refresh: bool) -> Result {
    channels::each(context, wanted, |channel| mirror(context, channel, refresh))
}

fn mirror(context: &Context, channel: &ChannelName, refresh: bool) -> Result<Said> {
    let workspace = context.workspace()?;
    let configured = super::plan::configured(&workspace, channel)?;
    let fetcher = cut::fetcher(context, &workspace);
    let lock = workspace.locks.get(channel);
    let mut commits = BTreeMap::new();
    for component in &configured.components {
        let locked = lock.and_then(|lock| lock.source(&component.project));
        let mirrored = fetcher.mirror(component, locked, refresh)?;
        context.reporter.clear();
        let (project, tag, commit) = (&component.project, &component.tag, mirrored.revision.commit);
        if !context.json {
            print(format!("{project} {tag} {commit}"))?;
        }
        commits.insert(format!("{project} {tag}"), commit);
    }
    let summary = format!("{} sources are mirrored", commits.len());
    Ok(Said { answer: Answer::Yes, summary, json: json!(commits) })
}
