//! Runs checks on a cluster, and says what each came to.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};

use crate::{
    ChecksError,
    builtin::{BUILTIN, Builtin, Needs},
    cluster::Cluster,
    command,
    conformance::Conformance,
    job::JobFile,
    result::{CheckResult, NO_DNS, NO_NODE, Outcome, Report},
    scene::Scene,
};

/// How many of our own checks run at once: they wait for the cluster most of the time.
const AT_ONCE: usize = BUILTIN.len();
/// How long a node may take to say which images it has, and how long to wait before the next look.
const IMAGE: Duration = Duration::from_secs(45);
const IMAGE_LOOK: Duration = Duration::from_secs(1);
/// The check that nothing of a run is left.
const REMOVED: &str = "namespace-removed";

/// Something to check.
#[derive(Clone, Debug)]
pub enum Check {
    /// All of our own.
    Builtin,
    /// A program with its arguments; no shell reads them.
    Command(Vec<String>),
    /// The file of a Job that is run in the cluster.
    Job(PathBuf),
    /// Upstream's conformance specs.
    Conformance(Conformance),
}

/// What is to be checked where.
#[derive(Clone, Debug)]
pub struct Order {
    /// How the cluster is reached.
    pub kubeconfig: PathBuf,
    /// The release that it runs, where that is known.
    pub release: Option<String>,
    /// Who checks: the value of a label. What an earlier run of the same left, as it was killed, is removed first; nobody else may run then.
    pub owner: Option<String>,
    /// An image with `etcd` and `etcdctl` for pods; else one that a node has, of the release where there is.
    pub image: Option<String>,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// How long each of our own checks may take; twice as long the removal of what the run made.
    pub limit: Duration,
    /// How long each command and each Job may take.
    pub own_limit: Duration,
    /// What the cluster is known to have: what it lacks of that is a check that fails, and not one that is left out.
    pub expects: Expects,
}

/// What a cluster is known to have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expects {
    /// A node with room for pods: where it has too little memory, disk or processes nothing can be told.
    pub node: bool,
    /// A resolver for pods.
    pub dns: bool,
}

impl Order {
    /// Our own checks of a cluster, with limits that suit a slow one.
    pub fn new(kubeconfig: impl Into<PathBuf>) -> Self {
        Self {
            kubeconfig: kubeconfig.into(),
            release: None,
            owner: None,
            image: None,
            checks: vec![Check::Builtin],
            limit: Duration::from_mins(1),
            own_limit: Duration::from_mins(10),
            expects: Expects::default(),
        }
    }
}

impl Order {
    fn has_room(&self, cluster: &Cluster) -> Result<(), ChecksError> {
        match &cluster.without_room {
            Some(node) if self.expects.node => Err(ChecksError::NoRoom(node.clone())),
            _ => Ok(()),
        }
    }

    /// A check of which the cluster lacks what it needs.
    fn lacking(&self, name: &str, why: &'static str) -> CheckResult {
        let is_expected = if why == NO_DNS { self.expects.dns } else { self.expects.node };
        if is_expected {
            return CheckResult::new(name, Outcome::Failed(why.to_owned()), 0.0, "");
        }
        CheckResult::skipped(name, why)
    }
}

/// Runs checks, one kind after the other, and blocks until all have ended; `say` is told of each result.
///
/// # Errors
///
/// When nothing can be told of the cluster: it does not answer, or what is to be run cannot be read. Whatever goes wrong
/// later is a check that failed.
pub fn run(order: &Order, say: &mut dyn FnMut(&CheckResult)) -> Result<Report, ChecksError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed = |source| ChecksError::Io { action: "start the runtime", source };
    runtime.map_err(failed)?.block_on(Run::all(order, say))
}

/// A check that was read.
enum Ready<'a> {
    Builtin,
    Command(&'a [String]),
    Job(Box<JobFile>),
    Conformance(&'a Conformance),
}

impl<'a> Ready<'a> {
    fn new(check: &'a Check) -> Result<Self, ChecksError> {
        Ok(match check {
            Check::Builtin => Self::Builtin,
            Check::Command(command) if command.is_empty() => return Err(ChecksError::EmptyCommand),
            Check::Command(command) => Self::Command(command),
            Check::Job(file) => Self::Job(Box::new(JobFile::read(file)?)),
            Check::Conformance(conformance) => Self::Conformance(conformance),
        })
    }

    /// Whether it works in the namespace of the run.
    fn needs_namespace(&self) -> bool {
        matches!(self, Self::Builtin | Self::Job(_))
    }
}

struct Run<'a> {
    order: &'a Order,
    cluster: Cluster,
    say: &'a mut dyn FnMut(&CheckResult),
    results: Vec<CheckResult>,
}

impl<'a> Run<'a> {
    async fn all(
        order: &'a Order,
        say: &'a mut dyn FnMut(&CheckResult),
    ) -> Result<Report, ChecksError> {
        let checks = order.checks.iter().map(Ready::new).collect::<Result<Vec<_>, _>>()?;
        let cluster = Cluster::reach(&order.kubeconfig).await?;
        order.has_room(&cluster)?;
        let mut run = Self { order, cluster, say, results: Vec::new() };
        let scene = run.open(&checks).await?;
        for check in &checks {
            run.one(check, scene.as_ref()).await;
        }
        if let Some(scene) = scene {
            let begin = Instant::now();
            let closed = run.cluster.close(&scene, 2 * order.limit).await;
            let outcome = closed
                .map_or_else(|fault| Outcome::Failed(fault.to_string()), |()| Outcome::Passed);
            run.take(CheckResult::new(REMOVED, outcome, begin.elapsed().as_secs_f64(), ""));
        }
        let report = Report { kubernetes: run.cluster.version, results: run.results };
        if order.expects.node && !report.failed().is_empty() {
            // It may have filled up meanwhile. One that does not answer any more has failed.
            let again = Cluster::reach(&order.kubeconfig).await;
            again.map_or(Ok(()), |cluster| order.has_room(&cluster))?;
        }
        Ok(report)
    }

    /// Makes the namespace of the run, where a check needs it.
    async fn open(&self, checks: &[Ready<'_>]) -> Result<Option<Scene>, ChecksError> {
        if !checks.iter().any(Ready::needs_namespace) {
            return Ok(None);
        }
        let has_pods =
            self.cluster.has_node && checks.iter().any(|one| matches!(one, Ready::Builtin));
        let image = match &self.order.image {
            None if has_pods => Some(self.await_image().await?),
            known => known.clone(),
        };
        let failed = |action| {
            let file = self.order.kubeconfig.clone();
            move |source| ChecksError::Cluster { action, file, source: Box::new(source) }
        };
        let owner = self.order.owner.as_deref();
        if let Some(owner) = owner {
            let swept = self.cluster.sweep(owner, self.order.limit).await;
            swept.map_err(failed("look for what an earlier run left"))?;
        }
        let scene = self.cluster.open(&image.unwrap_or_default(), owner).await;
        scene.map(Some).map_err(failed("make a namespace"))
    }

    /// An image of etcd that a node has. A kubelet that has just begun may not have said yet which it has: it looks every
    /// half minute.
    ///
    /// Source: Kubernetes, `pkg/kubelet/images/image_gc_manager.go`, `Start`.
    async fn await_image(&self) -> Result<String, ChecksError> {
        let (release, end) = (self.order.release.as_deref(), Instant::now() + IMAGE);
        let mut image = self.cluster.image(release);
        while image.is_none() && Instant::now() < end {
            tokio::time::sleep(IMAGE_LOOK).await;
            image = Cluster::reach(&self.order.kubeconfig).await?.image(release);
        }
        image.ok_or(ChecksError::NoImage)
    }

    async fn one(&mut self, check: &Ready<'_>, scene: Option<&Scene>) {
        let (kubeconfig, limit) = (self.order.kubeconfig.as_path(), self.order.own_limit);
        let has_node = self.cluster.has_node;
        match (check, scene) {
            (Ready::Builtin, Some(scene)) => self.builtin(scene).await,
            (Ready::Job(job), Some(_)) if !has_node => {
                self.take(self.order.lacking(&job.name(), NO_NODE));
            }
            (Ready::Job(job), Some(scene)) => {
                let result = job.run(&scene.again(), limit).await;
                self.take(result);
            }
            (Ready::Command(command), _) => {
                let place = (kubeconfig, self.order.release.as_deref());
                let result = command::run(command, place, limit).await;
                self.take(result);
            }
            (Ready::Conformance(_), _) if !has_node => {
                self.take(self.order.lacking("conformance", NO_NODE));
            }
            (Ready::Conformance(conformance), _) => {
                for result in conformance.run(kubeconfig, self.cluster.has_dns).await {
                    self.take(result);
                }
            }
            // The namespace is there whenever one of them is.
            (Ready::Builtin | Ready::Job(_), None) => {}
        }
    }

    /// Our own checks, some at once, told in their order.
    async fn builtin(&mut self, scene: &Scene) {
        let (cluster, order) = (&self.cluster, self.order);
        let run = |check: &'static Builtin| one_of_ours(check, cluster, scene.again(), order);
        let mut ended = stream::iter(BUILTIN).map(run).buffered(AT_ONCE);
        while let Some(result) = ended.next().await {
            (self.say)(&result);
            self.results.push(result);
        }
    }

    fn take(&mut self, result: CheckResult) {
        (self.say)(&result);
        self.results.push(result);
    }
}

/// Runs one of our own checks, unless the cluster lacks what it needs.
async fn one_of_ours(
    check: &Builtin,
    cluster: &Cluster,
    scene: Scene,
    order: &Order,
) -> CheckResult {
    let limit = order.limit;
    let missing = match check.needs {
        Needs::Node | Needs::Dns if !cluster.has_node => Some(NO_NODE),
        Needs::Dns if !cluster.has_dns => Some(NO_DNS),
        Needs::Api | Needs::Node | Needs::Dns => None,
    };
    if let Some(why) = missing {
        return order.lacking(check.name, why);
    }
    let begin = Instant::now();
    let ended = tokio::time::timeout(limit, (check.run)(scene.clone())).await;
    let outcome = match ended {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(fault)) => Outcome::Failed(fault.to_string()),
        Err(_) => Outcome::Failed(late(limit, &scene.waiting())),
    };
    CheckResult::new(check.name, outcome, begin.elapsed().as_secs_f64(), "")
}

/// Why a check that did not end in time fails; `waiting` is what it waited for.
fn late(limit: Duration, waiting: &str) -> String {
    let waiting = if waiting.is_empty() { "the API server does not answer" } else { waiting };
    format!("{waiting} (for {} s)", limit.as_secs())
}
