//! A cluster for one program: it is there while the program runs, and ends with it, however that is. Where this
//! program itself is killed, no process of the cluster goes on; its folder is left for `down`.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{self, Command, ExitCode, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use kdistro_devcluster::{Cluster, DevclusterError, REGISTRY, Source, keep};
use rustix::process::{
    Pid, Signal, getppid, kill_process, kill_process_group, set_parent_process_death_signal,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    iterator::Signals,
};

use super::{Trouble, cli::Run, find_missing, start, take, tests};

/// Added to a signal's number in the exit code, as shells do.
const SIGNAL_BASE: i32 = 128;
/// What a program finds in its environment: where upstream's tests are, and their images.
const E2E_TEST: &str = "KDISTRO_E2E_TEST";
const E2E_REGISTRY: &str = "KDISTRO_E2E_REGISTRY";

/// Starts a cluster, runs a program, and ends the cluster; the exit code is the program's.
pub(crate) fn run(home: &Path, run: &Run, source: &Source) -> Result<ExitCode, Trouble> {
    let name = run.name.clone().unwrap_or_else(|| format!("run-{}", process::id()));
    let ending = Arc::new(Ending {
        home: home.to_owned(),
        name,
        is_begun: AtomicBool::new(false),
        program: Mutex::default(),
        turn: Mutex::default(),
    });
    watch(Arc::clone(&ending))?;
    run.bound.map_or(Ok(()), bind)?;
    let ended = ending.run(run, source);
    // What ends badly here would hide what was wrong before.
    let gone = ending.end(&ending.turn());
    let status = ended.map_err(without_place)?;
    gone?;
    let signal = status.signal().map(|signal| SIGNAL_BASE + signal);
    let code = status.code().or(signal).and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(2)))
}

/// An error without the advice to look at what is gone.
fn without_place(error: Trouble) -> Trouble {
    match error.downcast::<DevclusterError>() {
        Ok(error) => match *error {
            DevclusterError::Started { source, .. } => source,
            error => error.into(),
        },
        Err(error) => error,
    }
}

/// What has to end, whatever happens.
struct Ending {
    home: PathBuf,
    name: String,
    /// Whether the cluster is this program's.
    is_begun: AtomicBool,
    /// The program, while it runs.
    program: Mutex<Option<Pid>>,
    /// Whoever ends the cluster has it: another waits until it is gone.
    turn: Mutex<()>,
}

impl Ending {
    fn run(&self, run: &Run, source: &Source) -> Result<ExitStatus, Trouble> {
        let _kept = keep(&self.home)?;
        let missing = if run.control_plane_only { Vec::new() } else { find_missing(&self.home)? };
        // A program gets the cluster that it was promised, or none.
        if missing.iter().any(|one| one.required) {
            return Err(DevclusterError::NoNode(missing).into());
        }
        let brought = take(&self.home, source, !run.control_plane_only)?;
        self.is_begun.store(true, Ordering::SeqCst);
        let cluster = start(&self.home, (&self.name, true), brought).inspect_err(|error| {
            // That one is somebody else's.
            let is_other = matches!(error.downcast_ref(), Some(DevclusterError::Exists(_)));
            self.is_begun.store(!is_other, Ordering::SeqCst);
        })?;
        let (program, arguments) = run.command.split_first().ok_or("there is no command")?;
        let mut command = command(program);
        command.args(arguments).env("KUBECONFIG", cluster.kubeconfig());
        // Those of another release are of no use here.
        command.env_remove(E2E_TEST).env_remove(E2E_REGISTRY);
        if run.tests {
            command.env(E2E_TEST, tests(&self.home, &cluster, source)?);
            command.env(E2E_REGISTRY, REGISTRY);
        }
        let failed = |error| format!("cannot start {}: {error}", Path::new(program).display());
        // A shell of a terminal's user has to stay in its group; of all else whatever it starts ends with it.
        if !io::stdin().is_terminal() {
            command.process_group(0);
        }
        let mut runs = self.program();
        let mut child = command.spawn().map_err(failed)?;
        *runs = Pid::from_raw(child.id().cast_signed());
        drop(runs);
        let status = child.wait()?;
        *self.program() = None;
        Ok(status)
    }

    fn program(&self) -> MutexGuard<'_, Option<Pid>> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, _turn: &MutexGuard<'_, ()>) -> Result<(), DevclusterError> {
        if !self.is_begun.load(Ordering::SeqCst) {
            return Ok(());
        }
        match Cluster::end(&self.home, &self.name) {
            // It came to nothing, or is gone already.
            Err(DevclusterError::Missing(_)) => Ok(()),
            ended => ended,
        }
    }
}

/// Ends everything when this program is told to end.
#[expect(clippy::exit, reason = "the program is told to end while another thread waits")]
fn watch(ending: Arc<Ending>) -> Result<(), Trouble> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    thread::spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        // Both are kept: the other thread starts nothing any more, and says nothing of what ends now.
        let (program, turn) = (ending.program(), ending.turn());
        if let Some(program) = *program {
            // It may have ended meanwhile; it has a group of its own, or none.
            let _ = kill_process(program, Signal::TERM);
            let _ = kill_process_group(program, Signal::TERM);
        }
        // Nobody is left who could do something about it.
        let _ = ending.end(&turn);
        process::exit(SIGNAL_BASE + signal);
    });
    Ok(())
}

/// Lets this program be told to end when the process that started it, which has this id, ends in whatever way.
fn bind(parent: i32) -> Result<(), Trouble> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if getppid().is_none_or(|id| id.as_raw_nonzero().get() != parent) {
        return Err(format!("process {parent}, which started this, is gone").into());
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program is what this runs")]
fn command(program: &OsString) -> Command {
    Command::new(program)
}
