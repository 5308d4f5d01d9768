//! `kdistro quickstart`: the whole loop on one machine: cut, verify as a stranger, rebuild cold, compare.

use std::{fs, path::Path};

use kdistro_container::State;
use kdistro_formats::{ChannelName, Digest, Platform, ProjectName, ReleaseName, layout};
use kdistro_source::reaches;
use kdistro_verify::{check::Outcome, store};

use super::{Answer, Result, cut::commit, doctor, output::print, plan::configured};
use crate::{
    config::{Workspace, channel::Channel},
    context::Context,
    cut::{self, Order, Outcome as CutOutcome, Stage},
    place::Place,
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
    print("== doctor")?;
    let facts = doctor::facts(context)?;
    doctor::show(&facts)?;
    if facts.iter().any(|fact| fact.state == State::Missing) {
        print("this machine lacks something that a cut needs; see the help above")?;
        return Ok(Answer::Unknown);
    }
    let workspace = context.workspace()?;
    let channel = match channel {
        Some(channel) => configured(&workspace, channel)?.channel.clone(),
        None => choose(context, &workspace)?,
    };
    let name = cut_release(context, &workspace, &channel, fast)?;
    let store = context.home.resolve(&context.target()?.store.directory);
    let manifest = store.join(layout::manifest(&name));
    let key = stranger(context)?;
    let reader = store::Directory::new(&store);
    let verified = super::rebuild::verify(context, &reader, &layout::manifest(&name), &key)?;
    if verified.outcome != Outcome::Verified {
        return Ok(Answer::No);
    }
    let rebuilt = rebuild_cold(context, &manifest, verified.manifest_digest.as_ref())?;
    context.reporter.clear();
    super::rebuild::show(&rebuilt)?;
    let home = context.home.path().display();
    print(format!("\nstore     {}", store.display()))?;
    print(format!("manifest  {}", manifest.display()))?;
    print(format!("key       {}", key.display()))?;
    print(format!("announced {home}/announcements"))?;
    print("\ntry next:")?;
    print(format!("  kdistro-verify --key {} {}", key.display(), manifest.display()))?;
    print(format!("  kdistro rebuild --key {} {}", key.display(), manifest.display()))?;
    print(format!("  kdistro plan {channel}"))?;
    let same = rebuilt.is_same();
    print(if same { "\nverified, rebuilt: same" } else { "\nverified, rebuilt: different" })?;
    Ok(if same { Answer::Yes } else { Answer::No })
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
        print(format!("\nchannel {today}: git reaches all its upstreams"))?;
        return Ok(today);
    };
    print(format!("\nchannel {fallback}, from Debian's source packages; not {today}: {why}"))?;
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
    };
    let outcome = cut::cut(context, &order)?;
    context.reporter.clear();
    match outcome {
        CutOutcome::Released { name, digest, .. } => {
            print(format!("released {name}, manifest {digest}"))?;
            Ok(name)
        }
        CutOutcome::Unchanged(name) => {
            print(format!("release {name} has this plan already"))?;
            Ok(name)
        }
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

fn rebuild_cold(context: &Context, manifest: &Path, verified: Option<&Digest>) -> Result<Rebuilt> {
    let (reader, name) = store::locate(&manifest.display().to_string(), None, None)?;
    let subject = Subjected::read(reader, &name, verified)?;
    let scratch = context.home.scratch("rebuild")?;
    let home = rebuild::home(scratch.path())?;
    Ok(rebuild::rebuild(context, &subject, (&[REBUILT.to_owned()], true), &home)?)
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
