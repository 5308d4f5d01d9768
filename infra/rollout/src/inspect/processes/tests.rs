use std::{
    ffi::OsStr,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    process::{Child, Command},
    thread,
    time::Duration,
};

use kdistro_verify::hash;
use rustix::fs::mkdirat;

use super::*;

/// A process that runs until this is dropped.
struct Runs(Child);

impl Runs {
    #[expect(clippy::disallowed_methods, reason = "a test starts a program")]
    fn start(folder: &Path, program: &OsStr, arguments: &[&OsStr]) -> Self {
        Self(Command::new(program).args(arguments).current_dir(folder).spawn().unwrap())
    }

    /// Copies a program that sleeps, by another one: what this one has open while another test begins a process cannot
    /// be run.
    fn sleep(folder: &Path, name: &OsStr) -> Self {
        let mut copy = Self::start(folder, "cp".as_ref(), &["/usr/bin/sleep".as_ref(), name]);
        assert!(copy.0.wait().unwrap().success());
        Self::start(folder, Path::new(".").join(name).as_ref(), &["600".as_ref()])
    }

    /// What is found of it among all that this process has started, once it is the program that it was started as.
    fn found(&self, is_asked: &dyn Fn(&Path) -> bool) -> Option<Process> {
        for _ in 0..250 {
            let (found, _) = processes(Some(std::process::id()), is_asked).unwrap();
            if let Some(found) = found.into_iter().find(|process| process.id == self.0.id()) {
                return Some(found);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_parent_is_read_behind_any_name() {
    assert_eq!(parent("12 (a) (b) 7) S 3 12 12 0"), Some(3));
    assert_eq!(parent("12 (a"), None);
}

#[test]
fn this_process_is_found_and_hashed_and_is_below_itself() {
    let own = std::env::current_exe().unwrap();
    // Other tests begin others below it, each of which is this program until it becomes another.
    let (found, _) = processes(Some(std::process::id()), &|path| path == own).unwrap();
    let found = found.iter().find(|process| process.id == std::process::id()).unwrap();
    let (digest, _) = hash::sha256_of(File::open(&own).unwrap()).unwrap();
    assert_eq!(found.digest, Ok(digest));
    assert!(processes(None, &|_| false).unwrap().1 > 1);
}

#[test]
fn a_name_that_is_not_text_hides_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::sleep(folder.path(), OsStr::from_bytes(b"kube\xfflet"));
    assert!(runs.found(&|path| path.starts_with(folder.path())).is_some());
    let seen =
        hidden(runs.0.id(), Errno::ACCESS, &|name| name.to_string_lossy() == "kube\u{fffd}let");
    assert_eq!(seen.unwrap().unwrap().id, runs.0.id());
}

#[test]
fn a_path_that_is_longer_than_the_kernel_tells_hides_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut deep = OwnedFd::from(File::open(folder.path()).unwrap());
    for _ in 0..18 {
        let name = "a".repeat(240);
        mkdirat(&deep, &name, Mode::RWXU).unwrap();
        deep = openat(&deep, &name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    let deep = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), deep.as_raw_fd()));
    let runs = Runs::sleep(&deep, "kubelet".as_ref());
    let found = runs.found(&|path| path == Path::new("kubelet")).unwrap();
    assert_eq!(found.path, Path::new("kubelet"));
    assert!(found.digest.is_err());
}

#[test]
fn a_process_whose_first_thread_ended_is_found_by_another() {
    let exits = "import ctypes, os, threading, time\n\
                 threading.Thread(target=time.sleep, args=(600,)).start()\n\
                 exit = {'x86_64': 60, 'aarch64': 93}[os.uname().machine]\n\
                 ctypes.CDLL(None).syscall(exit, 0)";
    let runs = Runs::start(Path::new("/"), "python3".as_ref(), &["-c".as_ref(), exits.as_ref()]);
    let exe = PathBuf::from(format!("/proc/{}/exe", runs.0.id()));
    while fs::read_link(&exe).is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
    let found = runs.found(&|path| path.to_string_lossy().contains("python")).unwrap();
    assert!(found.digest.is_ok());
}

#[test]
fn what_is_larger_than_any_program_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
        Runs::start(folder.path(), program.as_ref(), &arguments)
    };
    for (program, arguments) in
        [("cp", ["/usr/bin/sleep", "kubelet"]), ("truncate", ["--size=2G", "kubelet"])]
    {
        assert!(run(program, &arguments).0.wait().unwrap().success());
    }
    let found = run("./kubelet", &["600"]).found(&|path| path.starts_with(folder.path()));
    assert_eq!(found.unwrap().digest, Err(Unhashed::TooLarge(2 << 30)));
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn what_is_begun_in_a_namespace_from_outside_is_found_there() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: a namespace of processes needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
        Runs::start(folder.path(), program.as_ref(), &arguments)
    };
    assert!(run("cp", &["/usr/bin/sleep", "kubelet"]).0.wait().unwrap().success());
    // With the first one end all others there.
    let first = run("unshare", &["--pid", "--fork", "--kill-child", "--", "sleep", "600"]);
    let found = |name: &str| {
        for _ in 0..500 {
            let all = processes(Some(first.0.id()), &|path| path.ends_with(name)).unwrap().0;
            if let [process] = all.as_slice() {
                return process.id.to_string();
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{name} is not found");
    };
    let _entered =
        run("nsenter", &["--target", &found("sleep"), "--pid", "--", "./kubelet", "600"]);
    found("kubelet");
}
