//! Clusters that follow one channel behind each other: each waits until the signed reports of those before it say that they
//! kept the release.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

// The publisher of the tests of kdistro-verify, of which this needs a part.
#[path = "../../../verify/tests/store/content.rs"]
mod content;
#[path = "../../../verify/tests/store/image.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod image;
#[path = "../../../verify/tests/store/publisher.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod publisher;

#[cfg(feature = "aws")]
#[expect(dead_code, reason = "other tests use the rest")]
mod amazon;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use publisher::Publisher;

/// Where reports go, and are read.
const FOLDER: &str = "folder: ../reports";
/// A command that only the first release passes.
const FAILS: &str = "test $KDISTRO_RELEASE = 1-20-1";

/// Clusters that follow the channel of one store, which offers 1-20-1 and 1-20-3.
struct Clusters {
    publisher: Publisher,
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Clusters {
    fn new() -> Self {
        let (publisher, folder) = (Publisher::with_releases(), tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("keys")).unwrap();
        Self { publisher, folder, variables: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets a cluster follow the channel behind others; `reports` is where they go, and `end` how its command ends.
    fn follow(&self, cluster: &str, behind: &[&str], (reports, end): (&str, &str)) {
        self.follow_as((cluster, cluster), behind, (reports, end));
    }

    /// The same in a folder that is called otherwise.
    fn follow_as(
        &self,
        (folder, cluster): (&str, &str),
        behind: &[&str],
        (reports, end): (&str, &str),
    ) {
        let store = self.publisher.root();
        let forerunner = |name: &&str| format!("{{cluster: {name}, key: ../keys/{name}.pub}}");
        let behind: Vec<_> = behind.iter().map(forerunner).collect();
        let wave = match &*behind.join(", ") {
            "" => "{}".to_owned(),
            behind => format!("{{behind: [{behind}], reports: {{{reports}}}}}"),
        };
        let command =
            format!("echo $KDISTRO_RELEASE >>{}/done; {end}", self.path(folder).display());
        let text = format!(
            "cluster: {cluster}\nstore: {0}\nkey: {0}/keys/release.pub\nenvironment: test\nchannel: \"1-20\"\n\
             hear: {{poll: 1s}}\nwave: {wave}\ndriver: {{exec: {{command: [sh, -c, {command:?}]}}}}\n\
             report: {{{reports}}}\nstate: state\n",
            store.display(),
        );
        fs::create_dir(self.path(folder)).unwrap();
        fs::write(self.path(folder).join("rollout.yaml"), text).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "the program is tested")]
    fn program(&self, folder: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
        command.args(arguments).current_dir(self.path(folder)).stdin(Stdio::null());
        command.envs(self.variables.iter().cloned());
        command
    }

    /// Runs the program in a cluster's folder to its end; returns what it said.
    fn said(&self, folder: &str, code: i32, arguments: &[&str]) -> String {
        let output = self.program(folder, arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{folder}, {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn expect(&self, folder: &str, code: i32, expected: &str) {
        let said = self.said(folder, code, &["once"]);
        assert!(said.starts_with(expected), "{folder}: {said}\nexpected: {expected}");
    }

    /// Lets a cluster report, and the others know its key.
    fn know(&self, cluster: &str) {
        let key = self.said(cluster, 0, &["report"]);
        fs::write(self.path("keys").join(format!("{cluster}.pub")), key).unwrap();
    }

    /// Lets a cluster run the first release.
    fn begin(&self, cluster: &str) {
        self.said(cluster, 0, &["hold", "1-20-3", "--reason", "later"]);
        self.expect(cluster, 0, "1-20-1 runs");
        self.said(cluster, 0, &["resume", "1-20-3"]);
        self.know(cluster);
    }

    /// What a cluster's command was asked for.
    fn done(&self, cluster: &str) -> String {
        fs::read_to_string(self.path(cluster).join("done")).unwrap_or_default()
    }

    fn run(&self, cluster: &str) -> Running {
        let log = fs::File::create(self.path(cluster).join("log")).unwrap();
        let mut command = self.program(cluster, &["run"]);
        Running(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

/// Waits until a file says something, for a minute.
fn until(file: &Path, text: &str) {
    let said = || fs::read_to_string(file).unwrap_or_default();
    for _ in 0..600 {
        if said().contains(text) {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{text:?} is not in {:?}", said());
}

#[test]
fn a_cluster_goes_when_those_before_it_have_kept_the_release() {
    let clusters = Clusters::new();
    clusters.follow("first", &[], (FOLDER, "true"));
    clusters.follow("second", &["first"], (FOLDER, "true"));
    clusters.follow("third", &["first", "second"], (FOLDER, "true"));
    clusters.begin("first");
    let second = clusters.run("second");
    let log = clusters.path("second/log");
    until(&log, "1-20-3 waits: first, which goes before, runs 1-20-1\n");
    clusters.know("third");
    clusters.expect("third", 0, "1-20-3 waits: first, which goes before, runs 1-20-1; second, which goes before, has no report that can be believed: cannot read ");
    assert_eq!(clusters.done("second"), "");
    clusters.expect("first", 0, "1-20-3 runs");
    // It looks again by itself.
    until(&log, "1-20-3 runs");
    assert_eq!(clusters.done("second"), "1-20-3\n");
    drop(second);
    clusters.know("second");
    clusters.expect("third", 0, "1-20-3 runs");
    assert_eq!(clusters.done("third"), "1-20-3\n");
}

#[test]
fn a_release_that_failed_on_the_first_cluster_comes_to_no_other() {
    let clusters = Clusters::new();
    clusters.follow("first", &[], (FOLDER, FAILS));
    clusters.follow("second", &["first"], (FOLDER, "true"));
    clusters.begin("first");
    clusters.expect("first", 1, "1-20-3 failed and is held, the release before runs again");
    let waits = "1-20-3 waits: first, which goes before, holds it: it failed there\n";
    clusters.expect("second", 0, waits);
    let status = clusters.said("second", 0, &["status"]);
    assert!(status.contains(waits.trim_end()), "{status}");
    assert_eq!(clusters.done("second"), "");
    // Where nothing ran before, nothing is gone back to.
    clusters.follow("alone", &[], (FOLDER, "false"));
    clusters.follow("last", &["alone"], (FOLDER, "true"));
    clusters.know("alone");
    clusters.expect("last", 0, "1-20-3 waits: alone, which goes before, runs nothing yet");
    clusters.expect("alone", 1, "1-20-3 failed and is held, and nothing ran before it");
    clusters.expect("last", 0, "1-20-3 waits: alone, which goes before, holds it: it failed there");
}

#[test]
fn a_report_that_is_forged_unsigned_or_older_than_one_before_lets_nobody_go() {
    let clusters = Clusters::new();
    clusters.follow("first", &[], (FOLDER, FAILS));
    clusters.follow("second", &["first"], (FOLDER, "true"));
    clusters.begin("first");
    let report = clusters.path("reports/first.json");
    let right = fs::read(&report).unwrap();
    // Another of the same name keeps the release, and signs that by its own key.
    clusters.follow_as(("impostor", "first"), &[], (FOLDER, "true"));
    clusters.expect("impostor", 0, "1-20-3 runs");
    let forged = fs::read(&report).unwrap();
    assert_ne!(forged, right);
    let unbelieved = "1-20-3 waits: first, which goes before, has no report that can be believed: ";
    clusters.expect("second", 0, &format!("{unbelieved}not signed by the cluster's key: "));
    fs::write(&report, "{\"report\":\"{}\"}").unwrap();
    clusters.expect("second", 0, &format!("{unbelieved}not a signed report: "));
    fs::remove_file(&report).unwrap();
    clusters.expect("second", 0, &format!("{unbelieved}there is none\n"));
    // Its own, and then what it said before.
    fs::write(&report, &right).unwrap();
    clusters.expect("second", 0, "1-20-3 waits: first, which goes before, runs 1-20-1\n");
    clusters.expect("first", 1, "1-20-3 failed");
    clusters.expect("second", 0, "1-20-3 waits: first, which goes before, holds it");
    fs::write(&report, &right).unwrap();
    clusters.expect("second", 0, &format!("{unbelieved}it is report "));
    assert_eq!(clusters.done("second"), "");
}

#[test]
fn a_place_or_a_key_that_cannot_be_read_is_waited_for_and_ends_no_look() {
    let clusters = Clusters::new();
    clusters.follow("first", &[], (FOLDER, "true"));
    clusters.follow("second", &["first"], (FOLDER, "true"));
    clusters.know("first");
    clusters.expect("first", 0, "1-20-3 runs");
    let (reports, aside) = (clusters.path("reports"), clusters.path("aside"));
    let unbelieved = "1-20-3 waits: first, which goes before, has no report that can be believed: ";
    fs::rename(&reports, &aside).unwrap();
    fs::write(&reports, "no folder").unwrap();
    clusters.expect("second", 0, unbelieved);
    fs::remove_file(&reports).unwrap();
    fs::rename(&aside, &reports).unwrap();
    let key = clusters.path("keys/first.pub");
    let right = fs::read(&key).unwrap();
    fs::write(&key, "no key").unwrap();
    let named = clusters.path("second/../keys/first.pub");
    clusters.expect("second", 0, &format!("{unbelieved}{}: ", named.display()));
    fs::write(&key, right).unwrap();
    let seen = clusters.path("second/state/seen-reports.json");
    fs::create_dir(&seen).unwrap();
    clusters.expect("second", 0, &format!("{unbelieved}cannot read "));
    fs::remove_dir(&seen).unwrap();
    clusters.expect("second", 0, "1-20-3 runs");
    // Where no release could be next, nothing is read.
    fs::remove_file(&seen).unwrap();
    clusters.expect("second", 0, "1-20-3 runs, which is the newest of channel 1-20\n");
    assert!(!seen.exists());
}

#[cfg(feature = "aws")]
#[test]
fn reports_of_a_bucket_are_waited_for_too() {
    use kdistro_testbed::{Server, Testbed};

    let bed = Testbed::start(&[Server::Aws]).unwrap();
    let clusters = Clusters { variables: bed.environment().clone(), ..Clusters::new() };
    let bucket = format!("bucket: \"s3://reports/eu\", endpoint: \"{}\"", bed.aws());
    clusters.follow("second", &["first"], (&bucket, "true"));
    clusters.follow("first", &[], (&bucket, "true"));
    fs::copy(clusters.publisher.root().join("keys/release.pub"), clusters.path("keys/first.pub"))
        .unwrap();
    let unbelieved = "1-20-3 waits: first, which goes before, has no report that can be believed: ";
    clusters.expect("second", 0, &format!("{unbelieved}cannot reach `first.json` in the store: bucket `reports` answers NoSuchBucket"));
    amazon::cli(&bed, &["s3api", "create-bucket", "--bucket", "reports"]);
    clusters.expect("second", 0, &format!("{unbelieved}there is none\n"));
    clusters.know("first");
    clusters.expect("second", 0, "1-20-3 waits: first, which goes before, runs nothing yet\n");
    clusters.expect("first", 0, "1-20-3 runs");
    clusters.expect("second", 0, "1-20-3 runs");
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_bucket_is_waited_for_by_a_program_that_knows_none() {
    let clusters = Clusters::new();
    clusters.follow("second", &["first"], ("bucket: \"s3://reports/eu\"", "true"));
    let why = "has no report that can be believed: this kdistro-rollout was built without AWS";
    clusters.expect("second", 0, &format!("1-20-3 waits: first, which goes before, {why}"));
}
