//! `inspect`: what really runs here, compared with the release that should.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use kdistro_devcluster::{Cluster, packages, told};
use kdistro_formats::{Digest, Platform, ReleaseName, terminal::printable_json};
use kdistro_rollout::{
    history::{History, Target},
    inspect::{Image, InspectError, Inspector, Report, Running, images},
    once::{OnceError, trust},
    policy::{RollOutBy, Subscriber},
};
use kdistro_verify::{
    check::TrustSource,
    store::{self, Reader},
};
use serde_json::json;

use crate::{
    Failure,
    cli::{Cli, Inspect},
    now, print, proxy, subscriber,
};

/// The least time between two looks.
const SHORTEST: Duration = Duration::from_secs(1);

/// Where containerd usually listens.
const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// What is compared with what.
struct Asked {
    reader: Box<dyn Reader>,
    trust: TrustSource,
    release: ReleaseName,
    digest: Option<Digest>,
    /// The small cluster of this machine that it is about.
    cluster: Option<Cluster>,
}

/// Looks once, or again and again; returns what came of the only look.
pub(crate) fn run(cli: &Cli, inspect: &Inspect) -> Result<ExitCode, Failure> {
    let Some(every) = inspect.every else { return look(cli, inspect) };
    loop {
        if let Err(error) = look(cli, inspect) {
            // It is tried again.
            let _ = writeln!(io::stderr(), "error: {}", told(&*error));
        }
        thread::sleep(every.as_duration().unsigned_abs().max(SHORTEST));
    }
}

/// What an error of a look says: evidence, or that it could not be told.
pub(crate) fn exit_code(error: &(dyn std::error::Error + 'static)) -> u8 {
    error.downcast_ref::<InspectError>().map_or(2, |error| error.outcome().exit_code())
}

fn look(cli: &Cli, inspect: &Inspect) -> Result<ExitCode, Failure> {
    let asked = match (&inspect.release, &inspect.key) {
        (Some(release), Some(key)) => named(inspect, (release, key))?,
        _ => configured(cli, &subscriber(&inspect.config)?)?,
    };
    let below = match &asked.cluster {
        Some(cluster) => Some(supervisor(cluster)?),
        None => inspect.below,
    };
    let images = containers(inspect, asked.cluster.as_ref())?;
    let inspector = Inspector {
        reader: &*asked.reader,
        source: &asked.trust,
        platform: platform()?,
        known: &inspect.known,
    };
    let running = Running { below, images: images.as_deref() };
    let report = inspector.inspect((&asked.release, asked.digest), running)?;
    show(cli, &report, images.is_some())?;
    Ok(ExitCode::from(report.outcome().exit_code()))
}

/// The release of the command line, on the whole machine.
fn named(inspect: &Inspect, (release, key): (&str, &Path)) -> Result<Asked, Failure> {
    let (reader, name) = store::locate(release, inspect.store.as_deref(), proxy().as_deref())?;
    let resource = name.rsplit('/').next().unwrap_or(&name);
    let name = resource.strip_prefix("kubernetes-").and_then(|name| name.strip_suffix(".yaml"));
    Ok(Asked {
        reader,
        trust: trust(key, inspect.trusted_root.as_deref())?,
        release: name.unwrap_or(resource).parse()?,
        digest: None,
        cluster: None,
    })
}

/// The cluster of a subscriber, and what it runs as far as is known.
fn configured(cli: &Cli, subscriber: &Subscriber) -> Result<Asked, Failure> {
    let cluster = match &subscriber.driver {
        RollOutBy::Devcluster(place) => Some(Cluster::open(&place.home, &place.name)?),
        RollOutBy::Exec(_) | RollOutBy::Gitops(_) => None,
    };
    let Target { name, digest } = target(cli, cluster.as_ref())?;
    Ok(Asked {
        reader: store::open(&subscriber.store, proxy().as_deref()).map_err(OnceError::from)?,
        trust: trust(&subscriber.key, subscriber.trusted_root.as_deref())?,
        release: name,
        digest: Some(digest),
        cluster,
    })
}

/// What should run: as the history says, else as the cluster does.
fn target(cli: &Cli, cluster: Option<&Cluster>) -> Result<Target, Failure> {
    let history = cli.state.join("history");
    if history.is_file() {
        let history = History::open(&history)?;
        if let Some(under_way) = history.under_way()? {
            let (from, to) = (under_way.from.name, under_way.to.name);
            return Err(format!("both {from} and {to} may run: a roll-out is under way").into());
        }
        if let Some(running) = history.running()? {
            return Ok(running);
        }
    }
    let Some(cluster) = cluster else {
        let help = "name the release with --release and --key";
        return Err(format!("nothing is known to run yet\nhelp:  {help}").into());
    };
    let release = &cluster.state().release;
    Ok(Target { name: release.name.parse()?, digest: release.digest })
}

fn supervisor(cluster: &Cluster) -> Result<u32, Failure> {
    let id = cluster.status().supervisor.and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| format!("cluster {} does not run", cluster.state().name).into())
}

/// The images of the containers that run; none where there are no containers.
fn containers(inspect: &Inspect, cluster: Option<&Cluster>) -> Result<Option<Vec<Image>>, Failure> {
    if let Some(cluster) = cluster {
        if !cluster.state().node {
            return Ok(None);
        }
        let ctr = packages()?.join("usr/bin/ctr").display().to_string();
        return Ok(Some(images(&|| Ok(cluster.command_inside(&ctr)?))?));
    }
    let usual = || Some(PathBuf::from(CONTAINERD)).filter(|socket| socket.exists());
    let Some(socket) = inspect.containerd.clone().or_else(usual) else { return Ok(None) };
    Ok(Some(images(&|| Ok(ctr(&socket)))?))
}

#[expect(clippy::disallowed_methods, reason = "containerd answers to its own client")]
fn ctr(socket: &Path) -> Command {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address").arg(socket);
    ctr
}

/// The platform that this program was built for, which is that of the node.
fn platform() -> Result<Platform, Failure> {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    Ok(format!("linux/{arch}").parse()?)
}

fn show(cli: &Cli, report: &Report, has_containers: bool) -> Result<(), Failure> {
    if cli.json {
        // One line, so that many looks are a log.
        let (at, outcome) = (now(), report.outcome());
        let line =
            json!({"at": at, "outcome": outcome, "containers": has_containers, "report": report});
        return print(&format!("{}\n", printable_json(&line.to_string())));
    }
    let mut text = format!("at         {}\n{report}", now());
    if !has_containers {
        text.push_str("no containerd answers here: images were not looked at\n");
    }
    print(&text)
}
