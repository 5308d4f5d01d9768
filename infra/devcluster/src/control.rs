//! What is said to the supervisor of a cluster: one line of JSON each way over a socket in the cluster's folder.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    net::Shutdown,
    os::{
        fd::AsRawFd,
        unix::{
            fs::FileTypeExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// The socket's name in a cluster's folder.
const SOCKET: &str = "control";

/// How long an answer may take: besides the time that a component is given to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the supervisor is asked to do.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Request {
    /// Start a process under a name that no running one has.
    Start {
        /// Its name.
        name: String,
        /// Program and arguments.
        command: Vec<String>,
        /// The file that what it writes is appended to.
        log: PathBuf,
    },
    /// End a process: asked first, killed after so many seconds.
    Stop {
        /// Its name.
        name: String,
        /// How long it may take.
        seconds: u64,
    },
    /// Give a process another name; what ran under that one must have ended.
    Rename {
        /// Its name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// Say whether a process listens on a port, where others may do so, too.
    Listens {
        /// Its name.
        name: String,
        /// The port.
        port: u16,
    },
    /// Say what runs.
    List,
    /// Ask an address inside of the cluster; https with the certificates of its authority.
    Ask {
        /// The address.
        address: String,
    },
    /// Ask the cluster's resolver for the API server's address.
    Resolve,
    /// End every process, and with them the cluster.
    End,
}

/// A process that was started.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its program and arguments.
    pub command: Vec<String>,
    /// Its id inside of the cluster.
    pub id: u32,
    /// How it ended; none while it runs.
    pub ended: Option<String>,
    /// Whether it ended by itself and is started again.
    pub comes_again: bool,
}

/// What the supervisor says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// What runs, and what ran last under its name.
    Processes(Vec<Process>),
    /// What an address answered: code and the beginning of the text.
    Answered(u16, String),
    /// It could not be done.
    Failed(String),
}

/// The socket's path, short enough for any folder: a path of a socket holds 107 bytes.
fn with_path<T>(folder: &Path, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = File::open(folder)?;
    use_it(Path::new(&format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())))
}

/// Listens in a cluster's folder.
pub(crate) fn listen(folder: &Path) -> io::Result<UnixListener> {
    with_path(folder, |path| UnixListener::bind(path))
}

/// Reaches the supervisor of the cluster in a folder.
pub(crate) fn connect(folder: &Path) -> io::Result<UnixStream> {
    with_path(folder, |path| {
        // Whoever is behind a link is somebody else.
        if !fs::symlink_metadata(path)?.file_type().is_socket() {
            return Err(io::Error::other(format!("{SOCKET} is no socket")));
        }
        UnixStream::connect(path)
    })
}

/// Asks the supervisor.
pub(crate) fn ask(folder: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = connect(folder)?;
    let given = match request {
        Request::Stop { seconds, .. } => Duration::from_secs(*seconds),
        _ => Duration::ZERO,
    };
    stream.set_read_timeout(Some(PATIENCE + given))?;
    write(&mut stream, request)?;
    stream.shutdown(Shutdown::Write)?;
    read(&stream)
}

/// Reads one line.
pub(crate) fn read<T: for<'a> Deserialize<'a>>(stream: &UnixStream) -> io::Result<T> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::from)
}

/// Writes one line.
pub(crate) fn write<T: Serialize>(stream: &mut UnixStream, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}
