//! Starts real containers: each case as the calling user, and when that is root, again as an ordinary user.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "tests, which clippy does not recognise in a program with its own main"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kdistro_container::{
    Finished, Limits, Mount, StepError, StepSpec, attempts_without_filter, enter_if_helper,
    host_report, probe, run, run_with,
};
use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

type Case = fn() -> Result<(), String>;

/// First argument of this program when it starts itself as an ordinary user, to run one case.
const AS_USER: &str = "as-user";
/// First argument of this program when it starts itself to be killed while a step runs.
const SLEEPER: &str = "sleeper";
const NOBODY: u32 = 65534;

const CASES: &[(&str, Case)] = &[
    ("a_dynamic_program_runs_in_an_empty_root", dynamic_program),
    ("a_step_sees_a_fixed_user_host_and_environment", fixed_surroundings),
    ("every_attempt_to_get_out_is_refused", every_attempt),
    ("without_the_filter_some_attempts_succeed", without_filter),
    ("raw_system_calls_are_refused", raw_calls),
    ("the_reason_of_a_failure_is_named", reasons),
    ("a_step_that_writes_too_much_is_stopped_at_its_log_limit", log_limit),
    ("mounts_find_their_place_and_change_nothing_on_the_host", mounts),
    ("outputs_belong_to_the_caller_and_can_be_removed", outputs),
    ("several_steps_run_at_once", several),
    ("killing_the_caller_leaves_nothing_behind", kill_caller),
    ("killing_the_supervisor_leaves_no_process_behind", kill_supervisor),
    ("a_helper_that_only_its_owner_can_read_works", closed_helper),
    ("an_empty_step_is_quick", empty_step),
];

fn main() -> ExitCode {
    enter_if_helper();
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, AS_USER, name] => return one(name),
        [_, SLEEPER, mark] => return sleeper(mark),
        _ => {}
    }
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}

fn one(name: &str) -> ExitCode {
    let case = CASES.iter().find(|case| case.0 == name).unwrap();
    match case.1() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "{reason}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Vec<Trial> {
    let own = if is_root() { "root" } else { "user" };
    let mut trials = Vec::new();
    for &(name, case) in CASES {
        trials.push(Trial::test(format!("{own}::{name}"), move || case().map_err(Failed::from)));
        if is_root() {
            trials.push(Trial::test(format!("user::{name}"), move || {
                as_user(name).map_err(Failed::from)
            }));
        }
    }
    trials
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

fn as_user(name: &str) -> Result<(), String> {
    let mut again = Command::new("/proc/self/exe");
    let output = again
        .args([AS_USER, name])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A home folder that nobody else can enter, as root's is.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "out", "scratch"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A step that runs a shell script with this host's own programs.
    fn shell(&self, script: &str) -> StepSpec {
        let mounts =
            ["/bin", "/lib", "/lib64", "/usr"].into_iter().filter(|path| Path::new(path).exists());
        StepSpec {
            root: self.path("root"),
            mounts: mounts.map(|path| Mount { host: path.into(), path: path.into() }).collect(),
            argv: ["/bin/sh", "-c", script].map(String::from).to_vec(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            directory: "/".to_owned(),
            limits: Limits {
                seconds: 60,
                memory_bytes: 1 << 30,
                processes: 64,
                disk_bytes: 64 << 20,
                log_bytes: 1 << 20,
            },
            out: self.path("out"),
            scratch: self.path("scratch"),
            log: self.path("log"),
        }
    }

    fn run(&self, script: &str) -> Result<Finished, StepError> {
        run(&self.shell(script))
    }
}

fn ensure(is_so: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what()) }
}

fn dynamic_program() -> Result<(), String> {
    let home = Home::new();
    let finished =
        home.run("echo hi > /out/x").map_err(|error| format!("{error} {}", home.log()))?;
    ensure(fs::read_to_string(home.path("out/x")).unwrap() == "hi\n", || "no output".to_owned())?;
    ensure(finished.cpu > Duration::ZERO && finished.wall >= finished.cpu / 4, || {
        format!("{finished:?}")
    })?;
    let gaps: Vec<_> = finished.isolation.gaps().map(|fact| fact.name.as_str()).collect();
    ensure(gaps.is_empty() || (!is_root() && gaps == ["memory limit"]), || {
        format!("not enforced: {gaps:?}")
    })
}

fn fixed_surroundings() -> Result<(), String> {
    let home = Home::new();
    let mut spec = home.shell("id; hostname; umask; pwd; tr '\\0' ' ' </proc/self/environ; echo; cat /proc/self/loginuid >/dev/null; ls /dev; ls -A /tmp /out; ulimit -c");
    spec.env =
        ["Z", "PATH", "A", "M"].map(|name| (name.to_owned(), "/usr/bin:/bin".to_owned())).into();
    spec.directory = "/usr".into();
    run(&spec).map_err(|error| format!("{error} {}", home.log()))?;
    let expected = "uid=1000 gid=1000 groups=1000\nkdistro\n0022\n/usr\nA=/usr/bin:/bin M=/usr/bin:/bin PATH=/usr/bin:/bin Z=/usr/bin:/bin \nfd\nfull\nnull\nrandom\nstderr\nstdin\nstdout\nurandom\nzero\n/out:\n\n/tmp:\n0\n";
    // A user who has more groups than one keeps them: they read as the overflow group.
    let log = home.log().replace("groups=1000,65534", "groups=1000").replace(" PWD=/usr", "");
    ensure(log == expected, || format!("{log:?}\n{expected:?}"))
}

fn every_attempt() -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let results = probe(folder.path()).map_err(|error| error.to_string())?;
    let is_memory_limited = host_report(folder.path())
        .iter()
        .any(|fact| fact.name == "memory limit" && fact.state == kdistro_container::State::Ok);
    ensure(is_memory_limited || !is_root(), || {
        "as root, memory must be limited on this host".to_owned()
    })?;
    let open: Vec<_> = results
        .iter()
        .filter(|result| {
            !result.refused && (is_memory_limited || result.attempt != "use up memory")
        })
        .collect();
    ensure(open.is_empty(), || format!("{open:#?}"))?;
    ensure(results.len() > 60, || format!("only {} attempts were made", results.len()))?;
    ensure(fs::read_dir(folder.path()).unwrap().next().is_none(), || {
        "the probe left something behind".to_owned()
    })
}

fn without_filter() -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let results = attempts_without_filter(folder.path()).map_err(|error| error.to_string())?;
    for attempt in [
        "make an internet socket",
        "trace the first process",
        "use the kernel's key store",
        "make a user namespace",
        "mount a file system",
        "change the root by chroot",
    ] {
        let found = results.iter().find(|result| result.attempt == attempt).ok_or(attempt)?;
        ensure(!found.refused, || {
            format!(
                "{attempt} is refused even without the filter, so its test shows nothing: {}",
                found.how
            )
        })?;
    }
    // What the namespaces hold by themselves.
    for attempt in [
        "connect to a service of this host",
        "read a key file of this host",
        "write into /src",
        "signal a process of this host",
    ] {
        let found = results.iter().find(|result| result.attempt == attempt).ok_or(attempt)?;
        ensure(found.refused, || format!("{attempt} works without the filter"))?;
    }
    Ok(())
}

/// Calls that safe Rust cannot make; perl can make any. Debian always has it.
fn raw_calls() -> Result<(), String> {
    let (refused, unknown) = (libc::EPERM, libc::ENOSYS);
    let calls = [
        ("bpf", libc::SYS_bpf, "0, 0, 0", refused),
        ("userfaultfd", libc::SYS_userfaultfd, "0", refused),
        ("perf_event_open", libc::SYS_perf_event_open, "0, 0, -1, -1, 0", refused),
        ("keyctl", libc::SYS_keyctl, "0, -3, 1", refused),
        ("add_key", libc::SYS_add_key, "0, 0, 0, 0, 0", refused),
        ("setns", libc::SYS_setns, "0, 0", refused),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, "-1, 0, 0", refused),
        ("clone with a new user namespace", libc::SYS_clone, "0x10000011, 0, 0, 0, 0", refused),
        ("clone3", libc::SYS_clone3, "0, 0", unknown),
        ("io_uring_setup", libc::SYS_io_uring_setup, "1, 0", unknown),
        #[cfg(target_arch = "x86_64")]
        ("x32 getpid", 0x4000_0000 + libc::SYS_getpid, "0", unknown),
    ];
    let lines = calls.map(|(_, number, arguments, _)| format!("$! = 0; my $r = syscall({number}, {arguments}); print $r == -1 ? $! + 0 : \"open\", \"\\n\";"));
    let home = Home::new();
    let mut spec = home.shell("");
    spec.argv = ["/usr/bin/perl", "-e", &lines.concat()].map(String::from).to_vec();
    run(&spec).map_err(|error| format!("{error} {}", home.log()))?;
    let log = home.log();
    let answers: Vec<&str> = log.lines().collect();
    ensure(answers.len() == calls.len(), || log.clone())?;
    for ((name, _, _, errno), answer) in calls.iter().zip(answers) {
        ensure(answer == errno.to_string(), || {
            format!("{name}: {answer}, expected error {errno}")
        })?;
    }
    Ok(())
}

fn reasons() -> Result<(), String> {
    let home = Home::new();
    let fails = |script: &str, expected: StepError| match home.run(script) {
        Err(error) if error == expected => Ok(()),
        other => Err(format!("{script}: {other:?}, expected {expected:?}")),
    };
    fails("exit 3", StepError::Exited { code: 3 })?;
    fails("kill -SEGV $$", StepError::Signal { signal: 11, name: "SIGSEGV".to_owned() })?;
    fails("kill -TERM $$", StepError::Signal { signal: 15, name: "SIGTERM".to_owned() })?;
    fails("ln -s /etc/passwd /out/passwd", StepError::EscapingOutput { path: "passwd".to_owned(), reason: "is a symbolic link to /etc/passwd, which leaves /out (a link must be relative: /out moves)".to_owned() })?;
    fs::remove_file(home.path("out/passwd")).unwrap();

    let cannot_start = |change: fn(&mut StepSpec), expected: &str| {
        let mut spec = home.shell("true");
        change(&mut spec);
        match run(&spec) {
            Err(error @ StepError::CannotStart { .. }) if error.to_string().contains(expected) => {
                Ok(())
            }
            other => Err(format!("{other:?}, expected {expected}")),
        }
    };
    cannot_start(
        |spec| spec.argv = vec!["/go/bin/go".to_owned()],
        "cannot start /go/bin/go: No such file or directory",
    )?;
    cannot_start(
        |spec| spec.directory = "/nowhere".into(),
        "there is no working directory /nowhere",
    )?;
    cannot_start(
        |spec| spec.root = "/nowhere/root".into(),
        "/nowhere/root: No such file or directory",
    )?;
    cannot_start(
        |spec| spec.mounts.push(Mount { host: "/nowhere/m".into(), path: "/m".into() }),
        "/nowhere/m: No such file or directory",
    )?;
    cannot_start(
        |spec| spec.out = "/nowhere/out".into(),
        "/nowhere/out: No such file or directory",
    )?;
    cannot_start(
        |spec| spec.mounts.push(Mount { host: "/usr".into(), path: "/usr".into() }),
        "is named twice",
    )?;

    let mut spec = home.shell("sleep 20");
    spec.limits.seconds = 1;
    let begun = Instant::now();
    ensure(run(&spec).err() == Some(StepError::TimeLimit { limit: 1 }), || {
        "no time limit".to_owned()
    })?;
    ensure(begun.elapsed() < Duration::from_secs(5), || {
        format!("{:?} is no second", begun.elapsed())
    })
}

fn log_limit() -> Result<(), String> {
    let home = Home::new();
    let mut spec = home.shell("while :; do echo line; done");
    spec.limits.log_bytes = 10_000;
    ensure(run(&spec).err() == Some(StepError::LogLimit { limit: 10_000 }), || {
        "no log limit".to_owned()
    })?;
    ensure(home.log().len() == 10_000 && home.log().starts_with("line\nline\n"), || {
        format!("{} bytes", home.log().len())
    })?;
    // A step that just fits is none that writes too much.
    spec.argv = ["/bin/sh", "-c", "head -c 10000 /dev/zero"].map(String::from).to_vec();
    run(&spec).map(drop).map_err(|error| error.to_string())
}

fn mounts() -> Result<(), String> {
    let home = Home::new();
    let (root, go) = (home.path("root"), home.path("go"));
    for folder in [root.join("etc/ssl"), root.join("opt"), go.join("bin")] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(root.join("etc/passwd"), "of the root").unwrap();
    fs::write(root.join("etc/group"), "of the root").unwrap();
    symlink("opt", root.join("link")).unwrap();
    fs::write(go.join("bin/go"), "a tool").unwrap();
    fs::write(home.path("passwd"), "declared").unwrap();
    let script = "cat /etc/passwd /etc/group /go/bin/go /etc/deep/er/passwd /opt/bin/go /link/bin/go /go/pkg/bin/go; ls / /etc /go; ! echo x > /etc/new; ! echo x > /go/new; ! echo x > /etc/passwd";
    let mut spec = home.shell(script);
    let mount = |name: &str, path: &str| Mount { host: home.path(name), path: path.to_owned() };
    spec.mounts.extend([
        mount("passwd", "/etc/passwd"),
        mount("passwd", "/etc/deep/er/passwd"),
        mount("go", "/go"),
        mount("go", "/opt"),
        mount("go", "/go/pkg"),
    ]);
    run(&spec).map_err(|error| format!("{error} {}", home.log()))?;
    let log = home.log();
    let expected = "declaredof the roota tooldeclareda toola toola tool/:\nbin\ndev\netc\ngo\nlib\nlib64\nlink\nopt\nout\nproc\ntmp\nusr\n\n/etc:\ndeep\ngroup\npasswd\nssl\n\n/go:\nbin\npkg\n";
    ensure(log.starts_with(expected), || format!("{log}\nexpected {expected}"))?;
    let names = |path: &Path| {
        fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect::<std::collections::BTreeSet<_>>()
    };
    ensure(
        names(&go).len() == 1 && names(&root).len() == 3 && names(&root.join("etc")).len() == 3,
        || "a host folder was changed".to_owned(),
    )?;
    spec.mounts.push(mount("go", "/link/below"));
    ensure(matches!(run(&spec), Err(StepError::CannotStart { .. })), || {
        "mounted through a link".to_owned()
    })
}

fn outputs() -> Result<(), String> {
    let home = Home::new();
    home.run("mkdir -p /out/a/b /tmp/mod/x && echo 1 > /out/a/b/f && echo 2 > /tmp/mod/x/f && ln -s b/f /out/a/l && chmod 500 /out/a/b && chmod -R a-w /tmp/mod && chmod 000 /tmp/mod/x")
        .map_err(|error| format!("{error} {}", home.log()))?;
    let own = nix::unistd::Uid::effective().as_raw();
    for path in ["out", "out/a", "out/a/b", "out/a/b/f", "out/a/l"] {
        let found = fs::symlink_metadata(home.path(path)).unwrap();
        ensure(found.uid() == own, || format!("{path} belongs to {}", found.uid()))?;
    }
    ensure(fs::read_to_string(home.path("out/a/l")).unwrap() == "1\n", || {
        "wrong content".to_owned()
    })?;
    for path in ["out", "scratch"] {
        fs::remove_dir_all(home.path(path)).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

fn several() -> Result<(), String> {
    let step = |number: usize| {
        let home = Home::new();
        home.run(&format!("echo {number} > /out/n; sleep 0.2; cat /out/n"))
            .map_err(|error| error.to_string())?;
        ensure(home.log() == format!("{number}\n"), || {
            format!("step {number} wrote {:?}", home.log())
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || step(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
}

/// Runs a step that sleeps until this process is killed.
fn sleeper(mark: &str) -> ExitCode {
    let home = Home::new();
    // Told before, because there is no after.
    let _ = writeln!(std::io::stdout(), "{}", home.folder.path().display());
    let ended = home.run(&format!("(sleep 99; echo {mark}) & exec sleep 99 {mark}s"));
    ExitCode::from(u8::from(ended.is_ok()))
}

/// Process ids on this host whose command line holds a text.
fn with_command(text: &str) -> Vec<i32> {
    let holds = |path: &Path| {
        fs::read(path.join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| holds(&entry.path()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Starts a step from a process of its own, kills what `victim` picks (given that process's id), and expects that
/// nothing of the step lives on.
fn kill(victim: fn(i32) -> i32) -> Result<i32, String> {
    // A number, because the step's sleep reads it; no other test has this one.
    let mark = format!("{}", 1_000_000 + std::process::id());
    let mut caller = Command::new("/proc/self/exe")
        .args([SLEEPER, &mark])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let id = i32::try_from(caller.id()).unwrap();
    // The caller, the shell that waits in the background, and the sleep; more while they are being started.
    let has_started = wait_until(|| with_command(&format!("99\0{mark}s")).len() == 1);
    let victim = if has_started { victim(id) } else { id };
    let ended = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(victim),
        nix::sys::signal::Signal::SIGKILL,
    );
    caller.wait().unwrap();
    let is_gone = wait_until(|| with_command(&mark).is_empty());
    let mut home = String::new();
    std::io::Read::read_to_string(&mut caller.stdout.take().unwrap(), &mut home).unwrap();
    let cleaned = fs::remove_dir_all(home.trim());
    ensure(has_started, || "the step did not start".to_owned())?;
    ended.map_err(|error| error.to_string())?;
    ensure(is_gone, || format!("still there: {:?}", with_command(&mark)))?;
    // Already removed where the caller lived on to do it.
    let is_removed = cleaned.is_ok() || !Path::new(home.trim()).exists();
    ensure(is_removed, || format!("{cleaned:?}"))?;
    Ok(victim)
}

fn child(process: i32) -> i32 {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    list.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

/// Folders of control groups that steps of this process would have.
fn groups_of(supervisor: i32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == format!("kdistro-step-{supervisor}").as_str() {
                    found.push(entry.path());
                }
                waiting.push(entry.path());
            }
        }
    }
    found
}

fn kill_caller() -> Result<(), String> {
    static SUPERVISOR: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    kill(|caller| {
        SUPERVISOR.store(child(caller), std::sync::atomic::Ordering::Relaxed);
        caller
    })?;
    let supervisor = SUPERVISOR.load(std::sync::atomic::Ordering::Relaxed);
    let is_gone = wait_until(|| !Path::new(&format!("/proc/{supervisor}")).exists());
    ensure(is_gone, || format!("the supervisor {supervisor} lives on"))?;
    ensure(groups_of(supervisor).is_empty(), || format!("{:?}", groups_of(supervisor)))
}

fn kill_supervisor() -> Result<(), String> {
    let supervisor = kill(child)?;
    // Nobody was left to remove its groups: the next step does, once the kernel has let go of those who died in them
    // (it forgets their command lines earlier).
    let home = Home::new();
    let is_swept = wait_until(|| home.run("true").is_ok() && groups_of(supervisor).is_empty());
    ensure(is_swept, || format!("{:?}", groups_of(supervisor)))
}

fn closed_helper() -> Result<(), String> {
    let home = Home::new();
    let helper = home.path("helper");
    fs::copy("/proc/self/exe", &helper).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o700)).unwrap();
    run_with(&helper, &home.shell("echo hi > /out/x"))
        .map(drop)
        .map_err(|error| format!("{error} {}", home.log()))
}

fn empty_step() -> Result<(), String> {
    let home = Home::new();
    let mut times = Vec::new();
    for _ in 0..21 {
        times.push(home.run("exit 0").map_err(|error| error.to_string())?.wall);
    }
    times.sort();
    let median = times[times.len() / 2];
    let _ = writeln!(
        std::io::stderr(),
        "an empty step takes {median:?} (median of {}, a shell in it, debug build)",
        times.len()
    );
    // The figure itself belongs to the benchmark; this only catches a slip by an order of magnitude.
    ensure(median < Duration::from_millis(500), || format!("{median:?}"))
}
