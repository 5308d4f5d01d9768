//! Machines that cannot run a node: made here by taking away what one needs, each for one process.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::Value;

use super::{DEVCLUSTER, Home, command, is_root, release::published};

/// Takes the control groups away, in a mount namespace that ends with the program.
const WITHOUT_GROUPS: [&str; 5] =
    ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" \"$@\""];
/// Leaves the groups there, without the ones that limit memory.
const WITHOUT_MEMORY: [&str; 5] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" \"$@\"",
];
/// Root who may not set up networks, as in a container.
const WITHOUT_CAPABILITIES: [&str; 4] =
    ["setpriv", "--bounding-set=-net_admin,-mknod", "--inh-caps=-net_admin,-mknod", "--"];

/// Writes a program that stands before another one of the system and fails where it is told of something.
fn fails_at(folder: &Path, (program, real): (&str, &str), word: &str) {
    let said = "Operation not supported";
    let script = format!(
        "#!/bin/sh\ninput=\nif [ ! -t 0 ] && [ \"$1\" = --noflush ]; then input=$(cat); fi\n\
         case \"$* $input\" in *'{word}'*) echo {said} >&2; exit 2;; esac\n\
         printf '%s\\n' \"$input\" | exec {real} \"$@\"\n"
    );
    let path = folder.join(program);
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A path on which programs of a folder come first.
fn path(folder: &Path) -> String {
    format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", folder.display())
}

impl Home {
    /// The program where something is taken away first.
    fn without(&self, before: &[&str], arguments: &[&str]) -> Command {
        let (first, rest) = before.split_first().unwrap();
        let mut program = command(first);
        program.args(rest).arg(DEVCLUSTER).arg("--home").arg(self.path()).args(arguments);
        program
    }
}

fn said(command: &mut Command, code: i32) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    (out, err)
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn a_machine_that_cannot_run_a_node_runs_the_rest_and_says_why() {
    if !is_root() {
        println!("not tried: what root lacks needs root");
        return;
    }
    let home = Home::new(false);
    let [key, manifest] = home.source(published());
    let up = ["up", "--key", &key, "--release", &manifest];

    let (out, err) = said(&mut home.without(&WITHOUT_GROUPS, &up), 0);
    assert!(err.contains("missing: control groups, needed for the kubelet"), "{err}");
    assert!(out.contains("kube-scheduler          healthy"), "{out}");
    assert!(out.contains("node        none, as this machine lacks what one needs\n"), "{out}");
    assert!(out.contains("there are none in /sys/fs/cgroup\n            mount them "), "{out}");
    let status = home.status("dev", 0);
    assert_eq!(status["node"], false);
    assert_eq!(status["missing"][0]["feature"], "control groups");
    home.expect(0, &["down"]);

    let json = [&["--json"], &up[..]].concat();
    let (out, _) = said(&mut home.without(&WITHOUT_CAPABILITIES, &json), 0);
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["missing"][0]["feature"], "root's capabilities");
    assert!(status["missing"][0]["neededFor"].is_string());
    assert_eq!(status["missing"][0]["why"], "this process lacks CAP_NET_ADMIN, CAP_MKNOD");
    home.expect(0, &["down"]);

    // Nothing of a node is needed for the rest.
    let bin = tempfile::tempdir().unwrap();
    fails_at(bin.path(), ("ip", "/usr/sbin/ip"), "veth");
    let (out, _) = said(home.command().args(up).env("PATH", path(bin.path())), 0);
    assert!(out.contains("missing     veth devices, needed for the networks of node"), "{out}");
    assert!(home.kubectl("dev", &["get", "namespaces"]).contains("kube-system"));
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn who_requires_a_node_gets_one_or_nothing() {
    if !is_root() {
        println!("not tried: what root lacks needs root");
        return;
    }
    let home = Home::new(false);
    let [key, manifest] = home.source(published());
    let up = ["up", "--require-node", "--key", &key, "--release", &manifest];
    let run = ["run", "--key", &key, "--release", &manifest, "--", "true"];
    for arguments in [&up[..], &run] {
        let (_, err) = said(&mut home.without(&WITHOUT_MEMORY, arguments), 2);
        assert!(err.contains("cannot run a node; it lacks\n  control groups, "), "{err}");
        assert!(err.contains("they lack cpu, cpuset, memory, pids"), "{err}");
        assert!(err.ends_with("needs none of that: --control-plane-only\n"), "{err}");
    }
    // As in a container whose files lie in layers.
    let layered = "mkdir l u w m && mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none m \
                   && exec \"$0\" --home \"$PWD/m\" \"$@\"";
    let mut program = command("unshare");
    program.args(["--mount", "sh", "-c", layered, DEVCLUSTER]).args(up).current_dir(home.path());
    let (_, err) = said(&mut program, 2);
    assert!(err.contains("\n  overlayfs, needed for the file systems of containers: "), "{err}");
    assert!(!home.path().join("clusters").exists(), "something was started");
    assert_eq!(fs::read_dir(home.path().join("u")).unwrap().count(), 0, "something is left");

    let nobody = Home::new(true);
    let [key, manifest] = nobody.source(published());
    let up = ["up", "--require-node", "--key", &key, "--release", &manifest];
    assert!(nobody.expect(2, &up).contains("root, needed for containers: "));
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn what_only_few_pods_need_is_missing_and_not_required() {
    if !is_root() {
        println!("not tried: the packet filter needs root");
        return;
    }
    let bin = tempfile::tempdir().unwrap();
    let survey = |bin: &Path| -> Value {
        let folder = tempfile::tempdir().unwrap();
        let mut unshare = command("unshare");
        unshare.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", DEVCLUSTER]);
        unshare.args(["survey", "--folder"]).arg(folder.path()).env("PATH", path(bin));
        serde_json::from_str(&said(&mut unshare, 0).0).unwrap()
    };
    assert_eq!(survey(bin.path()), Value::Array(Vec::new()), "this machine runs nodes");
    for (word, name, required) in
        [("-m recent", "iptables' recent", false), ("DNAT", "iptables' DNAT", true)]
    {
        fails_at(bin.path(), ("iptables-restore", "/usr/sbin/iptables-restore"), word);
        let missing = survey(bin.path());
        assert_eq!(missing.as_array().unwrap().len(), 1, "{missing:#}");
        assert_eq!(
            (&missing[0]["feature"], &missing[0]["required"]),
            (&name.into(), &required.into())
        );
    }
}
