//! `inspect`: what really runs here, compared with the release that should.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};

use kdistro_devcluster::{Cluster, packages};
use kdistro_formats::{
    Digest, Platform, ReleaseName,
    failure::told,
    terminal::{printable_json, printable_lines},
};
use kdistro_rollout::{
    history::{Alarm, History, Standing, Target, What},
    inspect::{self, Becomes, Containers, Covered, InspectError, Inspector, Report, Running},
    once::{OnceError, trust},
    policy::{RollOutBy, Subscriber},
};
use kdistro_verify::{
    check::{TrustSource, chain},
    store::{self, Reader},
};
use serde_json::json;

use super::{Failure, Program, subscriber};
use crate::cli::Inspect;

/// Where containerd usually listens.
const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// Why what was found says nothing.
const MEANWHILE: &str =
    "a roll-out began or ended meanwhile: what was found may be of either release";

/// What is compared with what.
struct Asked {
    reader: Box<dyn Reader>,
    trust: TrustSource,
    release: ReleaseName,
    digest: Option<Digest>,
    /// The small cluster of this machine that it is about.
    cluster: Option<Cluster>,
    /// Where an alarm is kept, so that others are notified of it.
    history: Option<History>,
    /// The file of the history, which may come to be during the look.
    file: Option<PathBuf>,
    /// How many roll-outs had begun before the look, as the history says.
    began: u64,
}

impl Asked {
    /// Whether a roll-out began or ended since; an error while one is under way.
    fn is_past(&self) -> Result<bool, Failure> {
        let opened;
        let history = match (&self.history, &self.file) {
            (Some(history), _) => history,
            (None, Some(file)) if file.is_file() => {
                opened = History::open(file)?;
                &opened
            }
            _ => return Ok(false),
        };
        let now = rolled(history)?;
        let is_it = |it: Target| it.name == self.release && Some(it.digest) == self.digest;
        Ok(now.began != self.began || !now.running.is_none_or(is_it))
    }
}

/// What a history says of roll-outs, while none is under way.
#[derive(Default)]
struct Rolled {
    running: Option<Target>,
    /// How many began.
    began: u64,
}

impl Program {
    /// Looks once, or again and again; returns what came of the only look.
    pub(super) fn inspect(&self, inspect: &Inspect) -> Result<ExitCode, Failure> {
        let Some(every) = inspect.every else { return self.compare(inspect) };
        loop {
            if let Err(error) = self.compare(inspect) {
                // It is tried again.
                self.log().error(&told(&*error));
            }
            thread::sleep(every.as_duration().unsigned_abs());
        }
    }

    fn compare(&self, inspect: &Inspect) -> Result<ExitCode, Failure> {
        let asked = match (&inspect.release, &inspect.key) {
            (Some(release), Some(key)) => self.named(inspect, (release, key))?,
            _ => self.configured(&subscriber(&inspect.config)?)?,
        };
        let below = match &asked.cluster {
            Some(cluster) => Some(supervisor(cluster)?),
            None => inspect.below,
        };
        // Processes are looked at also where containerd does not answer.
        let containers = containers(inspect, asked.cluster.as_ref()).map_err(|it| chain(&*it));
        let containers = containers.as_ref().map_err(String::as_str).map(Option::as_ref);
        let inspector = Inspector {
            reader: &*asked.reader,
            source: &asked.trust,
            platform: platform()?,
            known: &inspect.known,
        };
        let running = Running { below, containers: containers.transpose() };
        let report = inspector.inspect((&asked.release, asked.digest), running);
        let report = report.or_else(|error| self.raise_evidence(error, asked.history.as_ref()))?;
        if asked.is_past()? {
            return Err(MEANWHILE.into());
        }
        if let Some(history) = &asked.history {
            let processes = asked.cluster.is_some() || inspect.below.is_none();
            let containers = processes && matches!(running.containers, Some(Ok(_)));
            self.remember(&report, Covered { processes, containers }, history)?;
        }
        // Others are told also where nobody reads this.
        self.show(&report, running.containers)?;
        Ok(ExitCode::from(report.outcome().exit_code()))
    }

    /// Raises an alarm where an error is evidence: one that looks again and again has no exit code.
    fn raise_evidence(
        &self,
        error: InspectError,
        history: Option<&History>,
    ) -> Result<Report, Failure> {
        if let (Some((about, text)), Some(history)) = (error.alarm(), history) {
            history.alarm(about, Some(&Alarm { since: (self.now)(), text }))?;
        }
        Err(error.into())
    }

    /// Raises alarms, and ends those that are over.
    fn remember(
        &self,
        report: &Report,
        covered: Covered,
        history: &History,
    ) -> Result<(), Failure> {
        for (about, becomes) in report.alarms(covered) {
            match becomes {
                Becomes::Raised(text) => {
                    history.alarm(about, Some(&Alarm { since: (self.now)(), text }))?;
                }
                Becomes::Over => history.alarm(about, None)?,
                Becomes::Same => {}
            }
        }
        Ok(())
    }

    /// The release of the command line, on the whole machine.
    fn named(&self, inspect: &Inspect, (release, key): (&str, &Path)) -> Result<Asked, Failure> {
        let (reader, name) =
            store::locate(release, inspect.store.as_deref(), self.proxy.as_deref())?;
        let resource = name.rsplit('/').next().unwrap_or(&name);
        let name = resource.strip_prefix("kubernetes-").and_then(|name| name.strip_suffix(".yaml"));
        Ok(Asked {
            reader,
            trust: trust((key, None), inspect.trusted_root.as_deref())?,
            release: name.unwrap_or(resource).parse()?,
            digest: None,
            cluster: None,
            history: None,
            file: None,
            began: 0,
        })
    }

    /// The cluster of a subscriber, and what it runs as far as is known.
    fn configured(&self, subscriber: &Subscriber) -> Result<Asked, Failure> {
        let cluster = match &subscriber.driver {
            RollOutBy::Devcluster(place) => Some(Cluster::open(&place.home, &place.name)?),
            RollOutBy::Exec(_) | RollOutBy::Gitops(_) => None,
        };
        let file = self.state(Some(subscriber)).join("history");
        let history = file.is_file().then(|| History::open(&file)).transpose()?;
        let rolled = history.as_ref().map(rolled).transpose()?;
        let Rolled { running, began } = rolled.unwrap_or_default();
        let Target { name, digest } = target(running, cluster.as_ref())?;
        let Subscriber { key, trusted_root, revoked_from, .. } = subscriber;
        let reader = store::open(&subscriber.store, self.proxy.as_deref());
        Ok(Asked {
            reader: reader.map_err(OnceError::from)?,
            trust: trust((key, *revoked_from), trusted_root.as_deref())?,
            release: name,
            digest: Some(digest),
            cluster,
            history,
            file: Some(file),
            began,
        })
    }

    fn show(
        &self,
        report: &Report,
        containers: Option<Result<&Containers, &str>>,
    ) -> Result<(), Failure> {
        let at = (self.now)();
        let text = if self.cli.json {
            // One line, so that many looks are a log.
            let (outcome, is_looked_at) = (report.outcome(), matches!(containers, Some(Ok(_))));
            let line =
                json!({"at": at, "outcome": outcome, "containers": is_looked_at, "report": report});
            format!("{}\n", printable_json(&line.to_string()))
        } else {
            let silent = "no containerd answers here: images were not looked at\n";
            let silent = if containers.is_some() { "" } else { silent };
            printable_lines(&format!("at         {at}\n{report}{silent}"))
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}

/// What an error of a look says: evidence, or that it could not be told.
pub(super) fn exit_code(error: &(dyn std::error::Error + 'static)) -> u8 {
    error.downcast_ref::<InspectError>().map_or(2, |error| error.outcome().exit_code())
}

/// What the history says of roll-outs; an error while one is under way.
fn rolled(history: &History) -> Result<Rolled, Failure> {
    let Standing { running, under_way, counts, .. } = history.standing(0)?;
    if let Some(under_way) = under_way {
        let (from, to) = (under_way.from.name, under_way.to.name);
        return Err(format!("both {from} and {to} may run: a roll-out is under way").into());
    }
    Ok(Rolled { running, began: counts.get(&What::Began).copied().unwrap_or_default() })
}

/// What should run: as the history says, else as the cluster does.
fn target(running: Option<Target>, cluster: Option<&Cluster>) -> Result<Target, Failure> {
    if let Some(running) = running {
        return Ok(running);
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

/// What runs in containers; none where there are no containers.
fn containers(asked: &Inspect, cluster: Option<&Cluster>) -> Result<Option<Containers>, Failure> {
    if let Some(cluster) = cluster {
        if !cluster.state().node {
            return Ok(None);
        }
        let ctr = packages()?.join("usr/bin/ctr").display().to_string();
        return Ok(Some(inspect::containers(&|| Ok(cluster.command_inside(&ctr)?))?));
    }
    let usual = || Some(PathBuf::from(CONTAINERD)).filter(|socket| socket.exists());
    let Some(socket) = asked.containerd.clone().or_else(usual) else { return Ok(None) };
    Ok(Some(inspect::containers(&|| Ok(ctr(&socket)))?))
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
