//! The supervisor: prepares what the step may see, starts the engine, holds the step to its limits, judges its outputs
//! and cleans up. It stays outside the container and outside its control group.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, Uid, setsid};

use crate::cgroup::Group;
use crate::engine::Order;
use crate::judge;
use crate::outcome::{Finished, StepError};
use crate::run::Job;
use crate::watch::{End, Watch};
use crate::world::{STEP_ID, World};
use crate::{outputs, processes, reexec, view};

/// Reads a job from standard input and writes how it ended to standard output.
pub(crate) fn main() -> i32 {
    let mut line = String::new();
    let job = io::stdin()
        .lock()
        .read_line(&mut line)
        .and_then(|_| Ok(serde_json::from_str::<Job>(&line)?));
    let result = match job {
        Ok(job) => supervise(&job),
        Err(error) => Err(StepError::engine("reading the job", error)),
    };
    let report = serde_json::to_vec(&result)
        .map_err(io::Error::from)
        .and_then(|report| io::stdout().write_all(&report));
    i32::from(report.is_err())
}

fn supervise(job: &Job) -> Result<Finished, StepError> {
    // A session of its own: Ctrl-C reaches the program that asked, and its death is what ends the step.
    setsid().map_err(|error| StepError::engine("starting a session", error))?;
    set_child_subreaper(true).map_err(|error| StepError::engine("adopting orphans", error))?;
    umask(Mode::from_bits_truncate(0o022));
    // Each place of the container is held open for a moment.
    let _ = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    let spec = &job.spec;
    spec.check()?;
    let log = File::create(&spec.log).map_err(|error| StepError::CannotStart {
        subject: spec.log.display().to_string(),
        reason: error.to_string(),
    })?;
    // Opened now, because the world may hide its path.
    let written =
        File::open(&spec.log).map_err(|error| StepError::engine("opening the log", error))?;
    let world = World::enter(spec, view::plan(spec)?)?;
    let mut group = Group::new(&spec.limits);
    let ended = run_engine(job, &world, &mut group, log);
    processes::end_all();
    if world.owner.is_none() {
        outputs::make_removable(&world.scratch);
    }
    // Judged even when the step failed: that gives everything back to its owner.
    let judged = outputs::check(&world.out, world.owner);
    let folders = [world.out.clone(), world.scratch.clone()];
    let ending = judge::ending(
        ended?,
        &spec.limits,
        &judge::Evidence { group: &group, folders: &folders, log: &written },
    )?;
    judged?;
    let isolation = judge::isolation(&group, job.filter, world.owner.is_some());
    Ok(Finished {
        wall: Duration::ZERO,
        cpu: ending.cpu,
        peak_memory_bytes: group.peak_memory(),
        isolation,
    })
}

fn run_engine(job: &Job, world: &World, group: &mut Group, log: File) -> Result<End, StepError> {
    let failed = |error: io::Error| StepError::engine("running the engine", error);
    let mut engine = start_engine(world).map_err(failed)?;
    group.join(
        i32::try_from(engine.id())
            .map(Pid::from_raw)
            .map_err(|error| StepError::engine("joining the control group", error))?,
    );
    let order =
        serde_json::to_vec(&order(job, world, group)).map_err(|error| failed(error.into()))?;
    let (Some(mut input), Some(report), Some(output)) =
        (engine.stdin.take(), engine.stdout.take(), engine.stderr.take())
    else {
        return Err(failed(io::Error::other("no pipes")));
    };
    input.write_all(&order).map_err(failed)?;
    drop(input);
    let folders = vec![world.out.clone(), world.scratch.clone()];
    Watch { limits: job.spec.limits, group, output, report, log, folders }
        .until_end()
        .map_err(|error| StepError::engine("watching the step", error))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine is this program again, under another user id where that is possible"
)]
fn start_engine(world: &World) -> io::Result<Child> {
    let mut command = Command::new(&world.engine);
    command.arg(reexec::ENGINE).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if Uid::effective().is_root() && world.owner.is_some() {
        // The standard library drops the supplementary groups along with root.
        command.uid(STEP_ID).gid(STEP_ID);
    }
    command.spawn()
}

fn order(job: &Job, world: &World, group: &Group) -> Order {
    let spec = &job.spec;
    Order {
        supervisor: Pid::this().as_raw(),
        root: world.root.clone(),
        stub: world.stub.clone(),
        out: world.out.clone(),
        scratch: world.scratch.clone(),
        view: world.view.clone(),
        argv: spec.argv.clone(),
        env: spec.env.clone(),
        directory: spec.directory.clone(),
        limits: spec.limits,
        // A control group says when its limit was hit; this limit would come first, and silently.
        limit_processes: group.processes().is_err() && counts_processes_by_namespace(),
        filter: job.filter,
    }
}

/// Whether the kernel (5.14 or newer) counts a user's processes for each user namespace by itself. Older ones count
/// all of the user's processes on the host, and the limit would hit a step for what others do.
pub(crate) fn counts_processes_by_namespace() -> bool {
    let Ok(system) =
        nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned())
    else {
        return false;
    };
    let mut numbers = system.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 14)
}
