//! `kdistro status`: each channel at a glance, and what its next release would bring.

mod upstream;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kdistro_border::Store;
use kdistro_formats::{
    ChannelName, ProjectName, ReleaseName, Tag, canonical, channel::ReleaseChannel, layout,
    plan::Plan, release::Release,
};
use serde::Serialize;

use self::upstream::{Behind, Upstreams};
use super::{
    Answer, Result, hint,
    output::{count, print_json, row, say},
    plan::{configured, steps},
};
use crate::{
    config::{Workspace, channel::Channel},
    context::Context,
    diff::{self, Difference, Facts, Partial, Style},
    place,
    plan::{self, Selection},
    publish::number,
    report::printable,
};

/// A channel at a glance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    channel: ChannelName,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    supported_until: Option<String>,
    latest_release: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    components: Vec<Shipped>,
    /// What the last release holds, where that is not the whole channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<Partial>,
    /// Releases that should not be used, with the reason.
    yanked: BTreeMap<String, String>,
    lock: Vec<String>,
    /// Releases that were begun and neither finished nor given up.
    unfinished: Vec<String>,
    /// The commands that finish them, in the same order.
    #[serde(skip)]
    finish: Vec<String>,
    next: Next,
    /// Only with `--upstream`, by project.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<BTreeMap<String, Behind>>,
}

/// A component of a channel.
#[derive(Serialize)]
struct Shipped {
    project: ProjectName,
    tag: Tag,
}

/// What the next release would bring.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
enum Next {
    /// There is no plan.
    Unknown { why: String },
    /// The last release has this very plan.
    Unchanged,
    /// There is something to release.
    #[serde(rename_all = "camelCase")]
    Changes {
        /// Against the last release, where there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        difference: Option<Box<Difference>>,
        /// Steps that the last release did not have, of which some may be cached.
        new_steps: usize,
        /// Steps of the whole plan.
        steps: usize,
        /// Steps that would have to run, by name.
        to_build: Vec<String>,
    },
}

pub(super) fn run(context: &Context, wanted: &[ChannelName], ask: bool) -> Result {
    let workspace = context.workspace()?;
    for channel in wanted {
        configured(&workspace, channel)?;
    }
    if !context.home.path().is_dir() {
        let home = context.home.path().display();
        context
            .reporter
            .note(format!("there is no folder {home}: nothing was ever built or released there"));
    }
    let store = place::open_store(context, &context.target()?)?;
    let mut upstreams = Upstreams::default();
    let mut lines = Vec::new();
    for (name, channel) in &workspace.channels {
        if !wanted.is_empty() && !wanted.contains(name) {
            continue;
        }
        let mut line = line(context, &workspace, channel, &store)?;
        if ask {
            line.upstream = Some(upstreams.behind(context, &workspace, channel));
        }
        lines.push(line);
    }
    context.reporter.clear();
    if context.json {
        print_json(&lines)?;
    } else {
        for line in &lines {
            show(context, line)?;
        }
    }
    let asked = lines.iter().filter_map(|line| line.upstream.as_ref());
    let silent = asked.flat_map(BTreeMap::values).any(|behind| behind.silent.is_some());
    Ok(if silent { Answer::Unknown } else { Answer::Yes })
}

fn line(
    context: &Context,
    workspace: &Workspace,
    channel: &Channel,
    store: &Arc<dyn Store>,
) -> Result<Line> {
    let name = &channel.channel;
    let index = store.read(&layout::channel_index(name))?;
    let index = index.map(|bytes| ReleaseChannel::from_yaml(&String::from_utf8_lossy(&bytes)));
    let index = index.transpose()?;
    let latest = index.as_ref().map_or(0, |index| index.status.latest_release);
    let latest_release = ReleaseName { channel: name.clone(), number: latest };
    let manifest = store.read(&layout::manifest(&latest_release))?;
    let manifest = manifest.map(|bytes| Release::from_yaml(&String::from_utf8_lossy(&bytes)));
    let components = channel.components.iter();
    let components = components.map(|c| Shipped { project: c.project.clone(), tag: c.tag.clone() });
    let yanked = index.iter().flat_map(|index| &index.status.yanked);
    let yanked = yanked.map(|yanked| {
        let release = ReleaseName { channel: name.clone(), number: yanked.number };
        (release.to_string(), yanked.reason.clone())
    });
    let unfinished = unfinished(store.as_ref(), name, index.as_ref())?;
    let finish = unfinished.iter().map(|release| Ok(finish(release, read_plan(store, release)?)));
    Ok(Line {
        channel: name.clone(),
        active: channel.active,
        supported_until: channel.supported_until.clone(),
        latest_release: latest,
        date: manifest.transpose()?.and_then(|manifest| manifest.status.date),
        components: components.collect(),
        partial: partial(store, &latest_release)?,
        yanked: yanked.collect(),
        lock: lock(workspace, name),
        finish: finish.collect::<Result<_>>()?,
        unfinished: unfinished.iter().map(ToString::to_string).collect(),
        next: next(context, workspace, &latest_release, store.as_ref())?,
        upstream: None,
    })
}

/// What a release holds, where its plan says that it is not the whole channel.
fn partial(store: &Arc<dyn Store>, release: &ReleaseName) -> Result<Option<Partial>> {
    // One that cannot be read is told of with the next release.
    let Some(plan) = read_plan(store, release)? else { return Ok(None) };
    let reader = place::reader(store.clone());
    Ok(diff::partial(reader.as_ref(), &release.to_string(), &plan)?)
}

/// The plan of a release, where there is one that can be read.
fn read_plan(store: &Arc<dyn Store>, release: &ReleaseName) -> Result<Option<Plan>> {
    let bytes = store.read(&layout::plan(release))?;
    Ok(bytes.and_then(|bytes| canonical::from_slice(&bytes).ok()))
}

/// The command that finishes a release: with the part of the channel that it was begun with.
fn finish(release: &ReleaseName, plan: Option<Plan>) -> String {
    let ReleaseName { channel, .. } = release;
    let Some(plan) = plan else {
        return format!("`kdistro cut {channel}` with the components that it was begun with");
    };
    if plan.whole {
        return format!("`kdistro cut {channel}`");
    }
    let components = plan.components.iter().map(|one| format!(" --component {}", one.project));
    let platforms = plan.platforms.iter().map(|platform| format!(" --platform {platform}"));
    format!("`kdistro cut {channel}{}`", components.chain(platforms).collect::<String>())
}

fn lock(workspace: &Workspace, channel: &ChannelName) -> Vec<String> {
    let mut lock = plan::stale(workspace, channel);
    let sources = workspace.locks.get(channel).into_iter().flat_map(|lock| &lock.sources);
    let partly = sources.filter(|source| source.content.is_none());
    let partly: Vec<_> = partly.map(|source| format!("`{}`", source.project)).collect();
    if !partly.is_empty() {
        let commits = if partly.len() == 1 { "commit" } else { "commits" };
        lock.push(format!("knows only the {commits} of {}", partly.join(" and ")));
    }
    lock
}

/// Lists the claims that the index knows nothing of.
fn unfinished(
    store: &dyn Store,
    channel: &ChannelName,
    index: Option<&ReleaseChannel>,
) -> Result<Vec<ReleaseName>> {
    let status = index.map(|index| &index.status);
    let released = status.into_iter().flat_map(|s| s.releases.iter().map(|r| r.number));
    let withheld = status.into_iter().flat_map(|s| s.withheld.iter().map(|w| w.number));
    let settled: BTreeSet<u32> = released.chain(withheld).collect();
    let claimed = number::claimed(store, channel)?;
    let open = claimed.into_iter().filter(|number| !settled.contains(number));
    Ok(open.map(|number| ReleaseName { channel: channel.clone(), number }).collect())
}

fn next(
    context: &Context,
    workspace: &Workspace,
    latest: &ReleaseName,
    store: &dyn Store,
) -> Result<Next> {
    let now = match plan::plan(workspace, &latest.channel, &Selection::default()) {
        Ok(plan) => plan,
        Err(error) => return Ok(Next::Unknown { why: one_line(&error) }),
    };
    let shown = steps(context, &now)?;
    let waiting = shown.iter().filter(|step| !step.cached);
    let to_build = waiting.map(|step| step.name.to_owned()).collect();
    let Some(bytes) = store.read(&layout::plan(latest))? else {
        let steps = shown.len();
        return Ok(Next::Changes { difference: None, new_steps: steps, steps, to_build });
    };
    if bytes == canonical::to_vec(&now)? {
        return Ok(Next::Unchanged);
    }
    let before: Plan = match canonical::from_slice(&bytes) {
        Ok(plan) => plan,
        Err(error) => {
            let why = format!("the plan of {latest} cannot be read: {}", one_line(&error));
            return Ok(Next::Unknown { why });
        }
    };
    let (from, to) = (Facts::of_plan(&latest.to_string(), &before), Facts::of_plan("next", &now));
    let new_steps = now.steps.iter().filter(|step| before.step(&step.key).is_none()).count();
    let difference = Some(diff::diff(&from, &to));
    Ok(Next::Changes {
        difference: difference.map(Box::new),
        new_steps,
        steps: shown.len(),
        to_build,
    })
}

/// The first line of an error with everything that led to it.
fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        texts.push(error.to_string().lines().next().unwrap_or_default().to_owned());
        next = error.source();
    }
    texts.join(": ")
}

fn show(context: &Context, line: &Line) -> Result<()> {
    let latest = match (line.latest_release, &line.date) {
        (0, _) => "no release yet".to_owned(),
        (number, None) => format!("last release {}-{number}", line.channel),
        (number, Some(date)) => format!("last release {}-{number} of {date}", line.channel),
    };
    let lock = if line.lock.is_empty() {
        "lock current".to_owned()
    } else {
        format!("the lock {}", line.lock.join("; "))
    };
    let active = if line.active { "" } else { ", not active" };
    let until = line.supported_until.iter().map(|day| format!(", supported until {day}"));
    let (name, until) = (line.channel.as_str(), until.collect::<String>());
    row(context, &[(name, 6)], &format!("{latest}, {lock}{active}{until}"))?;
    for Shipped { project, tag } in &line.components {
        say(context, format!("         {project} {tag}"))?;
    }
    if let Some(partial) = &line.partial {
        say(context, format!("       {partial}"))?;
    }
    for (release, reason) in &line.yanked {
        say(context, format!("       {release} was yanked: {}", printable(reason)))?;
    }
    for (release, finish) in line.unfinished.iter().zip(&line.finish) {
        let text = format!(
            "       {release} was begun and is not finished. Where no other run is at work on it, run {finish}, or give it up with `kdistro abandon {release} --reason …`"
        );
        say(context, hint::completed(&text, &context.environment_name))?;
    }
    show_next(context, &line.next)?;
    for (project, behind) in line.upstream.iter().flatten() {
        say(context, format!("       upstream {project}: {behind}"))?;
    }
    Ok(())
}

fn show_next(context: &Context, next: &Next) -> Result<()> {
    match next {
        Next::Unknown { why } => say(context, format!("       next: cannot tell: {why}"))?,
        Next::Unchanged => say(context, "       next: nothing would change")?,
        Next::Changes { difference, new_steps, steps, to_build } => {
            let are = if *new_steps == 1 { "is" } else { "are" };
            let (steps, waiting) = (count(*steps, "step"), to_build.len());
            say(
                context,
                format!("       next: {new_steps} of {steps} {are} new, {waiting} to build"),
            )?;
            for name in to_build {
                say(context, format!("         to build {name}"))?;
            }
            for line in difference.iter().flat_map(|difference| lines(difference)) {
                say(context, format!("         {line}"))?;
            }
        }
    }
    Ok(())
}

/// The difference without its heading.
fn lines(difference: &Difference) -> Vec<String> {
    if difference.is_empty() {
        return vec!["the same sources and assets, made in another way".to_owned()];
    }
    let text = diff::render(difference, Style::Plain);
    text.lines().skip(1).map(str::to_owned).collect()
}
