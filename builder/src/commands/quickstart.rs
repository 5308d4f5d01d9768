//! `kdistro quickstart`: the whole loop on one machine: cut, verify as a stranger, rebuild cold, compare.

use std::{fs, path::Path};

use kdistro_container::State;
use kdistro_formats::{ChannelName, Digest, Platform, ProjectName, ReleaseName, layout};
use kdistro_source::reaches;
use kdistro_verify::{check::Outcome, store};
use serde_json::json;

use super::{
    Answer, Result,
    cut::commit,
    doctor,
    output::{print_json, say},
    plan::configured,
};
use crate::{
    config::{Workspace, channel::Channel},
    context::Context,
    cut::{self, Order, Outcome as CutOutcome, Stage},
    place::{self, Place},
    plan::{self, Selection},
    rebuild::{self, Rebuilt, Subjected},
};

/// The channel of today, and the one that needs no git upstream.
const CHANNELS: (&str, &str) = ("1-36", "1-20");

/// The components of `--fast`, by project.
const FAST: &[&str] = &["etcd-io/etcd", "containernetworking/plugins"];

/// What is left out, by project: conformance tests take as long to compile as Kubernetes, and show nothing new here.
const LEFT_OUT: &[&str] = &["kubernetes/kubernetes-test"];

/// The component that is rebuilt.
const REBUILT: &str = "etcd";

pub(super) fn run(context: &Context, fast: bool, channel: Option<&ChannelName>) -> Result {
    say(context, "== doctor")?;
    let facts = doctor::facts(context)?;
    doctor::show(context, &facts)?;
    if facts.iter().any(|fact| fact.state == State::Missing) {
        say(context, "this machine lacks something that a cut needs; see the help above")?;
        if context.json {
            print_json(&json!({"outcome": "lacking", "facts": doctor::shown(facts)}))?;
        }
        return Ok(Answer::Unknown);
    }
    let workspace = context.workspace()?;
    let channel = match channel {
        Some(channel) => configured(&workspace, channel)?.channel.clone(),
        None => choose(context, &workspace)?,
    };
    let name = cut_release(context, &workspace, &channel, fast)?;
    let store = place::open_store(context, &context.target()?)?;
    let store = store.folder().ok_or("quickstart publishes into a folder of this machine only")?;
    let manifest = store.join(layout::manifest(&name));
    let key = stranger(context)?;
    let reader = store::Directory::new(&store);
    let verified = super::rebuild::verify(context, &reader, &layout::manifest(&name), &key)?;
    if verified.outcome != Outcome::Verified {
        return Ok(Answer::No);
    }
    let (subject, rebuilt) = rebuild_cold(context, &manifest, verified.manifest_digest.as_ref())?;
    context.reporter.clear();
    super::rebuild::show(context, &rebuilt)?;
    let verdict = if rebuilt.is_same() { "same" } else { "different" };
    if context.json {
        print_json(&json!({
            "outcome": verdict, "channel": channel, "release": name.to_string(),
            "digest": verified.manifest_digest, "store": store, "manifest": manifest,
            "keyFile": key, "facts": doctor::shown(facts), "verified": verified,
            "rebuilt": rebuild::statement(&subject, &rebuilt, "publisher").predicate,
        }))?;
    }
    say_where(context, (&channel, &store), (&manifest, &key))?;
    say(context, format!("\nverified, rebuilt: {verdict}"))?;
    Ok(if rebuilt.is_same() { Answer::Yes } else { Answer::No })
}

/// Says where everything is, and what to try next.
fn say_where(
    context: &Context,
    (channel, store): (&ChannelName, &Path),
    (manifest, key): (&Path, &Path),
) -> Result<()> {
    let (manifest, key) = (manifest.display(), key.display());
    let announced = context.home.path().join("announcements");
    say(context, format!("\nstore     {}", store.display()))?;
    say(context, format!("manifest  {manifest}"))?;
    say(context, format!("key       {key}"))?;
    say(context, format!("announced {}", announced.display()))?;
    say(context, "\ntry next:")?;
    say(context, format!("  kdistro-verify --key {key} {manifest}"))?;
    say(context, format!("  kdistro rebuild --key {key} {manifest}"))?;
    Ok(say(context, format!("  kdistro plan {channel}"))?)
}

/// Takes the channel of today where it is fully locked and git reaches its upstreams.
fn choose(context: &Context, workspace: &Workspace) -> Result<ChannelName> {
    let (today, fallback) =
        (CHANNELS.0.parse::<ChannelName>()?, CHANNELS.1.parse::<ChannelName>()?);
    let why = match workspace.channels.get(&today) {
        None => Some("it is not configured".to_owned()),
        Some(channel) => unreachable_why(context, workspace, channel),
    };
    let Some(why) = why else {
        say(context, format!("\nchannel {today}: git reaches all its upstreams"))?;
        return Ok(today);
    };
    say(
        context,
        format!("\nchannel {fallback}, from Debian's source packages; not {today}: {why}"),
    )?;
    Ok(fallback)
}

fn unreachable_why(context: &Context, workspace: &Workspace, channel: &Channel) -> Option<String> {
    for component in &channel.components {
        let project = workspace.projects.get(&component.project)?;
        if !reaches(&project.repository, &component.tag, &context.environment) {
            return Some(format!("git does not reach {} {}", project.repository, component.tag));
        }
    }
    plan::plan(workspace, &channel.channel, &Selection::default())
        .err()
        .map(|error| error.to_string())
}

fn cut_release(
    context: &Context,
    workspace: &Workspace,
    channel: &ChannelName,
    fast: bool,
) -> Result<ReleaseName> {
    let host: Platform = context.surroundings.host.platform.parse()?;
    let selection =
        Selection { projects: parts(configured(workspace, channel)?, fast), platforms: vec![host] };
    let order = Order {
        channel: channel.clone(),
        selection,
        until: Stage::Announce,
        date: None,
        commit: commit(context)?,
        gate: None,
    };
    let outcome = cut::cut(context, &order)?;
    context.reporter.clear();
    match outcome {
        CutOutcome::Released { name, digest, .. } => {
            say(context, format!("released {name}, manifest {digest}"))?;
            Ok(name)
        }
        CutOutcome::Unchanged { name, .. } => {
            say(context, format!("release {name} has this plan already"))?;
            Ok(name)
        }
        CutOutcome::Withheld { name, tests } => Err(format!(
            "release {name} is withheld: it failed at the gate: {}",
            tests.failed_tests.join(", ")
        )
        .into()),
        CutOutcome::Until(stage) => Err(format!("the cut ended at {stage:?}").into()),
    }
}

/// The components that are cut.
fn parts(channel: &Channel, fast: bool) -> Vec<ProjectName> {
    let is_listed = |list: &[&str], project: &ProjectName| list.contains(&project.as_str());
    let is_wanted = |project: &&ProjectName| {
        if fast { is_listed(FAST, project) } else { !is_listed(LEFT_OUT, project) }
    };
    let shipped = channel.components.iter().map(|component| &component.project);
    shipped.filter(is_wanted).cloned().collect()
}

/// What a stranger holds: a folder with the public key and nothing else.
fn stranger(context: &Context) -> Result<std::path::PathBuf> {
    let folder = context.home.folder("stranger")?;
    let key = folder.join("release.pub");
    let place = Place::open(context, context.target()?)?;
    fs::write(&key, place.keys.release_key()?.to_pem())?;
    Ok(key)
}

fn rebuild_cold(
    context: &Context,
    manifest: &Path,
    verified: Option<&Digest>,
) -> Result<(Subjected, Rebuilt)> {
    let (reader, name) = store::locate(&manifest.display().to_string(), None, None)?;
    let subject = Subjected::read(reader, &name, verified)?;
    let scratch = context.home.scratch("rebuild")?;
    let home = rebuild::home(scratch.path())?;
    let rebuilt = rebuild::rebuild(context, &subject, (&[REBUILT.to_owned()], true), &home)?;
    Ok((subject, rebuilt))
}

#[cfg(test)]
mod tests {
    use kdistro_formats::yaml;

    use super::*;

    #[test]
    fn conformance_tests_are_left_out_of_every_channel_and_nothing_else() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for name in [CHANNELS.0, CHANNELS.1] {
            let file = top.join("release-manifests").join(name).join("channel.yaml");
            let channel: Channel = yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
            let is_shipped =
                |name: &str| channel.components.iter().any(|c| c.project.as_str() == name);
            assert!(FAST.iter().chain(LEFT_OUT).all(|name| is_shipped(name)), "{name}");
            let (all, fast) = (parts(&channel, false), parts(&channel, true));
            assert_eq!(all.len(), channel.components.len() - LEFT_OUT.len());
            assert!(all.iter().all(|project| project.as_str() != "kubernetes/kubernetes-test"));
            assert_eq!(fast.len(), FAST.len());
        }
    }
}
