//! `kdistro mirror`: mirrors the sources of a channel.

use kdistro_formats::ChannelName;

use super::{Answer, Result, output::print};
use crate::{context::Context, cut};

pub(super) fn run(context: &Context, channel: &ChannelName, refresh: bool) -> Result {
    let workspace = context.workspace()?;
    let configured = super::plan::configured(&workspace, channel)?;
    let fetcher = cut::fetcher(context, &workspace);
    let lock = workspace.locks.get(channel);
    for component in &configured.components {
        let locked = lock.and_then(|lock| lock.source(&component.project));
        let mirrored = fetcher.mirror(component, locked, refresh)?;
        context.reporter.clear();
        let (project, tag) = (&component.project, &component.tag);
        print(format!("{project} {tag} {}", mirrored.revision.commit))?;
    }
    Ok(Answer::Yes)
}
