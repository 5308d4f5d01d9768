//! Test programs that start themselves again, to be killed or to run out of disk.

use std::{
    env, fs,
    fs::File,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Reads what a child is told to do: the first line of its input.
pub(crate) fn order() -> Vec<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).unwrap();
    line.trim_end().split('\t').map(str::to_owned).collect()
}

/// Says how `unshare` lets this user mount a small disk. A test fails where none may be mounted.
#[track_caller]
pub(crate) fn small_disk() -> &'static str {
    // As root a mount namespace is enough; an ordinary user needs a user namespace too.
    let works = |option: &str| {
        Command::new("unshare").args([option, "true"]).status().is_ok_and(|s| s.success())
    };
    let option = ["-m", "-rm"].into_iter().find(|option| works(option));
    option.expect("a small disk is to be filled, and this user may not mount one (unshare -rm)")
}

/// Starts this program again as `child`, behind some other command if need be.
pub(crate) fn start(prefix: &[&str], words: &[&str]) -> Child {
    let program = env::current_exe().unwrap();
    let own = [program.to_str().unwrap(), "child", "--exact", "--ignored", "--nocapture"];
    let all = [prefix, &own].concat();
    let mut child = Command::new(all[0])
        .args(&all[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let line = format!("{}\n", words.join("\t"));
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    child
}

/// Waits for a child and returns its outcome.
pub(crate) fn outcome(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}: {text}", output.status);
    text.lines().find_map(|line| line.strip_prefix("outcome: ")).unwrap().to_owned()
}

/// Counts what lies in the own folder of a store or registry, but for the lock.
pub(crate) fn leftovers(workshop: &Path) -> usize {
    let Ok(entries) = fs::read_dir(workshop) else { return 0 };
    entries.filter(|entry| entry.as_ref().unwrap().file_name() != "lock").count()
}

/// A file of `size` bytes that takes no room of its own.
pub(crate) fn large_file(folder: &Path, name: &str, size: u64) -> PathBuf {
    let path = folder.join(name);
    let file = File::create(&path).unwrap();
    (&file).write_all(name.as_bytes()).unwrap();
    file.set_len(size).unwrap();
    path
}
