//! `kdistro lock`: pins the content of every input of a channel.

use kdistro_formats::ChannelName;
use serde_json::json;

use super::{
    Answer, Result,
    channels::{self, Said},
    output::say,
};
use crate::{
    config::{self, lock::Lock},
    context::Context,
    cut, locking,
};

/// How to lock.
#[derive(Clone, Copy)]
pub(super) struct Options {
    /// Write nothing; say whether anything differs.
    pub(super) check: bool,
    /// Ask upstream again.
    pub(super) refresh: bool,
    /// Where a source cannot be reached, lock its commit alone.
    pub(super) partial: bool,
}

pub(super) fn run(context: &Context, wanted: &[ChannelName], options: Options) -> Result {
    channels::each(context, wanted, |channel| lock(context, channel, options))
}

fn lock(context: &Context, channel: &ChannelName, options: Options) -> Result<Said> {
    let workspace = context.workspace()?;
    super::plan::configured(&workspace, channel)?;
    let _lock =
        context.home.lock(&format!("lock-{channel}"), format!("the lock of channel {channel}"))?;
    let fetcher = cut::fetcher(context, &workspace);
    let Options { check, refresh, partial } = options;
    // A check must see what upstream has now, and the lock must still hold.
    let new = locking::lock(&fetcher, channel, refresh, partial)?;
    context.reporter.clear();
    let old = workspace.locks.get(channel);
    let differences = differences(old, &new);
    let file = config::lock_file(channel);
    for difference in &differences {
        say(context, difference)?;
    }
    let (answer, summary, outcome) = if differences.is_empty() {
        (Answer::Yes, format!("{file} is current"), "current")
    } else if check {
        (Answer::No, format!("{file} is not current"), "not-current")
    } else {
        locking::write(&context.top()?.join(&file), &new)?;
        (Answer::Yes, format!("wrote {file}"), "written")
    };
    say(context, &summary)?;
    let json = json!({
        "outcome": outcome, "channel": channel, "file": file, "differences": differences,
    });
    Ok(Said { answer, summary, json })
}

/// Lists what a new lock changes, a line each.
fn differences(old: Option<&Lock>, new: &Lock) -> Vec<String> {
    let Some(old) = old else { return vec![format!("channel {} had no lock", new.channel)] };
    let mut found = Vec::new();
    for source in &new.sources {
        match old.source(&source.project) {
            Some(same) if same == source => {}
            Some(other) => {
                let change = match (&other.content, &source.content) {
                    (Some(a), Some(b)) if a.patched_tree != b.patched_tree => {
                        format!("tree {} -> {}", a.patched_tree, b.patched_tree)
                    }
                    (Some(a), Some(b)) if a.modules != b.modules => "other modules".to_owned(),
                    _ => format!(
                        "{} {} -> {} {}",
                        other.tag, other.commit, source.tag, source.commit
                    ),
                };
                found.push(format!("{}: {change}", source.project));
            }
            None => found.push(format!("{}: new, {}", source.project, source.tag)),
        }
    }
    let gone = old.sources.iter().filter(|source| new.source(&source.project).is_none());
    found.extend(gone.map(|source| format!("{}: no longer shipped", source.project)));
    for toolchain in new.toolchains.iter().filter(|t| !old.toolchains.contains(t)) {
        found.push(format!("Go {}: new", toolchain.version));
    }
    let gone = old.toolchains.iter().filter(|t| !new.toolchains.contains(t));
    found.extend(gone.map(|toolchain| format!("Go {}: no longer used", toolchain.version)));
    if old.roots != new.roots {
        found.push("build roots: other packages".to_owned());
    }
    if old.bases != new.bases {
        found.push("image bases: other packages".to_owned());
    }
    if found.is_empty() && old != new {
        found.push("the order of entries".to_owned());
    }
    found
}
