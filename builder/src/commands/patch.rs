//! `kdistro patch`: looks at patches, and makes working on them bearable.

use std::path::Path;

use kdistro_formats::{ChannelName, ProjectName, Tag};
use kdistro_source::{PatchState, Series, check_out, series, write_back};

use super::{Answer, Result, output::print, plan::configured};
use crate::{
    cli::PatchCommand,
    config::{Workspace, channel::Component},
    context::Context,
    cut,
    fetch::Mirrored,
};

pub(super) fn run(context: &Context, command: &PatchCommand) -> Result {
    match command {
        PatchCommand::Status { channel } => status(context, channel),
        PatchCommand::New { project, tag, into } | PatchCommand::Edit { project, tag, into } => {
            open(context, (project, tag), into)
        }
        PatchCommand::Refresh { project, tag, from } => {
            refresh(context, (project, tag), from.as_deref())
        }
    }
}

fn status(context: &Context, channel: &ChannelName) -> Result {
    let workspace = context.workspace()?;
    let (mut conflicts, mut any) = (false, false);
    for component in &configured(&workspace, channel)?.components {
        let series = series_of(&workspace, component);
        if series.patches.is_empty() {
            continue;
        }
        any = true;
        let mirrored = mirror(context, &workspace, component)?;
        let states = series::status(&mirrored.mirror, &mirrored.revision.commit, &series)?;
        context.reporter.clear();
        for state in states {
            let text = match state.state {
                PatchState::Applies => "applies".to_owned(),
                PatchState::Drifted { lines } => format!("applies, drifted by {lines} lines"),
                PatchState::AlreadyUpstream => "already upstream: drop it".to_owned(),
                PatchState::Conflicts { file, hunk } => {
                    conflicts = true;
                    let hunk = hunk.map(|hunk| format!(", hunk {hunk}")).unwrap_or_default();
                    format!("conflicts in {file}{hunk}")
                }
            };
            print(format!("{} {} {}: {text}", component.project, component.tag, state.patch))?;
        }
    }
    if !any {
        print(format!("channel {channel} has no patches"))?;
    }
    Ok(if conflicts { Answer::No } else { Answer::Yes })
}

fn open(context: &Context, name: (&ProjectName, &Tag), into: &Path) -> Result {
    let workspace = context.workspace()?;
    let component = component(&workspace, name)?;
    let series = series_of(&workspace, component);
    let mirrored = mirror(context, &workspace, component)?;
    let done = check_out(&mirrored.mirror, &mirrored.revision.commit, &series, into)?;
    context.reporter.clear();
    let (project, tag) = name;
    print(format!("{} patches are commits in {}", done.applied, into.display()))?;
    if let Some(patch) = &done.stopped_at {
        print(format!("{patch} does not apply: resolve it, then `git am --continue`"))?;
    }
    print(
        "each commit's message ends with: `Upstream: <url>` or `Upstream: not submitted, because …`;",
    )?;
    print("where true also `Fixes: CVE-…` and `Drop-when: <tag>`")?;
    print(format!("then: kdistro patch refresh {project} {tag} --from {}", into.display()))?;
    Ok(if done.stopped_at.is_some() { Answer::No } else { Answer::Yes })
}

fn refresh(context: &Context, name: (&ProjectName, &Tag), from: Option<&Path>) -> Result {
    let workspace = context.workspace()?;
    let component = component(&workspace, name)?;
    let mirrored = mirror(context, &workspace, component)?;
    let base = &mirrored.revision.commit;
    let (project, tag) = name;
    let patches = context.top()?.join(format!("patches/{project}/{tag}"));
    let scratch = context.home.scratch("patch")?;
    let tree = if let Some(folder) = from {
        folder.to_owned()
    } else {
        let folder = scratch.path().join("tree");
        let done = check_out(&mirrored.mirror, base, &series_of(&workspace, component), &folder)?;
        if let Some(patch) = done.stopped_at {
            return Err(format!(
                "{patch} does not apply\nhelp:  rebase it with `kdistro patch edit {project} {tag}`"
            )
            .into());
        }
        folder
    };
    let written = write_back(&tree, base, &patches, &context.environment)?;
    context.reporter.clear();
    for patch in &written.patches {
        print(format!("patches/{project}/{tag}/{}", patch.name))?;
    }
    Ok(Answer::Yes)
}

fn series_of(workspace: &Workspace, component: &Component) -> Series {
    let folder = workspace.patch_folder(&component.project, component.tag.as_str());
    folder.map_or(Series { patches: Vec::new() }, |folder| folder.series.clone())
}

/// The component of whichever channel ships this project at this tag.
fn component<'a>(
    workspace: &'a Workspace,
    (project, tag): (&ProjectName, &Tag),
) -> Result<&'a Component> {
    let mut all = workspace.channels.values().flat_map(|channel| &channel.components);
    let found = all.find(|component| component.project == *project && component.tag == *tag);
    found.ok_or_else(|| format!("no channel ships {project} at {tag}").into())
}

fn mirror(context: &Context, workspace: &Workspace, component: &Component) -> Result<Mirrored> {
    let fetcher = cut::fetcher(context, workspace);
    let sources = workspace.locks.values().filter_map(|lock| lock.source(&component.project));
    let mut same = sources.filter(|source| source.tag == component.tag);
    Ok(fetcher.mirror(component, same.next(), false)?)
}
