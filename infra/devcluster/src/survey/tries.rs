//! What is tried inside of new namespaces, as a cluster's first process and its containers do it.

use std::{
    ffi::CString,
    fs,
    io::{self, Write},
    path::Path,
};

use rustix::mount::{MountFlags, mount};

use super::{Feature, Missing, packets, said};
use crate::{host, supervisor};

type Try = fn(&Path) -> Result<(), String>;

/// What containers need of the kernel.
///
/// Source: containerd, `oci/mounts.go`, and its CRI plugin, "sandbox"; Kubernetes, `pkg/kubelet/oom/oom_watcher_linux.go`.
const TRIES: [(Feature, Try); 8] = [
    (
        Feature {
            name: "private mounts",
            needed_for: "folders of its own for each node, and volumes in pods",
            help: "run this where root may mount: outside of a container, or in a privileged one",
            required: true,
        },
        supervisor::mounts,
    ),
    (
        Feature {
            name: "sysctls",
            needed_for: "the kubelet, which insists on some and is shown copies",
            help: "run this where root may mount over /proc/sys: outside of a container, or in a privileged one",
            required: true,
        },
        supervisor::settings,
    ),
    (
        Feature {
            name: "overlayfs",
            needed_for: "the file systems of containers",
            help: "`modprobe overlay`; where the folder of clusters lies on an overlayfs itself, name another with --home",
            required: true,
        },
        overlay,
    ),
    (
        Feature {
            name: "veth devices",
            needed_for: "the networks of node and pods",
            help: "`modprobe veth`; in a container: the capability CAP_NET_ADMIN",
            required: true,
        },
        |_| supervisor::network(true),
    ),
    (
        Feature {
            name: "packet forwarding",
            needed_for: "the way from pods to Services and back",
            help: "make /proc/sys/net/ipv4/ip_forward writable: run this outside of a container, or in a privileged one",
            required: true,
        },
        |_| supervisor::forwarding(),
    ),
    (
        Feature {
            name: "message queues",
            needed_for: "containers, each of which has /dev/mqueue",
            help: "boot a kernel with CONFIG_POSIX_MQUEUE",
            required: true,
        },
        queues,
    ),
    (
        Feature {
            name: "namespaces of host names and IPC",
            needed_for: "pods",
            help: "boot a kernel with CONFIG_UTS_NS and CONFIG_IPC_NS",
            required: true,
        },
        |_| new_namespaces(),
    ),
    (
        Feature {
            name: "/dev/kmsg",
            needed_for: "the kubelet, which reads there who was killed for want of memory",
            help: "give this container the device (`--device /dev/kmsg`)",
            required: true,
        },
        |_| fs::File::open("/dev/kmsg").map(drop).map_err(|error| error.to_string()),
    ),
];

/// Tries everything in the namespaces that this process is in and that are to end with it; `folder` lies where clusters
/// lie. Writes what is missing as JSON.
///
/// # Errors
///
/// When it cannot be written.
pub fn look(folder: &Path, out: &mut dyn Write) -> io::Result<()> {
    let mut missing: Vec<Missing> = TRIES
        .iter()
        .filter_map(|(feature, it)| it(folder).err().map(|why| feature.missing(&why)))
        .collect();
    missing.extend(packets::missing());
    serde_json::to_writer(out, &missing).map_err(io::Error::from)
}

/// Lays one folder over another, both where containerd has its own.
fn overlay(folder: &Path) -> Result<(), String> {
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(folder.join(name)).map_err(|error| said(name, &error))?;
    }
    let at = |name: &str| folder.join(name).display().to_string();
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
    let layers = CString::new(layers).map_err(|error| error.to_string())?;
    mount("overlay", at("merged"), "overlay", MountFlags::empty(), &*layers)
        .map_err(|error| format!("cannot mount one: {error}"))?;
    fs::write(folder.join("merged/file"), "").map_err(|error| said("merged", &error))
}

fn queues(folder: &Path) -> Result<(), String> {
    let place = folder.join("queues");
    fs::create_dir(&place).map_err(|error| said("queues", &error))?;
    mount("mqueue", &place, "mqueue", MountFlags::empty(), None)
        .map_err(|error| format!("cannot mount them: {error}"))
}

fn new_namespaces() -> Result<(), String> {
    let ran = host::run(host::command("unshare").args(["--uts", "--ipc", "true"]));
    ran.map(drop).map_err(|error| error.to_string())
}
