//! The whole way of README's third door, as it stands there: releases are cut and announced over SNS; a cluster hears of
//! them by its queue, takes the good one, and goes back from the one whose API server is never healthy.
//!
//! Kubernetes is built three times here, and so it runs where it is asked for, as root:
//!
//! ```text
//! cargo build --workspace && cargo test -p kdistro-rollout --test third_door -- --ignored --nocapture
//! ```
#![cfg(test)]
#![expect(clippy::print_stdout, reason = "the transcript is what it is for")]
#![expect(clippy::disallowed_methods, reason = "programs are tested")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kdistro_devcluster::Cluster;
use kdistro_testbed::{Server, Testbed, copy_configuration, releases, tool};

/// How long all of it may take.
const LONGEST: Duration = Duration::from_hours(1);

/// The lines of README that somebody pastes into a shell.
fn lines_of_readme() -> &'static str {
    let readme = include_str!("../../../README.md");
    let (_, block) = readme.split_once("```sh\n").unwrap();
    block.split_once("```\n").unwrap().0
}

/// A shell whose programs end with the test, and a cluster that does.
struct Shell<'a> {
    shell: Child,
    clusters: &'a Path,
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.shell.id().cast_signed()) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.shell.wait();
        let _ = Cluster::end(self.clusters, "dev");
    }
}

#[test]
#[ignore = "it builds Kubernetes three times: some 20 minutes, as root"]
fn a_good_release_is_followed_and_a_bad_one_is_gone_back_from() {
    assert!(rustix::process::geteuid().is_root(), "a node needs root");
    let bed = Testbed::start(&[Server::Aws]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // What was built for other tests is not built again.
    let mut copied = Command::new("cp");
    copied.args(["--archive", "--reflink=auto"]).arg(releases().unwrap()).arg(path("home"));
    assert!(copied.status().unwrap().success());
    copy_configuration(&path("repository")).unwrap();

    let programs = Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")).parent().unwrap();
    assert!(programs.join("kdistro").is_file(), "build it first: cargo build --workspace");
    let own = [programs.to_owned(), tool("aws").unwrap().parent().unwrap().to_owned()];
    let others = env::var_os("PATH").unwrap_or_default();
    let search = env::join_paths(own.into_iter().chain(env::split_paths(&others))).unwrap();
    let log = fs::File::create(path("log")).unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-eux", "-o", "pipefail", "-c", lines_of_readme()]).process_group(0);
    shell.current_dir(path("repository")).env("PATH", search).envs(bed.environment());
    shell.env("KDISTRO_HOME", path("home")).stdin(Stdio::null());
    shell.stdout(log.try_clone().unwrap()).stderr(log);
    let (begin, clusters) = (Instant::now(), path("home/clusters"));
    let mut running = Shell { shell: shell.spawn().unwrap(), clusters: &clusters };
    let mut said = BufReader::new(fs::File::open(path("log")).unwrap());
    let mut transcript = String::new();
    let status = loop {
        let ended = running.shell.try_wait().unwrap();
        let mut line = String::new();
        while said.read_line(&mut line).unwrap() > 0 {
            print!("{:5.0} s  {line}", begin.elapsed().as_secs_f64());
            transcript.push_str(&line);
            line.clear();
        }
        if let Some(status) = ended {
            break status;
        }
        assert!(begin.elapsed() < LONGEST, "it takes too long");
        thread::sleep(Duration::from_millis(200));
    };
    let rolled = fs::read_to_string(path("repository/rollout.log")).unwrap();
    println!("{rolled}");
    assert!(status.success(), "{status}");
    let nodes = transcript.lines().filter(|line| line.starts_with("node1 "));
    let versions: Vec<_> = nodes.filter_map(|line| line.split_whitespace().last()).collect();
    let [first, second, third] = versions[..] else { panic!("{versions:?}") };
    assert!(versions.iter().all(|it| it.starts_with("v1.20.2+kd.t")), "{versions:?}");
    assert!(first != second && second == third, "{versions:?}");
    let page = fs::read_to_string(path("repository/status.html")).unwrap();
    assert!(page.contains("1-20-2") && page.contains("failed here"), "{page}");
    assert!(rolled.contains("1-20-2") && rolled.contains("checks passed, 0 failed"), "{rolled}");
}
