//! The first process of a cluster: starts and ends its components, answers for it, and takes all of it along when it ends.
//!
//! It is process 1 of a process namespace, inside of a network of its own. Its standard input is a socket that listens
//! on the machine outside; what comes in there goes to the API server inside.

mod children;
mod forward;
mod inside;

pub(crate) use inside::{PRIVATE, forwarding, mounts, network, settings};

use std::{
    io,
    net::TcpListener,
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use signal_hook::{consts::SIGCHLD, iterator::Signals};

use self::children::Children;
use crate::{
    component::API_PORT,
    control::{self, Answer, Request},
    pki::AUTHORITY,
    probe,
};

/// How much a component may take of the time that everything has to end.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// What a cluster's supervisor knows from its command line.
#[derive(Clone, Debug)]
pub struct Place {
    /// The cluster's folder.
    pub folder: PathBuf,
    /// Whether pods run: then what a node writes on its machine is kept in the folder.
    pub node: bool,
}

/// Prepares the namespaces that it was started in, and answers until it is told to end.
///
/// # Errors
///
/// When this machine cannot do what a cluster needs; the message says what.
pub fn run(place: &Place) -> Result<(), String> {
    inside::prepare(place)?;
    let children = Arc::new(Children::default());
    reap(Arc::clone(&children)).map_err(|error| format!("cannot wait for processes: {error}"))?;
    let again = Arc::clone(&children);
    thread::spawn(move || {
        loop {
            thread::sleep(again.start_again());
        }
    });
    let outside = io::stdin().as_fd().try_clone_to_owned();
    let outside = outside.map_err(|error| format!("cannot use the socket outside: {error}"))?;
    let outside = TcpListener::from(outside);
    thread::spawn(move || forward::accept(&outside, API_PORT));
    let listener = control::listen(&place.folder);
    let listener = listener.map_err(|error| format!("cannot listen: {error}"))?;
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let (children, folder) = (Arc::clone(&children), place.folder.clone());
        thread::spawn(move || {
            let Ok(request) = control::read::<Request>(&stream) else { return };
            let ends = matches!(request, Request::End);
            let answer = answer(&children, &folder, request);
            let _ = control::write(&mut stream, &answer);
            if ends {
                end(stream);
            }
        });
    }
    Ok(())
}

/// Ends this process, and by that everything in its namespace.
#[expect(clippy::exit, reason = "the first process of a namespace ends all others by ending")]
fn end(stream: UnixStream) {
    drop(stream);
    std::process::exit(0);
}

fn answer(children: &Children, folder: &Path, request: Request) -> Answer {
    let said = match request {
        Request::Start { name, command, log } => children.start(name, command, &log),
        Request::Stop { name, seconds } => children.stop(&name, Duration::from_secs(seconds)),
        Request::Rename { from, to } => children.rename(&from, to),
        Request::Listens { name, port } => children.listens(&name, port),
        Request::List => return Answer::Processes(children.list()),
        Request::Ask { address } => {
            let asked = probe::ask(&address, &folder.join(AUTHORITY));
            return match asked {
                Ok((code, text)) => Answer::Answered(code, text),
                Err(error) => Answer::Failed(error),
            };
        }
        Request::Resolve => probe::resolve(),
        Request::End => {
            children.stop_all(LAST_PATIENCE);
            Ok(())
        }
    };
    said.map_or_else(Answer::Failed, |()| Answer::Done)
}

/// Waits for every process that ends: also for those whose parents ended before.
fn reap(children: Arc<Children>) -> io::Result<()> {
    let mut signals = Signals::new([SIGCHLD])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            children.reap();
        }
    });
    Ok(())
}
