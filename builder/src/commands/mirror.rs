//! `kdistro mirror`: mirrors the sources of channels.

use kdistro_formats::ChannelName;
use serde_json::json;

use super::{
    Answer, Result,
    channels::{self, Said},
    output::{count, say},
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
    let mut sources = Vec::new();
    for component in &configured.components {
        let locked = lock.and_then(|lock| lock.source(&component.project));
        let mirrored = fetcher.mirror(component, locked, refresh)?;
        context.reporter.clear();
        let (project, tag, commit) = (&component.project, &component.tag, mirrored.revision.commit);
        say(context, format!("{project} {tag} {commit}"))?;
        sources.push(json!({"project": project, "tag": tag, "commit": commit}));
    }
    let summary = format!("mirrored {}", count(sources.len(), "source"));
    let json = json!({"channel": channel, "sources": sources});
    Ok(Said { answer: Answer::Yes, summary, json })
}
