//! Makes the namespaces of a new cluster what its components need.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

use super::Place;
use crate::{
    component::{GATEWAY, NODE_ADDRESS, SERVICES},
    host,
};

/// Folders of the machine that containerd, kubelet and plugins write into wherever they are told to be: each cluster has
/// its own.
pub(crate) const PRIVATE: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// Settings that the kubelet insists on and that are the whole machine's: the cluster sees copies, with the values that it
/// wants.
///
/// Source: kubernetes, `pkg/util/sysctl/sysctl.go` and `pkg/kubelet/cm/container_manager_linux.go`.
const SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Prepares mounts and network.
pub(super) fn prepare(place: &Place) -> Result<(), String> {
    if place.node {
        let own = place.folder.join("private");
        settings(&own)?;
        mounts(&own)?;
    }
    network(place.node)?;
    if place.node { forwarding() } else { Ok(()) }
}

/// Gives the cluster folders of its own, which lie in `own`, and shares what is mounted from now on: volumes that the
/// kubelet mounts must reach the containers.
pub(crate) fn mounts(own: &Path) -> Result<(), String> {
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
        .map_err(|error| format!("cannot share mounts: {error}"))?;
    for folder in PRIVATE.iter().filter(|folder| Path::new(folder).is_dir()) {
        let own = own.join(folder.trim_start_matches('/').replace('/', "-"));
        fs::create_dir_all(&own)
            .map_err(|error| format!("cannot make {}: {error}", own.display()))?;
        bind(&own, Path::new(folder))?;
    }
    Ok(())
}

/// Shows the cluster settings of its own, which lie in `own`.
pub(crate) fn settings(own: &Path) -> Result<(), String> {
    for (name, value) in SETTINGS {
        let copy = own.join(name.replace('/', "-"));
        fs::write(&copy, format!("{value}\n"))
            .map_err(|error| format!("cannot write {}: {error}", copy.display()))?;
        let setting = Path::new("/proc/sys").join(name);
        // A kernel without the setting needs no copy of it.
        if setting.exists() {
            bind(&copy, &setting)?;
        }
    }
    Ok(())
}

/// Sets up the network: with a node its device and the way to Services, else an address that nobody but the cluster has.
pub(crate) fn network(node: bool) -> Result<(), String> {
    let address = format!("{NODE_ADDRESS}/24");
    let of_node: [&[&str]; 5] = [
        &["link", "add", "node", "type", "veth", "peer", "name", "gateway"],
        &["address", "add", &address, "dev", "node"],
        &["link", "set", "node", "up"],
        &["link", "set", "gateway", "up"],
        // Nobody answers there, but addresses of services need a route before they are translated.
        &["route", "add", SERVICES, "via", GATEWAY],
    ];
    let alone: [&[&str]; 1] = [&["address", "add", &address, "dev", "lo"]];
    let common: [&[&str]; 2] = [
        &["link", "set", "lo", "up"],
        // Who looks for a cloud around the node is told at once that there is none; a kubelet waits for it else.
        &["route", "add", "unreachable", "default"],
    ];
    let program = host::find("ip").unwrap_or_else(|| PathBuf::from("ip"));
    for words in common.iter().chain(if node { &of_node[..] } else { &alone }) {
        host::run(host::command(&program).args(*words))
            .map_err(|error| format!("cannot set up the network: {error}"))?;
    }
    Ok(())
}

/// Lets packets pass from one device to another.
pub(crate) fn forwarding() -> Result<(), String> {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")
        .map_err(|error| format!("cannot forward packets: {error}"))
}

fn bind(from: &Path, to: &Path) -> Result<(), String> {
    mount_bind(from, to).map_err(|error| format!("cannot mount {}: {error}", to.display()))
}
