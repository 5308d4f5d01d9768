//! Runs the steps of a plan in the container, each at most once: what a step gave is kept under its key.

mod needed;
mod records;
mod run;
pub mod trees;

use std::{
    io,
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kdistro_container::StepError;
use kdistro_formats::plan::{Plan, Step};

pub use self::needed::{inputs_of, needed, uses};
pub use self::records::{Output, RecordError, Records, StepRecord};
use self::trees::TreeError;
use crate::{
    content::{ContentError, ContentStore},
    home::{Home, HomeError},
    report::{Event, Reporter},
};

/// Why a build did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The step itself failed.
    #[error("step `{step}` failed{full}; its log ends with:\n{tail}\nwhole log: {}", log.display())]
    Step {
        /// That the disk is full, where it is: programs often say something else.
        full: &'static str,
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
}
