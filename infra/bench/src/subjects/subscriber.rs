//! What a subscriber's program takes: from a message to a verified decision, while nothing happens, and to ask a fleet.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kdistro_aws::SnsAnnouncer;
use kdistro_border::{Announcer, KeyFile};
use kdistro_formats::Digest;
use kdistro_rollout::report::{Report, Reported, Verdict};
use kdistro_verify::hash;
use serde_json::json;

use crate::{
    error::{BenchError, at, doing},
    figures::Figure,
    measure::megabytes,
    peer,
    prepared::Prepared,
    servers::Topic,
};

/// The limits: seconds, and megabytes of memory.
const DECIDED: f64 = 1.0;
const PEAK: f64 = 50.0;
const IDLE: f64 = 25.0;
const ASKED: f64 = 1.0;
/// How much CPU is none, in a minute: what the kernel counts in is a hundredth of a second.
const NO_CPU: f64 = 0.05;
/// How long it is left alone: longer than it leaves the store alone of itself, so that it looks once meanwhile.
const ALONE: Duration = Duration::from_secs(330);
/// How long one waits for what should take a second.
const PATIENCE: Duration = Duration::from_mins(1);

const CLUSTERS: usize = 1000;

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let (folder, _) = prepared.scratch()?;
    let (mut decided, mut peak) = (Vec::new(), Vec::new());
    let (mut idle, mut cpu_a_minute) = (Vec::new(), Vec::new());
    for turn in 1..=count {
        let folder = folder.path().join(turn.to_string());
        fs::create_dir(&folder).map_err(at(&folder))?;
        let subscriber = Subscriber::start(&folder)?;
        decided.push(subscriber.decide()?);
        peak.push(subscriber.memory("VmHWM:")?);
        if turn == count {
            cpu_a_minute.push(subscriber.rest()?);
            idle.push(subscriber.memory("VmRSS:")?);
        }
    }
    let fleet = folder.path().join("fleet");
    let asked = ask_fleet(&fleet, count)?;
    let figure = |name: &str, unit, values: &[f64], most| {
        Figure::alone(format!("subscriber, {name}"), unit, values, most)
    };
    Ok(vec![
        figure("message to verified decision", "s", &decided, DECIDED),
        figure("memory at most until then", "MB", &peak, PEAK),
        figure("memory while nothing happens", "MB", &idle, IDLE),
        figure("CPU of such a minute", "s", &cpu_a_minute, NO_CPU),
        Figure::alone(format!("fleet of {CLUSTERS} clusters, asked"), "s", &asked, ASKED),
    ])
}

/// A process that ends with the measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A subscriber's program as most run it: it hears at a queue, and looks of itself as often as is the default.
struct Subscriber {
    // It ends before what it speaks to.
    program: Running,
    said: Receiver<String>,
    announcer: SnsAnnouncer,
    _topic: Topic,
    _server: Running,
}

impl Subscriber {
    /// Starts it. The release is published when it has looked, and is not told of yet.
    fn start(folder: &Path) -> Result<Self, BenchError> {
        let store = kdistro_testbed::releases().map_err(doing("cut two releases"))?.join("store");
        let served = folder.join("served");
        fs::create_dir(&served).map_err(at(&served))?;
        let (server, address) = serve(&served)?;
        let topic = Topic::start()?;
        let key = folder.join("release.pub");
        fs::copy(store.join("keys/release.pub"), &key).map_err(at(&key))?;
        let config = folder.join("rollout.yaml");
        let text = format!(
            "cluster: bench\nstore: {address}/store\nkey: release.pub\nenvironment: local\nchannel: 1-20\n\
             hear: {{{}}}\ntell: {{listen: \"127.0.0.1:0\"}}\npolicy: {{approval: manual}}\n\
             driver: {{exec: {{command: [\"false\"]}}}}\nstate: state\n",
            topic.heard()
        );
        fs::write(&config, text).map_err(at(&config))?;
        let mut command = topic.point(rollout()?);
        command.arg("run").arg("--config").arg(&config);
        let mut child = peer::start(&mut command)?;
        let (said, told) = (lines(child.stdout.take()), lines(child.stderr.take()));
        let program = Running(child);
        // There is no release yet: it says so, and waits for news.
        wait(&told, "error: ")?;
        symlink(&store, served.join("store")).map_err(at(&served))?;
        let announcer = topic.announcer()?;
        Ok(Self { program, said, announcer, _topic: topic, _server: server })
    }

    /// Lets it hear of the release and decide; how long that took, in seconds.
    fn decide(&self) -> Result<f64, BenchError> {
        let begun = Instant::now();
        announce(&self.announcer)?;
        wait(&self.said, "1-20-2")?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Leaves it alone; the CPU that it took in a minute of that, in seconds.
    fn rest(&self) -> Result<f64, BenchError> {
        let id = self.program.0.id();
        thread::sleep(Duration::from_secs(1));
        let before = cpu(id)?;
        thread::sleep(ALONE);
        Ok((cpu(id)? - before) * 60.0 / ALONE.as_secs_f64())
    }

    /// A quantity of its memory, in megabytes.
    fn memory(&self, field: &str) -> Result<f64, BenchError> {
        status(self.program.0.id(), field)
    }
}

/// The program beside this one.
fn rollout() -> Result<Command, BenchError> {
    let program = env::current_exe().map_err(at(Path::new("this program")))?;
    let program = program.with_file_name("kdistro-rollout");
    if program.is_file() {
        return Ok(peer::program(program));
    }
    let program = program.display();
    Err(BenchError::Unexpected(format!(
        "{program} is missing: build it as this program was built, with `-p kdistro-rollout`"
    )))
}

/// Serves a folder over http.
fn serve(folder: &Path) -> Result<(Running, String), BenchError> {
    let mut server = peer::program("python3");
    server.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(folder);
    server.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = server.spawn().map_err(at(Path::new("python3")))?;
    let out = lines(child.stdout.take());
    let server = Running(child);
    let said = wait(&out, "http://")?;
    let address = said.split(['(', ')']).nth(1).unwrap_or_default().trim_end_matches('/');
    Ok((server, address.to_owned()))
}

/// Says that the second release is there, as a publisher would.
fn announce(announcer: &dyn Announcer) -> Result<(), BenchError> {
    let document = |name: &str| json!({"uri": format!("https://releases.example/{name}"), "sha256": hash::sha256(b"")});
    let said = json!({
        "schema": "kdistro.dev/announcement/v1", "environment": "local", "channel": "1-20",
        "number": 2, "manifest": document("m"), "bundle": document("b"),
        "severity": "routine", "fixes": [],
    });
    let message = json!({"default": said.to_string(), "email": "news"}).to_string();
    let id = hash::sha256(b"1-20-2");
    let told = announcer.announce(&id, "kdistro 1-20-2 is released", &message, &BTreeMap::new());
    told.map(drop).map_err(doing("announce"))
}

/// The lines of a stream, as they come.
fn lines(stream: Option<impl std::io::Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in stream.map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            let Ok(line) = line else { return };
            // Whoever waited may have what he waited for.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Waits for a line that contains a text.
fn wait(lines: &Receiver<String>, text: &str) -> Result<String, BenchError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left);
        let line =
            line.map_err(|_| BenchError::Unexpected(format!("nothing was said of `{text}`")))?;
        if line.contains(text) {
            return Ok(line);
        }
    }
}

/// Source: `proc(5)`, `/proc/pid/status`, in KiB; returned in megabytes.
fn status(id: u32, field: &str) -> Result<f64, BenchError> {
    let path = PathBuf::from(format!("/proc/{id}/status"));
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| megabytes(kib << 10))
        .ok_or_else(|| BenchError::Unexpected(format!("{} has no {field}", path.display())))
}

/// Source: `proc(5)`, `/proc/pid/stat`, `utime` and `stime`; in seconds.
fn cpu(id: u32) -> Result<f64, BenchError> {
    let path = PathBuf::from(format!("/proc/{id}/stat"));
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    // The name before the last parenthesis may hold anything.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks: u32 = ticks
        .sum::<Result<_, _>>()
        .map_err(|_| BenchError::Unexpected(format!("{} is not readable", path.display())))?;
    Ok(f64::from(ticks) / 100.0)
}

/// Asks for all clusters of a fleet; how long that took, in seconds.
fn ask_fleet(folder: &Path, count: usize) -> Result<Vec<f64>, BenchError> {
    let [reports, keys] = ["reports", "keys"].map(|name| folder.join(name));
    for folder in [&reports, &keys] {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let key = KeyFile::generate(&folder.join("key")).map_err(doing("make a key"))?;
    let public = key.public_key_pem().map_err(doing("write the key"))?;
    for number in 0..CLUSTERS {
        let cluster = format!("cluster-{number}");
        let signed = report(&cluster)?.sign(&key).map_err(doing("sign a report"))?;
        let file = reports.join(format!("{cluster}.json"));
        fs::write(&file, signed).map_err(at(&file))?;
        let file = keys.join(format!("{cluster}.pub"));
        fs::write(&file, &public).map_err(at(&file))?;
    }
    let ask = || {
        let begun = Instant::now();
        let mut ask = rollout()?;
        let printed =
            peer::run(ask.arg("fleet").arg("--reports").arg(&reports).arg("--keys").arg(&keys))?;
        let seconds = begun.elapsed().as_secs_f64();
        let named = String::from_utf8_lossy(&printed).matches("cluster-").count();
        if named < CLUSTERS {
            return Err(BenchError::Unexpected(format!("{named} clusters were told of")));
        }
        Ok(seconds)
    };
    (0..count).map(|_| ask()).collect()
}

fn report(cluster: &str) -> Result<Report, BenchError> {
    let release = "1-20-1".parse().map_err(doing("read a release's name"))?;
    let runs = Reported {
        release,
        digest: Some(Digest::from_bytes([1; 32])),
        verdict: Verdict::Kept,
        since: Timestamp::UNIX_EPOCH,
    };
    Ok(Report {
        schema: "kdistro.dev/report/v1".to_owned(),
        cluster: cluster.to_owned(),
        number: 1,
        time: Timestamp::UNIX_EPOCH,
        releases: vec![runs],
    })
}
