//! Roll-outs of a real control plane whose program is killed at every step, on the way there and on the way back, and
//! whose store goes away while programs are brought: they end well, on one release.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "killed/server.rs"]
mod server;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "cluster/started.rs"]
mod started;

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    process::{Child, Command, Output, Stdio},
    sync::{
        MutexGuard,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use kdistro_devcluster::{Cluster, ComponentName, Release};
use kdistro_formats::Digest;
use kdistro_rollout::history::{Event, History, Standing, What};

use server::StoreServer;
use started::{Started, brought};

/// How long a run may take until it is where it is to be killed.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long a step is under way when it is killed within it.
const MOMENT: Duration = Duration::from_millis(300);

/// A cluster of the first release, and its subscriber.
struct Scene {
    _turn: MutexGuard<'static, ()>,
    node: bool,
    started: Started,
    /// What the runs said that were killed.
    said: RefCell<Vec<String>>,
}

impl Scene {
    /// Starts it; `node` says whether the cluster gets a node.
    fn new(node: bool) -> Self {
        let turn = kdistro_testbed::turn();
        let started = Started::new(node);
        started.subscriber(&started.driver());
        started.cluster.kubectl(&["create", "configmap", "before"]).unwrap();
        Self { _turn: turn, node, started, said: RefCell::default() }
    }

    fn cluster(&self) -> &Cluster {
        &self.started.cluster
    }

    #[expect(clippy::disallowed_methods, reason = "the program is tested")]
    fn once(&self) -> Command {
        let mut once = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
        once.arg("once").current_dir(self.started.folder.path());
        once
    }

    /// Runs the program to its end.
    fn ended(&self) -> (i32, String) {
        let Output { status, stdout, stderr } = self.once().output().unwrap();
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// Runs the program, and kills it as soon as it says something, or the cluster is so; true where it was the cluster.
    fn kill_at(&self, words: &str, is_there: impl Fn() -> bool) -> bool {
        let mut child = self.once().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(&mut child);
        let (mut said, mut is_seen, end) = (String::new(), false, Instant::now() + PATIENCE);
        loop {
            match lines.recv_timeout(Duration::from_millis(2)) {
                Ok(line) => {
                    said += &(line + "\n");
                    if !said.contains(words) {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    assert!(Instant::now() < end, "{words} did not come: {said}");
                    // What a run before this one left says nothing of this one.
                    let is_at_work =
                        ["  began: ", "  resumed: "].iter().any(|it| said.contains(it));
                    is_seen = is_at_work && is_there();
                    if !is_seen {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => panic!("it ended before {words}: {said}"),
            }
            break;
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "it ended by itself: {said}");
        said.extend(lines.iter().map(|line| line + "\n"));
        let is_during = is_seen && !said.contains(words);
        self.said.borrow_mut().push(said);
        is_during
    }

    /// Kills it when it says something.
    fn kill_after(&self, words: &str) {
        self.kill_at(words, || false);
    }

    /// Kills it when the cluster is so, and, begun again, when it says something; true where it came to both.
    fn kill_during_or_after(&self, words: &str, is_there: impl Fn() -> bool) -> bool {
        let is_during = self.kill_at(words, is_there);
        if is_during {
            self.kill_after(words);
        }
        is_during
    }

    /// Kills it when it was at work for a moment, and, begun again, when it says something; true where it came to both.
    fn kill_within_and_after(&self, words: &str) -> bool {
        let begun = OnceCell::new();
        self.kill_during_or_after(words, || begun.get_or_init(Instant::now).elapsed() > MOMENT)
    }

    /// The second release, with what the cluster needs of it.
    fn second(&self) -> Release {
        brought(2, self.started.folder.path(), self.node)
    }

    /// The second release with a program that ends at once.
    fn second_without(&self, program: &str) -> Release {
        let second = self.second();
        let program = second.program(program);
        fs::remove_file(&program).unwrap();
        symlink("/bin/false", &program).unwrap();
        second
    }

    /// Whether a component runs something else than this release, or nothing.
    fn has_left(&self, component: ComponentName, release: &Release) -> bool {
        self.cluster().runs().unwrap().get(&component) != Some(&release.digest)
    }

    /// Whether an API server runs beside the one that it is to take over from, or waits to do so.
    fn has_two_api_servers(&self) -> bool {
        self.processes().contains("kube-apiserver.old")
    }

    /// Whether etcd's content is being saved.
    fn is_saving(&self) -> bool {
        let file = |name: &str| self.cluster().kubeconfig().with_file_name(name).exists();
        file("etcd.snapshot") || file("etcd.trial")
    }

    /// The names of what runs.
    fn processes(&self) -> BTreeSet<String> {
        let processes = self.cluster().processes().unwrap().into_iter();
        processes.filter(|it| it.ended.is_none()).map(|it| it.name).collect()
    }

    /// What is written down.
    fn history(&self) -> (Standing, Vec<Event>) {
        let history = History::open(&self.started.folder.path().join("state/history")).unwrap();
        (history.standing(0).unwrap(), history.events().unwrap())
    }

    /// All of this release runs and is well, and nothing else does; it is what is written down, and nothing is under way.
    fn assert_runs(&self, name: &str, digest: Digest) {
        let said = self.said.borrow();
        let status = self.cluster().status();
        assert!(status.is_healthy(), "{status:?}; {said:#?}");
        let runs = self.cluster().runs().unwrap();
        assert_eq!(runs.values().collect::<BTreeSet<_>>(), BTreeSet::from([&digest]), "{runs:?}");
        let components = self.cluster().components();
        assert_eq!(self.processes(), components.iter().map(ToString::to_string).collect());
        let state = Cluster::open(self.started.folder.path(), "dev").unwrap().state().clone();
        assert_eq!((state.release.name.as_str(), state.release.digest), (name, digest));
        self.cluster().kubectl(&["get", "configmap", "before"]).unwrap();
        let (standing, events) = self.history();
        let running = standing.running.unwrap();
        assert_eq!((running.name.to_string().as_str(), running.digest), (name, digest));
        assert_eq!(standing.under_way, None, "{events:#?}");
        assert!(standing.alarms.is_empty(), "{:?}", standing.alarms);
    }

    /// Runs the program to its end, after all of this many steps: the second release runs, and what was killed is gone on with.
    fn assert_arrives(&self, steps: usize) {
        let killed = self.said.borrow().len();
        let (code, said) = self.ended();
        assert!(code == 0 && said.starts_with("1-20-2 runs\n"), "{said}");
        self.assert_runs("1-20-2", self.second().digest);
        let (standing, events) = self.history();
        let found = [What::Began, What::Resumed, What::Step, What::Kept, What::Failed];
        let found = found.map(|what| count(&events, what));
        assert_eq!(found, [1, killed, steps, 1, 0], "{events:#?}");
        assert!(standing.held.is_empty(), "{:?}", standing.held);
    }

    /// The node is not left cordoned.
    fn assert_pods_may_come(&self) {
        let closed = ["get", "node", "node1", "--output=jsonpath={.spec.unschedulable}"];
        assert_eq!(self.cluster().kubectl(&closed).unwrap(), b"");
    }
}

/// The lines that a program says, as they come.
fn lines(child: &mut Child) -> Receiver<String> {
    let (to, lines) = mpsc::channel();
    let said = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
    lines
}

fn count(events: &[Event], what: What) -> usize {
    events.iter().filter(|event| event.what == what).count()
}

fn texts(events: &[Event], what: What) -> Vec<&str> {
    events.iter().filter(|event| event.what == what).map(|event| event.text.as_str()).collect()
}

#[test]
fn who_is_killed_during_and_after_each_step_arrives() {
    use ComponentName::{Etcd, KubeApiserver, KubeControllerManager, KubeScheduler};
    let scene = Scene::new(false);
    let one = &scene.started.release;
    let mut seen = 0;
    scene.kill_after("  began: 5 steps from 1-20-1");
    for (number, component) in [
        (1, None),
        (2, Some(Etcd)),
        (3, Some(KubeApiserver)),
        (4, Some(KubeControllerManager)),
        (5, Some(KubeScheduler)),
    ] {
        let words = format!("({number} of 5)");
        let is_during = scene.kill_during_or_after(&words, || match component {
            None => scene.is_saving(),
            Some(KubeApiserver) => scene.has_two_api_servers(),
            Some(component) => scene.has_left(component, one),
        });
        seen += u32::from(is_during);
    }
    // Whoever looks may be too late now and then.
    assert!(seen > 2, "no step was seen while it was done");
    // While it is looked whether all of it works.
    scene.kill_after("  resumed: 5 of 5 steps are done");
    scene.assert_arrives(5);
}

#[test]
fn who_is_killed_during_and_after_each_step_of_the_way_back_gets_back() {
    let scene = Scene::new(false);
    let one = scene.started.release.clone();
    let two = scene.second_without("kube-apiserver");

    let failed = "  failed: kube-apiserver: ";
    scene.kill_during_or_after(failed, || scene.has_two_api_servers());
    let goes_back = "  resumed: going back, because kube-apiserver: ";
    scene.kill_after(goes_back);
    scene.kill_after("  step: kube-apiserver is back (2 left)");
    assert!(scene.has_left(ComponentName::Etcd, &one), "etcd is back already");
    scene.kill_during_or_after("  step: etcd is back (1 left)", || {
        scene.has_left(ComponentName::Etcd, &two)
    });
    assert!(!scene.has_left(ComponentName::Etcd, &one));
    // While it is looked whether all of it works again, and between what is written at the end.
    scene.kill_after(goes_back);
    scene.kill_after("  held: kube-apiserver: ");
    let (code, said) = scene.ended();
    // Whoever kills may be too late for the last words.
    assert!(code == 1 || code == 0, "{said}");
    assert!(said.contains("the release before runs again") || said.contains("1-20-2 is held"));

    scene.assert_runs("1-20-1", one.digest);
    let (standing, events) = scene.history();
    let held: Vec<_> = standing.held.iter().map(|held| held.release.to_string()).collect();
    assert_eq!(held, ["1-20-2"]);
    assert!(standing.held[0].failed && standing.held[0].why.starts_with("kube-apiserver: "));
    let found = [What::Began, What::Failed, What::RolledBack, What::Kept];
    assert_eq!(found.map(|what| count(&events, what)), [1, 1, 1, 0], "{events:#?}");
    let steps = [
        "snapshot of etcd (1 of 5)",
        "etcd (2 of 5)",
        "kube-apiserver is back (2 left)",
        "etcd is back (1 left)",
    ];
    assert_eq!(texts(&events, What::Step), steps, "{events:#?}");
    // It is not tried again.
    let (code, said) = scene.ended();
    assert!(code == 0 && said.contains("1-20-2 is held: kube-apiserver: "), "{said}");
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn who_is_killed_within_and_after_each_step_of_a_node_arrives() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let scene = Scene::new(true);
    let mut seen = 0;
    for number in 1..=11 {
        seen += u32::from(scene.kill_within_and_after(&format!("({number} of 11)")));
    }
    assert!(seen > 5, "few steps were seen while they were done: {seen}");
    scene.kill_after("  resumed: 11 of 11 steps are done");
    scene.assert_arrives(11);
    scene.assert_pods_may_come();
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn who_is_killed_within_and_after_each_step_of_a_nodes_way_back_gets_back() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let scene = Scene::new(true);
    let one = scene.started.release.clone();
    scene.second_without("kubelet");

    scene.kill_after("  failed: kubelet: ");
    let undone = [
        "kubelet",
        "uncordon",
        "kube-proxy",
        "kube-scheduler",
        "kube-controller-manager",
        "kube-apiserver",
        "etcd",
    ];
    for step in undone {
        scene.kill_within_and_after(&format!("  step: {step} is back "));
    }
    let (code, said) = scene.ended();
    assert!(code == 1 && said.contains("the release before runs again"), "{said}");
    scene.assert_runs("1-20-1", one.digest);
    scene.assert_pods_may_come();
    let (standing, events) = scene.history();
    let held: Vec<_> = standing.held.iter().map(|held| held.release.to_string()).collect();
    assert_eq!(held, ["1-20-2"]);
    let found = [What::Began, What::Failed, What::RolledBack, What::Kept];
    assert_eq!(found.map(|what| count(&events, what)), [1, 1, 1, 0], "{events:#?}");
}

#[test]
fn a_store_that_goes_away_while_programs_are_brought_costs_a_look() {
    let scene = Scene::new(false);
    let one = scene.started.release.digest;
    let folder = scene.started.folder.path();
    let server = StoreServer::start(started::store());
    let file = folder.join("rollout.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let (before, address) = (started::store(), server.address());
    let text = text.replacen(&before.display().to_string(), &address, 1);
    fs::write(&file, text).unwrap();

    // In the middle of the second program.
    server.goes_away_after("kube-apiserver", 1_000_000);
    let (code, said) = scene.ended();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("error: ") && said.contains("kube-controller-manager"), "{said}");
    scene.assert_runs("1-20-1", one);
    let (standing, events) = scene.history();
    assert_eq!(count(&events, What::Began), 0, "{events:#?}");
    assert!(standing.held.is_empty() && !standing.looks.last[0].succeeded, "{standing:?}");
    // And as long as it is away.
    assert_eq!(scene.ended().0, 2);
    scene.assert_runs("1-20-1", one);

    server.comes_back();
    let (code, said) = scene.ended();
    assert!(code == 0 && said.starts_with("1-20-2 runs\n"), "{said}");
    let two = brought(2, folder, false);
    scene.assert_runs("1-20-2", two.digest);
    assert_eq!(
        server.asked_for("bin/linux/amd64/kube-apiserver"),
        1,
        "what is there is not brought again"
    );
}
