//! Starts a cluster from a release, and rolls the next release out to it: all that a subscriber waits for, but downloads.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kdistro_devcluster::{Cluster, Order, Release, Source, bring, packages};
use kdistro_rollout::{
    driver::Devcluster,
    history::{History, Target},
    roll::{Outcome, Roller},
};
use kdistro_verify::{
    check::{Scope, TrustSource},
    trust::PublicKey,
};

use crate::{
    error::{BenchError, at, doing},
    figures::Figure,
    prepared::Prepared,
};

/// The limits in seconds.
const CONTROL_PLANE: f64 = 15.0;
const WITH_NODE: f64 = 60.0;
const ROLLED_OUT: f64 = 60.0;
/// As an API server may start beside the one that it follows.
const AWAY: f64 = 5.0;

const NAME: &str = "bench";

/// How often the API server is asked.
const LOOK: Duration = Duration::from_millis(10);

/// Two releases on this machine, in a folder where clusters lie.
struct Scene {
    folder: tempfile::TempDir,
    node: bool,
    one: Release,
    two: Release,
    debian: PathBuf,
}

/// What one turn took, in seconds.
#[derive(Clone, Copy, Debug)]
struct Turn {
    started: f64,
    rolled_out: f64,
    away: f64,
}

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let mut figures = Vec::new();
    for node in [false, true] {
        if node && !rustix::process::geteuid().is_root() {
            continue;
        }
        let scene = Scene::new(prepared, node)?;
        let turns = (0..count).map(|_| scene.turn()).collect::<Result<Vec<_>, _>>()?;
        let (what, most) =
            if node { ("with a node", WITH_NODE) } else { ("control plane", CONTROL_PLANE) };
        let figure = |name: &str, quantity: fn(&Turn) -> f64, most| {
            let values: Vec<_> = turns.iter().map(quantity).collect();
            Figure::alone(format!("cluster, {what}, {name}"), "s", &values, most)
        };
        figures.extend([
            figure("ready", |turn| turn.started, most),
            figure("rolled out", |turn| turn.rolled_out, ROLLED_OUT),
            figure("API away meanwhile", |turn| turn.away, AWAY),
        ]);
    }
    Ok(figures)
}

impl Scene {
    fn new(prepared: &Prepared, node: bool) -> Result<Self, BenchError> {
        let releases = kdistro_testbed::releases().map_err(doing("cut two releases"))?;
        let store = releases.join("store");
        let key = store.join("keys/release.pub");
        let key = PublicKey::from_pem(&fs::read_to_string(&key).map_err(at(&key))?);
        let key = key.map_err(doing("read the key"))?;
        let (folder, _) = prepared.scratch()?;
        let bring = |number: u32| {
            let manifest = store.join(format!("kubernetes-1-20/kubernetes-1-20-{number}.yaml"));
            let source = Source {
                manifest: manifest.display().to_string(),
                store: None,
                trust: TrustSource { key: key.clone(), trusted_root: None },
                proxy: None,
                scope: Scope::Documents,
            };
            bring(&source, (&folder.path().join("releases"), node), &mut |_| {})
                .map_err(doing("take a release"))
        };
        let (one, two) = (bring(1)?, bring(2)?);
        let debian = if node { packages() } else { Ok(PathBuf::from("/")) };
        let debian = debian.map_err(doing("unpack containerd"))?;
        Ok(Self { folder, node, one, two, debian })
    }

    /// Starts a cluster, rolls the second release out to it, and ends it.
    fn turn(&self) -> Result<Turn, BenchError> {
        let order = Order {
            name: NAME.to_owned(),
            node: self.node,
            release: self.one.clone(),
            bound: false,
        };
        let program = env::current_exe().map_err(at(Path::new("this program")))?;
        let begun = Instant::now();
        let start =
            Cluster::start(self.folder.path(), (&program, &self.debian), &order, &mut |_| {});
        let turn = start.map_err(doing("start a cluster")).and_then(|cluster| {
            let started = begun.elapsed().as_secs_f64();
            let (rolled_out, away) = self.roll_out(&cluster)?;
            Ok(Turn { started, rolled_out, away })
        });
        let ended = Cluster::end(self.folder.path(), NAME).map_err(doing("end a cluster"));
        turn.and_then(|turn| ended.map(|()| turn))
    }

    /// Rolls the second release out; returns how long that took, and how long the API was away meanwhile.
    fn roll_out(&self, cluster: &Cluster) -> Result<(f64, f64), BenchError> {
        let history = self.folder.path().join("history");
        if history.exists() {
            fs::remove_file(&history).map_err(at(&history))?;
        }
        let history = History::open(&history).map_err(doing("open a history"))?;
        let releases = [self.one.clone(), self.two.clone()];
        let mut driver = Devcluster::new(cluster.clone(), releases, self.debian.clone());
        let now = || Timestamp::UNIX_EPOCH;
        let mut roller = Roller {
            driver: &mut driver,
            history: &history,
            now: &now,
            say: &mut |_| {},
            checks: None,
        };
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let watching = scope.spawn(|| away(cluster, &over));
            let begun = Instant::now();
            let outcome = roller.roll_out(&target(&self.one)?, &target(&self.two)?);
            let seconds = begun.elapsed().as_secs_f64();
            over.store(true, Ordering::Relaxed);
            let away = watching.join().map_or(f64::NAN, |away| away.as_secs_f64());
            match outcome.map_err(doing("roll a release out"))? {
                Outcome::Kept => Ok((seconds, away)),
                Outcome::RolledBack(why) | Outcome::Failed(why) => Err(BenchError::Unexpected(why)),
            }
        })
    }
}

/// Asks the API server until all is over; returns how long in sum it was not ready for whoever asks.
fn away(cluster: &Cluster, over: &AtomicBool) -> Duration {
    let (mut away, mut last) = (Duration::ZERO, Instant::now());
    while !over.load(Ordering::Relaxed) {
        let is_ready = cluster.is_ready();
        let now = Instant::now();
        if !is_ready {
            away += now - last;
        }
        last = now;
        thread::sleep(LOOK);
    }
    away
}

fn target(release: &Release) -> Result<Target, BenchError> {
    let name = release.name.parse().map_err(doing("read a release's name"))?;
    Ok(Target { name, digest: release.digest })
}
