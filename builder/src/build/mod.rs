//! Runs the steps of a plan in the container, each at most once: what a step gave is kept under its key.

pub(crate) mod records;
pub mod trees;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kdistro_container::{Mount, StepError, StepSpec};
use kdistro_formats::{
    Digest,
    plan::{Content, EntryContent, Plan, Step, Tree},
};

pub(crate) use self::records::write_whole;
pub use self::records::{Output, RecordError, Records, StepRecord};
use self::trees::{TreeError, Trees};
use crate::{
    content::{ContentError, ContentStore},
    home::{Home, HomeError},
    report::{Event, Reporter, seconds},
};

/// Why a build did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The step itself failed.
    #[error("step `{step}` failed; its log ends with:\n{tail}\nwhole log: {}", log.display())]
    Step {
        /// The step's name.
        step: String,
        /// The last lines of its log.
        tail: String,
        /// The log.
        log: PathBuf,
        /// Why.
        source: StepError,
    },
    /// The step ended well but did not leave what it should.
    #[error(
        "step `{step}` {what}\nhelp:  `outputs` of the recipe must name exactly what the step leaves below /out"
    )]
    Outputs {
        /// The step's name.
        step: String,
        /// What is missing or too much.
        what: String,
    },
    /// A program does not say what it should.
    #[error(
        "`{program}` of step `{step}` prints {printed:?}, expected `{expected}` in it\nhelp:  a variable set with -X has no effect where its symbol's path is wrong"
    )]
    Check {
        /// The step's name.
        step: String,
        /// The program and its arguments.
        program: String,
        /// What it printed.
        printed: String,
        /// What should stand in it.
        expected: String,
    },
    /// What a step sees cannot be laid out.
    #[error("cannot prepare step `{step}`")]
    Tree {
        /// The step's name.
        step: String,
        /// Why.
        source: TreeError,
    },
    /// What a step gave cannot be kept.
    #[error("cannot keep what step `{step}` gave")]
    Keep {
        /// The step's name.
        step: String,
        /// Why.
        source: ContentError,
    },
    /// A record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The plan has steps that wait for each other, or for one that is not there.
    #[error("steps of the plan wait for outputs that no step makes: {0}")]
    Stuck(String),
}

/// Lists the steps that the wanted components need, in the plan's order. `None` means all components.
pub fn needed<'a>(plan: &'a Plan, components: Option<&BTreeSet<String>>) -> Vec<&'a Step> {
    let mut keys = BTreeSet::new();
    let wanted = |name: &str| components.is_none_or(|components| components.contains(name));
    for component in plan.components.iter().filter(|component| wanted(&component.name)) {
        for asset in &component.assets {
            match &asset.content {
                Content::File { output } => _ = keys.insert(output.step),
                Content::Archive { entries, .. } => {
                    keys.extend(entries.iter().filter_map(|entry| match &entry.from {
                        EntryContent::Output(output) => Some(output.step),
                        EntryContent::Source { .. } => None,
                    }));
                }
            }
        }
    }
    // Steps come after what they use, so one pass from the end finds everything.
    for step in plan.steps.iter().rev() {
        if keys.contains(&step.key) {
            keys.extend(uses(plan, step));
        }
    }
    plan.steps.iter().filter(|step| keys.contains(&step.key)).collect()
}

/// The keys of the steps whose outputs a step sees.
pub fn uses(plan: &Plan, step: &Step) -> BTreeSet<Digest> {
    let trees = step.body.mounts.values().filter_map(|digest| plan.trees.get(digest));
    let additions = trees.flat_map(|tree| match tree {
        Tree::Source { additions, .. } => additions.as_slice(),
        Tree::Outputs { files } => files.as_slice(),
        _ => &[],
    });
    additions.map(|addition| addition.output.step).collect()
}

/// The inputs that these steps and the wanted components' archives need.
pub fn inputs_of(
    plan: &Plan,
    steps: &[&Step],
    components: Option<&BTreeSet<String>>,
) -> BTreeSet<Digest> {
    let mut inputs = BTreeSet::new();
    let trees = steps.iter().flat_map(|step| step.body.mounts.values().chain([&step.body.root]));
    for tree in trees.filter_map(|digest| plan.trees.get(digest)) {
        match tree {
            Tree::Source { archive, .. } => _ = inputs.insert(*archive),
            Tree::Toolchain { zip } => _ = inputs.insert(*zip),
            Tree::Modules { modules } => {
                inputs.extend(modules.iter().flat_map(|m| m.zip.into_iter().chain([m.go_mod])));
            }
            Tree::Root { packages, .. } => inputs.extend(packages),
            Tree::Outputs { .. } => {}
        }
    }
    let wanted = |name: &str| components.is_none_or(|components| components.contains(name));
    for component in plan.components.iter().filter(|component| wanted(&component.name)) {
        for asset in &component.assets {
            if let Content::Archive { entries, .. } = &asset.content {
                inputs.extend(entries.iter().filter_map(|entry| match &entry.from {
                    EntryContent::Source { archive, .. } => Some(*archive),
                    EntryContent::Output(_) => None,
                }));
            }
        }
    }
    inputs
}

/// How many steps run side by side: each compile wants two cores and 4 GiB.
pub fn jobs(cores: usize, memory_bytes: u64) -> usize {
    let by_memory = usize::try_from(memory_bytes >> 32).unwrap_or(usize::MAX);
    (cores / 2).min(by_memory).max(1)
}

/// A build: where it runs and what it tells.
pub struct Builder<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The home folder.
    pub home: &'a Home,
    /// Inputs and outputs.
    pub content: &'a ContentStore,
    /// Who is told.
    pub reporter: &'a Reporter,
    /// How many steps run side by side.
    pub jobs: usize,
    /// The platform that this machine runs, such as `linux/amd64`.
    pub host: &'a str,
}

/// What the scheduler knows; steps are taken by whichever worker is free.
struct Queue<'a> {
    waiting: Vec<&'a Step>,
    /// Names of what runs, and since when.
    running: Vec<(&'a str, Instant)>,
    done: Records,
    failed: Option<BuildError>,
}

impl Builder<'_> {
    /// Runs these steps, except those whose outputs are there already. Returns what all of them gave.
    pub fn build(&self, steps: &[&Step]) -> Result<Records, BuildError> {
        let mut records = Records::default();
        let mut waiting = Vec::new();
        for step in steps {
            match StepRecord::read(self.home, &step.key)? {
                Some(record) if self.is_usable(step, &record) => records.insert(step.key, record),
                _ => waiting.push(*step),
            }
        }
        let queue = Mutex::new(Queue { waiting, running: Vec::new(), done: records, failed: None });
        let changed = Condvar::new();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| self.work(&queue, &changed));
            }
            scope.spawn(|| self.tell_time(&queue, &changed));
        });
        let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        match queue.failed {
            Some(error) => Err(error),
            None => Ok(queue.done),
        }
    }

    /// True when every output is there and every check was passed.
    fn is_usable(&self, step: &Step, record: &StepRecord) -> bool {
        let outputs = step.body.outputs.iter().all(|name| {
            record.outputs.get(name).is_some_and(|output| self.content.has(&output.digest))
        });
        outputs && (record.checks == step.checks || !self.can_run(step))
    }

    fn can_run(&self, step: &Step) -> bool {
        step.platform.as_str() == self.host
    }

    fn work(&self, queue: &Mutex<Queue<'_>>, changed: &Condvar) {
        let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut state = lock();
            let step = loop {
                if state.failed.is_some() || state.waiting.is_empty() {
                    return;
                }
                if let Some(step) = self.take_ready(&mut state) {
                    break step;
                }
                if state.running.is_empty() {
                    let names: Vec<_> =
                        state.waiting.iter().map(|step| step.name.as_str()).collect();
                    state.failed = Some(BuildError::Stuck(names.join(", ")));
                    changed.notify_all();
                    return;
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            let left = state.waiting.len() + state.running.len();
            let records = state.done.clone();
            drop(state);
            self.reporter.tell(&Event::StepStarted { step: step.name.clone(), left });
            let result = self.run(step, &records);
            let mut state = lock();
            state.running.retain(|(name, _)| *name != step.name);
            let left = state.waiting.len() + state.running.len();
            self.settle(&mut state, step, result, left);
            changed.notify_all();
        }
    }

    /// Tells how long each running step takes, until there is nothing more to run.
    fn tell_time(&self, queue: &Mutex<Queue<'_>>, changed: &Condvar) {
        let mut state = queue.lock().unwrap_or_else(PoisonError::into_inner);
        while !(state.running.is_empty() && (state.waiting.is_empty() || state.failed.is_some())) {
            let waited = changed.wait_timeout(state, Duration::from_secs(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let left = state.waiting.len() + state.running.len();
            let running = state
                .running
                .iter()
                .map(|(name, since)| format!("{name} ({} s)", since.elapsed().as_secs()));
            let running = running.collect::<Vec<_>>().join(", ");
            if !running.is_empty() {
                self.reporter.progress(format!("building {running}, {left} left"));
            }
        }
    }

    fn settle(
        &self,
        state: &mut MutexGuard<'_, Queue<'_>>,
        step: &Step,
        result: Result<StepRecord, BuildError>,
        left: usize,
    ) {
        match result {
            Ok(record) => {
                let (seconds, cpu_seconds) = (record.seconds, record.cpu_seconds);
                let step_name = step.name.clone();
                self.reporter.tell(&Event::StepFinished {
                    step: step_name,
                    seconds,
                    cpu_seconds,
                    left,
                });
                state.done.insert(step.key, record);
            }
            // The first failure is the one to read.
            Err(error) => _ = state.failed.get_or_insert(error),
        }
    }

    fn take_ready<'a>(&self, state: &mut Queue<'a>) -> Option<&'a Step> {
        let ready = |step: &Step| uses(self.plan, step).iter().all(|key| state.done.has(key));
        let index = state.waiting.iter().position(|step| ready(step))?;
        let step = state.waiting.remove(index);
        state.running.push((&step.name, Instant::now()));
        Some(step)
    }

    fn run(&self, step: &Step, records: &Records) -> Result<StepRecord, BuildError> {
        let scratch = self.home.scratch("step")?;
        let make = |name: &str| {
            let path = scratch.path().join(name);
            fs::create_dir(&path)
                .map_err(|source| BuildError::Io { path: path.clone(), source })?;
            Ok::<_, BuildError>(path)
        };
        let (out, temporary) = (make("out")?, make("tmp")?);
        let log = self.home.folder("logs")?.join(format!("{}.log", step.key.hex()));
        let spec = self.spec(step, records, (&out, &temporary, &log))?;
        let finished = kdistro_container::run(&spec).map_err(|source| BuildError::Step {
            step: step.name.clone(),
            tail: tail(&log),
            log: log.clone(),
            source,
        })?;
        let left =
            files_below(&out).map_err(|source| BuildError::Io { path: out.clone(), source })?;
        if let Some(what) = unexpected(&step.body.outputs, &left) {
            return Err(BuildError::Outputs { step: step.name.clone(), what });
        }
        let checks = if self.can_run(step) { step.checks.clone() } else { Vec::new() };
        self.check(step, &checks, &out)?;
        let mut outputs = BTreeMap::new();
        for name in &step.body.outputs {
            let keep = |source| BuildError::Keep { step: step.name.clone(), source };
            let (digest, size) = self.content.take(&out.join(name)).map_err(keep)?;
            outputs.insert(name.clone(), Output { digest, size });
        }
        let record = StepRecord {
            name: step.name.clone(),
            body: step.body.clone(),
            outputs,
            checks,
            seconds: seconds(finished.wall),
            cpu_seconds: seconds(finished.cpu),
            peak_memory_bytes: finished.peak_memory_bytes,
            isolation: finished.isolation,
        };
        record.write(self.home, &step.key)?;
        Ok(record)
    }

    fn spec(
        &self,
        step: &Step,
        records: &Records,
        (out, scratch, log): (&Path, &Path, &Path),
    ) -> Result<StepSpec, BuildError> {
        let trees = Trees { plan: self.plan, home: self.home, content: self.content, records };
        let lay_out = |digest: &Digest| {
            let failed = |source| BuildError::Tree { step: step.name.clone(), source };
            trees.lay_out(digest).map_err(failed)
        };
        let mut mounts = Vec::new();
        for (path, digest) in &step.body.mounts {
            mounts.push(Mount { host: lay_out(digest)?, path: path.clone() });
        }
        Ok(StepSpec {
            root: lay_out(&step.body.root)?,
            mounts,
            argv: step.body.argv.clone(),
            env: step.body.env.clone(),
            directory: step.body.directory.clone(),
            limits: limits(&step.body.limits),
            out: out.to_owned(),
            scratch: scratch.to_owned(),
            log: log.to_owned(),
        })
    }

    /// Runs each program that says its version, in the container and with nothing but itself.
    fn check(
        &self,
        step: &Step,
        checks: &[kdistro_formats::plan::Check],
        out: &Path,
    ) -> Result<(), BuildError> {
        for check in checks {
            let scratch = self.home.scratch("check")?;
            let make = |name: &str| {
                let path = scratch.path().join(name);
                fs::create_dir(&path)
                    .map_err(|source| BuildError::Io { path: path.clone(), source })?;
                Ok::<_, BuildError>(path)
            };
            let log = scratch.path().join("log");
            let program = "/programs/".to_owned() + &check.output;
            let spec = StepSpec {
                root: make("root")?,
                mounts: vec![Mount { host: out.to_owned(), path: "/programs".to_owned() }],
                argv: [program].into_iter().chain(check.arguments.iter().cloned()).collect(),
                env: BTreeMap::from([("HOME".to_owned(), "/tmp".to_owned())]),
                directory: "/".to_owned(),
                limits: limits(&step.body.limits),
                out: make("out")?,
                scratch: make("tmp")?,
                log: log.clone(),
            };
            let ran = kdistro_container::run(&spec);
            let printed = fs::read(&log).map_err(|source| BuildError::Io { path: log, source })?;
            let printed = String::from_utf8_lossy(&printed).into_owned();
            // What it prints decides: a CNI plugin says who it is and exits with 1.
            let ended = matches!(ran, Ok(_) | Err(StepError::Exited { .. }));
            let missing =
                check.expect.iter().find(|text| !ended || !printed.contains(text.as_str()));
            if let Some(expected) = missing {
                return Err(BuildError::Check {
                    step: step.name.clone(),
                    program: format!("{} {}", check.output, check.arguments.join(" "))
                        .trim()
                        .to_owned(),
                    printed: printed.chars().take(400).collect(),
                    expected: expected.clone(),
                });
            }
        }
        Ok(())
    }
}

fn limits(limits: &kdistro_formats::plan::Limits) -> kdistro_container::Limits {
    kdistro_container::Limits {
        seconds: limits.seconds,
        memory_bytes: limits.memory_bytes,
        processes: limits.processes,
        disk_bytes: limits.disk_bytes,
        log_bytes: limits.log_bytes,
    }
}

/// Lists regular files below a folder, by path from it, sorted.
fn files_below(folder: &Path) -> io::Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![(folder.to_owned(), String::new())]);
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push((entry.path(), format!("{name}/")));
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn unexpected(wanted: &[String], left: &[String]) -> Option<String> {
    if let Some(name) = wanted.iter().find(|name| !left.contains(name)) {
        return Some(format!("did not leave `{name}`; it left {left:?}"));
    }
    let name = left.iter().find(|name| !wanted.contains(name))?;
    Some(format!("left `{name}`, which is not one of its outputs"))
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().rev().take(15).collect();
    lines.into_iter().rev().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
