//! `kdistro plan`: every step, whether it is cached, and if not, which input changed.

use std::collections::BTreeMap;

use kdistro_formats::{
    ChannelName, Digest, canonical,
    plan::{Plan, Step, StepBody, Tree},
};
use kdistro_verify::hash;
use serde::Serialize;
use serde_json::json;

use super::{
    Answer, Result,
    channels::{self, Said},
    find,
    output::{column, count, print_json, row, say},
};
use crate::{
    build::StepRecord,
    cli::Part,
    config::{Workspace, channel::Channel},
    context::Context,
    plan::{self, PlanError, Selection},
    rebuild::Subjected,
};

/// Returns a channel's configuration, or says which there are.
pub(super) fn configured<'a>(
    workspace: &'a Workspace,
    channel: &ChannelName,
) -> std::result::Result<&'a Channel, PlanError> {
    let known =
        || workspace.channels.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    workspace.channels.get(channel).ok_or_else(|| PlanError::Channel(channel.clone(), known()))
}

/// Reads the part of a channel that the command line names.
pub(super) fn selection(part: &Part) -> Selection {
    Selection { projects: part.components.clone(), platforms: part.platforms.clone() }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    channel: &'a ChannelName,
    plan: Digest,
    /// What is wrong with the lock.
    lock: Vec<String>,
    steps: Vec<ShownStep<'a>>,
}

/// A step and whether it is cached.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownStep<'a> {
    pub(super) name: &'a str,
    key: Digest,
    pub(super) cached: bool,
    seconds: Option<f64>,
    pub(super) changed: Vec<String>,
}

pub(super) fn run(context: &Context, wanted: &[ChannelName], part: &Part) -> Result {
    channels::each(context, wanted, |channel| show(context, channel, part))
}

fn show(context: &Context, channel: &ChannelName, part: &Part) -> Result<Said> {
    let workspace = context.workspace()?;
    configured(&workspace, channel)?;
    let stale = plan::stale(&workspace, channel);
    for what in &stale {
        context.reporter.note(format!("the lock {what}: run `kdistro lock {channel}`"));
    }
    let answer = if stale.is_empty() { Answer::Yes } else { Answer::No };
    let plan = plan::plan(&workspace, channel, &selection(part))?;
    let steps = steps(context, &plan)?;
    let digest = hash::sha256(&canonical::to_vec(&plan)?);
    let (all, inputs) = (count(steps.len(), "step"), count(plan.inputs.len(), "input"));
    let left = steps.iter().filter(|step| !step.cached).count();
    let summary = format!("{all}, {left} to build; {inputs}; plan {digest}");
    let names = column(steps.iter().map(|step| step.name), 44);
    for step in &steps {
        let state = match (step.cached, step.seconds) {
            (true, Some(seconds)) => format!("cached (took {seconds:.1} s)"),
            (true, None) => "cached".to_owned(),
            (false, _) => format!("to build: {}", step.changed.join("; ")),
        };
        row(context, &[(step.name, names)], &state)?;
    }
    say(context, &summary)?;
    let json = serde_json::to_value(Shown { channel, plan: digest, lock: stale, steps })?;
    Ok(Said { answer, summary, json })
}

/// Looks up which steps of a plan are cached, and what changed in the others since the last build.
pub(super) fn steps<'a>(context: &Context, plan: &'a Plan) -> Result<Vec<ShownStep<'a>>> {
    let before = last(context, &plan.channel);
    let mut steps = Vec::new();
    for step in &plan.steps {
        let record = StepRecord::read(&context.home, &step.key)?.filter(|record| {
            record.outputs.values().all(|output| context.content.has(&output.digest))
        });
        let runs_here = step.platform.as_str() == context.surroundings.host.platform;
        let checked = record.as_ref().is_some_and(|r| r.checks == step.checks || !runs_here);
        let (cached, changed) = match (record.is_some(), checked) {
            (true, true) => (true, Vec::new()),
            (true, false) => (false, vec!["what its programs must print".to_owned()]),
            (false, _) => (false, changes(before.as_ref(), plan, step)),
        };
        let seconds = record.map(|record| record.seconds);
        steps.push(ShownStep { name: &step.name, key: step.key, cached, seconds, changed });
    }
    Ok(steps)
}

/// The plan that was built last on this machine.
fn last(context: &Context, channel: &ChannelName) -> Option<Plan> {
    let bytes = std::fs::read(context.home.last_plan(channel)).ok()?;
    canonical::from_slice(&bytes).ok()
}

/// Says what changed in a step since the last build.
fn changes(before: Option<&Plan>, plan: &Plan, step: &Step) -> Vec<String> {
    let Some(before) = before else { return vec!["never built here".to_owned()] };
    let Some(old) = before.steps.iter().find(|other| other.name == step.name) else {
        return vec!["new step".to_owned()];
    };
    if old.key == step.key {
        return vec!["its outputs are gone".to_owned()];
    }
    let mut found = differences(&old.body, &step.body);
    let trees = |plan: &Plan, body: &StepBody| -> BTreeMap<String, String> {
        let root = ("root file system".to_owned(), describe(plan, &body.root));
        let mounts = body.mounts.iter().map(|(path, tree)| (path.clone(), describe(plan, tree)));
        mounts.chain([root]).collect()
    };
    let (was, is) = (trees(before, &old.body), trees(plan, &step.body));
    for (path, tree) in &is {
        match was.get(path) {
            Some(other) if other == tree => {}
            Some(other) => found.push(format!("{path}: {other} -> {tree}")),
            None => found.push(format!("{path}: new, {tree}")),
        }
    }
    found
}

fn differences(old: &StepBody, new: &StepBody) -> Vec<String> {
    let mut found = Vec::new();
    let names: std::collections::BTreeSet<_> = old.env.keys().chain(new.env.keys()).collect();
    for name in names {
        if old.env.get(name) != new.env.get(name) {
            found.push(format!("environment variable {name}"));
        }
    }
    if old.argv != new.argv {
        found.push("arguments".to_owned());
    }
    if old.limits != new.limits {
        found.push("limits".to_owned());
    }
    if old.outputs != new.outputs {
        found.push("outputs".to_owned());
    }
    found
}

/// Names a tree by what it is made of, short enough to read.
fn describe(plan: &Plan, digest: &Digest) -> String {
    let short = |digest: &Digest| digest.hex().chars().take(12).collect::<String>();
    match plan.trees.get(digest) {
        Some(Tree::Source { archive, additions }) if additions.is_empty() => {
            format!("source {}", short(archive))
        }
        Some(Tree::Source { archive, .. }) => {
            format!("source {} with generated files", short(archive))
        }
        Some(Tree::Toolchain { zip }) => {
            let origin = plan.input(zip).map(|input| input.origin.as_str());
            origin.and_then(|origin| origin.rsplit('@').next()).unwrap_or("toolchain").to_owned()
        }
        Some(Tree::Modules { modules }) => {
            format!("{} {}", count(modules.len(), "module"), short(digest))
        }
        Some(Tree::Outputs { .. }) => format!("tools {}", short(digest)),
        Some(Tree::Root { packages, .. }) => {
            format!("root of {} {}", count(packages.len(), "package"), short(digest))
        }
        None => short(digest),
    }
}

/// Makes the plan of a published release again from the configuration that it published.
pub(super) fn from_release(context: &Context, manifest: &str) -> Result {
    let (reader, name) = find::manifest(context, manifest, None)?;
    let subject = Subjected::read(reader, &name, None)?;
    let workspace = subject.workspace()?;
    let digest = subject.replan(&workspace)?;
    let same = digest == subject.plan_digest;
    let verdict = if same { "same" } else { "different" };
    if context.json {
        print_json(&json!({
            "outcome": verdict, "release": subject.name.to_string(), "plan": subject.plan_digest,
            "made": digest,
        }))?;
    }
    say(context, format!("published plan {}", subject.plan_digest))?;
    say(context, format!("made again     {digest}"))?;
    say(context, verdict)?;
    Ok(if same { Answer::Yes } else { Answer::No })
}
