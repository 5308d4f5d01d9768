//! `kdistro patch`: looks at patches, and makes working on them bearable.

use std::path::Path;

use kdistro_formats::{ChannelName, ProjectName, Tag};
use kdistro_source::{PatchState, PatchStatus, Series, check_out, series, write_back};
use serde::Serialize;
use serde_json::json;

use super::{
    Answer, Result,
    output::{print_json, say},
    plan::configured,
};
use crate::{
    cli::{PatchCommand, WorkArgs},
    config::{Workspace, channel::Component},
    context::Context,
    cut,
    fetch::Mirrored,
};

pub(super) fn run(context: &Context, command: &PatchCommand) -> Result {
    match command {
        PatchCommand::Status { channel, .. } => status(context, channel),
        PatchCommand::New(WorkArgs { project, tag, into, .. })
        | PatchCommand::Edit(WorkArgs { project, tag, into, .. }) => {
            open(context, (project, tag), into)
        }
        PatchCommand::Refresh { project, tag, from, .. } => {
            refresh(context, (project, tag), from.as_deref())
        }
    }
}

/// A patch, as `--json` shows it.
#[derive(Serialize)]
struct Shown<'a> {
    project: &'a ProjectName,
    tag: &'a Tag,
    patch: String,
    /// `applies`, `drifted`, `already-upstream` or `conflicts`.
    state: &'static str,
    /// By how many lines it drifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
    /// In which file it conflicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// At which hunk of that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    hunk: Option<usize>,
}

impl<'a> Shown<'a> {
    fn new(component: &'a Component, PatchStatus { patch, state }: PatchStatus) -> Self {
        let (state, lines, file, hunk) = match state {
            PatchState::Applies => ("applies", None, None, None),
            PatchState::Drifted { lines } => ("drifted", Some(lines), None, None),
            PatchState::AlreadyUpstream => ("already-upstream", None, None, None),
            PatchState::Conflicts { file, hunk } => ("conflicts", None, Some(file), hunk),
        };
        let (project, tag) = (&component.project, &component.tag);
        Self { project, tag, patch, state, lines, file, hunk }
    }

    fn text(&self) -> String {
        match (self.state, self.lines, &self.file) {
            (_, Some(1), _) => "applies, drifted by 1 line".to_owned(),
            (_, Some(lines), _) => format!("applies, drifted by {lines} lines"),
            (_, _, Some(file)) => {
                let hunk = self.hunk.map(|hunk| format!(", hunk {hunk}")).unwrap_or_default();
                format!("conflicts in {file}{hunk}")
            }
            ("already-upstream", ..) => "already upstream: drop it".to_owned(),
            (state, ..) => state.to_owned(),
        }
    }
}

fn status(context: &Context, channel: &ChannelName) -> Result {
    let workspace = context.workspace()?;
    let mut patches = Vec::new();
    for component in &configured(&workspace, channel)?.components {
        let series = series_of(&workspace, component);
        if series.patches.is_empty() {
            continue;
        }
        let mirrored = mirror(context, &workspace, component)?;
        let states = series::status(&mirrored.mirror, &mirrored.revision.commit, &series)?;
        context.reporter.clear();
        for state in states {
            let shown = Shown::new(component, state);
            let Shown { project, tag, patch, .. } = &shown;
            say(context, format!("{project} {tag} {patch}: {}", shown.text()))?;
            patches.push(shown);
        }
    }
    if context.json {
        print_json(&json!({"channel": channel, "patches": patches}))?;
    } else if patches.is_empty() {
        say(context, format!("channel {channel} has no patches"))?;
    }
    let conflicts = patches.iter().any(|patch| patch.state == "conflicts");
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
    if context.json {
        print_json(&json!({
            "project": project, "tag": tag, "into": into, "applied": done.applied,
            "stoppedAt": done.stopped_at,
        }))?;
    }
    let applied = match done.applied {
        1 => "1 patch is a commit".to_owned(),
        number => format!("{number} patches are commits"),
    };
    say(context, format!("{applied} in {}", into.display()))?;
    if let Some(patch) = &done.stopped_at {
        say(context, format!("{patch} does not apply: resolve it, then `git am --continue`"))?;
    }
    say(
        context,
        "each commit's message ends with: `Upstream: <url>` or `Upstream: not submitted, because …`;",
    )?;
    say(context, "where true also `Fixes: CVE-…`, `Severity: critical` and `Drop-when: <tag>`")?;
    say(context, format!("then: kdistro patch refresh {project} {tag} --from {}", into.display()))?;
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
    let name = |patch: &kdistro_source::Patch| format!("patches/{project}/{tag}/{}", patch.name);
    let files: Vec<_> = written.patches.iter().map(name).collect();
    if context.json {
        print_json(&json!({"project": project, "tag": tag, "files": files}))?;
    } else if files.is_empty() {
        say(context, format!("{project} {tag} has no patches now"))?;
    }
    for file in &files {
        say(context, file)?;
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

#[cfg(test)]
mod tests {
    use kdistro_formats::yaml;

    use super::*;

    #[test]
    fn the_state_of_a_patch_is_told_to_people_and_to_programs() {
        let component = "{project: a/b, tag: v1.0.0, go: \"1.26\"}";
        let component: Component = yaml::from_str(component).unwrap();
        let conflict = |hunk| PatchState::Conflicts { file: "f.go".to_owned(), hunk };
        for (state, word, text) in [
            (PatchState::Applies, "applies", "applies"),
            (PatchState::Drifted { lines: 1 }, "drifted", "applies, drifted by 1 line"),
            (PatchState::Drifted { lines: 2 }, "drifted", "applies, drifted by 2 lines"),
            (PatchState::AlreadyUpstream, "already-upstream", "already upstream: drop it"),
            (conflict(None), "conflicts", "conflicts in f.go"),
            (conflict(Some(2)), "conflicts", "conflicts in f.go, hunk 2"),
        ] {
            let shown = Shown::new(&component, PatchStatus { patch: "p".to_owned(), state });
            assert_eq!((shown.state, shown.text().as_str()), (word, text));
        }
        let patch = PatchStatus { patch: "p".to_owned(), state: conflict(Some(2)) };
        let json = json!(Shown::new(&component, patch));
        let expected = json!({"project": "a/b", "tag": "v1.0.0", "patch": "p", "state": "conflicts", "file": "f.go", "hunk": 2});
        assert_eq!(json, expected);
    }
}
