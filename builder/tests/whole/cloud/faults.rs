//! Requests that fail and processes that are killed: the next run completes, and nobody saw anything that was not there.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use kdistro_testbed::{Fault, Proxy};

use super::{Cloud, Environment};
use crate::{
    run::{Ran, run, verifier, with},
    shared::scratch,
    tiny::{CHANNEL, MANIFEST, Tiny, write},
};

/// A tiny world that publishes into a cloud, each time below another prefix of the same bucket.
struct Publishing {
    tiny: Tiny,
    cloud: Cloud,
    environment: Environment,
    key: std::path::PathBuf,
}

impl Publishing {
    fn start() -> Self {
        let cloud = Cloud::start(scratch("cloud"));
        let (tiny, environment) = (Tiny::ready(), cloud.environment("dev"));
        let key = tiny.path("user/dev.pub");
        let publishing = Self { tiny, cloud, environment, key };
        publishing.begin("keys", None);
        let shown = publishing.kdistro(&["key", "show", "--environment", "dev"]).expect(0);
        fs::write(&publishing.key, shown.out).unwrap();
        publishing
    }

    /// Forgets what was published, and publishes below another prefix from now on.
    fn begin(&self, prefix: &str, proxy: Option<&Proxy>) {
        for name in ["journals", "log-heads"] {
            let _ = fs::remove_dir_all(self.tiny.path("home").join(name));
        }
        let s3 = proxy.map_or(self.cloud.bed.aws().to_owned(), Proxy::url);
        let text = self.cloud.file(&self.environment, prefix, &s3);
        write(&self.tiny.path("repository/infra/environments/dev.yaml"), text);
    }

    fn kdistro(&self, arguments: &[&str]) -> Ran {
        let mut kdistro = self.tiny.kdistro(arguments);
        run(self.cloud.enter(&mut kdistro))
    }

    fn cut(&self) -> Ran {
        self.kdistro(&["cut", CHANNEL, "--environment", "dev"])
    }

    /// Requires that the next run completes, and that a stranger finds everything.
    #[track_caller]
    fn is_completed(&self, prefix: &str, after: &str) {
        let ran = self.cut();
        assert_eq!(ran.code, 0, "after {after}: {}", ran.err);
        let manifest = format!("{}/{MANIFEST}", self.cloud.address("dev", prefix));
        let verified = run(with(verifier(), ["--inputs", "--key"]).arg(&self.key).arg(manifest));
        assert_eq!(verified.code, 0, "after {after}: {}{}", verified.out, verified.err);
    }
}

/// How many requests a whole cut sends.
fn requests(publishing: &Publishing) -> u64 {
    let proxy = proxy(publishing, |_| Fault::None);
    publishing.begin("whole", Some(&proxy));
    publishing.is_completed("whole", "nothing");
    proxy.requests()
}

fn proxy(publishing: &Publishing, rule: impl Fn(u64) -> Fault + Send + Sync + 'static) -> Proxy {
    let upstream = publishing.cloud.bed.aws().trim_start_matches("http://");
    Proxy::start(upstream, move |request| rule(request.number)).unwrap()
}

#[test]
fn requests_that_fail_anywhere_are_made_up_for_by_the_next_run() {
    let publishing = Publishing::start();
    let all = requests(&publishing);
    assert!(all > 40, "a cut sends only {all} requests");
    let faults: [fn(u64) -> Fault; 3] = [
        |_| Fault::Reset,
        |_| Fault::ResetAfter,
        |_| Fault::Status(403, "<Error><Code>AccessDenied</Code></Error>".into()),
    ];
    let mut failed = 0;
    for (turn, first) in (1..all).step_by(15).enumerate() {
        let fault = faults[turn % faults.len()];
        // From here on, until the run gives up: one failure alone is repeated and not noticed.
        let proxy = proxy(
            &publishing,
            move |number| {
                if number >= first { fault(number) } else { Fault::None }
            },
        );
        let prefix = format!("fault-{first}");
        publishing.begin(&prefix, Some(&proxy));
        let ran = publishing.cut();
        assert!(ran.code == 2 || ran.code == 0, "request {first}: {}{}", ran.out, ran.err);
        if ran.code == 2 {
            failed += 1;
            assert!(ran.err.contains("dev-releases"), "the bucket is not named: {}", ran.err);
        }
        publishing.tiny.write(
            "infra/environments/dev.yaml",
            &publishing.cloud.file(&publishing.environment, &prefix, publishing.cloud.bed.aws()),
        );
        publishing.is_completed(&prefix, &format!("request {first}"));
    }
    assert!(failed > 4, "only {failed} runs failed");
}

#[test]
fn a_cut_into_a_cloud_that_is_killed_is_finished_by_the_next_run() {
    let publishing = Publishing::start();
    let mut killed = 0;
    for at in (0..).step_by(5) {
        let prefix = format!("killed-{at}");
        publishing.begin(&prefix, None);
        let arguments = ["cut", CHANNEL, "--environment", "dev", "--json"];
        let mut cut = publishing.tiny.kdistro(&arguments);
        let cut = publishing.cloud.enter(&mut cut);
        let mut child = cut.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let event = lines.map_while(Result::ok).filter(|line| line.starts_with('{')).nth(at);
        child.kill().unwrap();
        child.wait().unwrap();
        let Some(event) = event else { break };
        publishing.is_completed(&prefix, &event);
        killed += 1;
    }
    assert!(killed > 4, "only {killed} were killed");
    // Each was announced at least once, and always as itself.
    let heard = publishing.cloud.receive("dev");
    assert!(heard.iter().all(|heard| heard.number == 1), "{heard:?}");
}

#[test]
fn what_is_not_there_is_named_and_no_secret_is_said() {
    const SECRET: &str = "planted-secret-0001";
    let publishing = Publishing::start();
    let good = publishing.cloud.file(&publishing.environment, "x", publishing.cloud.bed.aws());
    for (from, to, expected) in [
        ("bucket: dev-releases", "bucket: nowhere", "nowhere"),
        (
            publishing.environment.topic.as_str(),
            "arn:aws:sns:us-east-1:000000000000:nowhere",
            "nowhere",
        ),
        (publishing.environment.release.as_str(), "alias/nowhere", "alias/nowhere"),
    ] {
        publishing.begin("x", None);
        publishing.tiny.write("infra/environments/dev.yaml", &good.replace(from, to));
        let mut cut = publishing.tiny.kdistro(&["cut", CHANNEL, "--environment", "dev", "--json"]);
        let cut = publishing.cloud.enter(&mut cut).env("AWS_SECRET_ACCESS_KEY", SECRET);
        let ran = run(cut);
        assert_eq!(ran.code, 2, "{to}: {}", ran.out);
        assert!(ran.out.contains(expected), "{to}: {}", ran.out);
        assert!(!ran.out.contains(SECRET) && !ran.err.contains(SECRET));
    }
    // Something is published with it, and it stands nowhere.
    publishing.begin("y", None);
    let mut cut = publishing.tiny.kdistro(&["cut", CHANNEL, "--environment", "dev", "--json"]);
    run(publishing.cloud.enter(&mut cut).env("AWS_SECRET_ACCESS_KEY", SECRET)).expect(0);
    assert!(is_free_of(&publishing.tiny.path("home/journals"), SECRET));
}

/// True when no file below a folder holds a text.
fn is_free_of(folder: &Path, text: &str) -> bool {
    let names = crate::shared::files(folder);
    names.iter().all(|name| {
        let bytes = fs::read(folder.join(name)).unwrap();
        !String::from_utf8_lossy(&bytes).contains(text)
    })
}
