//! The way from nothing to a healthy cluster.

use std::{
    fs,
    io::ErrorKind,
    net::TcpListener,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::Stdio,
    thread,
    time::Instant,
};

use super::{
    Cluster, LOOK, Order, Result, SUPERVISOR, State, check_name, folder, groups, supervisor_id,
};
use crate::{
    DevclusterError,
    component::ComponentName::{
        Containerd, Etcd, KubeApiserver, KubeControllerManager, KubeProxy, KubeScheduler, Kubelet,
    },
    config, host, pki,
};

impl Cluster {
    /// Starts a cluster below `home`; `say` is told of each step that is done.
    pub fn start(
        home: &Path,
        (supervisor, debian): (&Path, &Path),
        order: &Order,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        check_name(&order.name)?;
        let folder = folder(home, &order.name);
        refuse_hidden(&folder, order.node)?;
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(DevclusterError::io("make", parent))?;
        }
        fs::create_dir(&folder).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => DevclusterError::Exists(order.name.clone()),
            _ => DevclusterError::io("make", &folder)(error),
        })?;
        for inner in ["log", "private"] {
            let inner = folder.join(inner);
            fs::create_dir(&inner).map_err(DevclusterError::io("make", &inner))?;
        }
        let failed = DevclusterError::io("listen on", "127.0.0.1");
        let listening = TcpListener::bind("127.0.0.1:0");
        let port = listening.and_then(|one| one.local_addr().map(|address| (one, address.port())));
        let (listener, port) = port.map_err(failed)?;
        let Order { name, node, release, bound } = order.clone();
        let state = State { name, node, port, release, missing: Vec::new() };
        let cluster = Self { folder, state };
        let begun = cluster.begin((listener, bound), (supervisor, debian), say);
        begun.map_err(|source| DevclusterError::Started {
            name: cluster.state.name.clone(),
            log: cluster.folder.join("log"),
            source: Box::new(source),
        })?;
        Ok(cluster)
    }

    fn begin(
        &self,
        (listener, bound): (TcpListener, bool),
        (supervisor, debian): (&Path, &Path),
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let State { node, port, release, .. } = &self.state;
        self.write_state()?;
        pki::make(&self.folder, *port)?;
        if *node {
            groups::make(&self.group())?;
            config::write(&self.folder, &self.group(), release, debian)?;
        }
        self.start_supervisor(supervisor, (listener, bound))?;
        say("namespaces");
        self.start_components(debian, say)
    }

    /// Starts the first process in namespaces of its own, with the socket outside as its input.
    fn start_supervisor(
        &self,
        program: &Path,
        (listener, bound): (TcpListener, bool),
    ) -> Result<()> {
        let log = self.log("supervisor");
        let file = fs::File::create(&log).map_err(DevclusterError::io("write", &log))?;
        let mut unshare = if bound {
            // The kernel ends it with whoever started it, and by that the first process, and by that all others.
            let mut setpriv = host::command("setpriv");
            setpriv.args(["--pdeathsig", "KILL", "--", "unshare", "--kill-child"]);
            setpriv
        } else {
            host::command("unshare")
        };
        if !host::is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--"]);
        unshare.arg(program).args(["supervise", "--folder"]).arg(&self.folder);
        if self.state.node {
            unshare.arg("--node");
        }
        // Ctrl-C ends who waits for the cluster, not the cluster.
        unshare.process_group(0).stdin(Stdio::from(OwnedFd::from(listener)));
        unshare.stdout(file.try_clone().map_err(DevclusterError::io("write", &log))?).stderr(file);
        let mut child = unshare.spawn().map_err(DevclusterError::io("start", "unshare"))?;
        let end = Instant::now() + SUPERVISOR;
        loop {
            if supervisor_id(&self.folder).is_some() {
                return Ok(());
            }
            let ended = child.try_wait().map_err(DevclusterError::io("wait for", "unshare"))?;
            if ended.is_some() {
                return Err(DevclusterError::Unable {
                    what: "have a cluster".to_owned(),
                    why: self.end_of_log("supervisor"),
                    help: "as root every part works; without root user namespaces must be allowed (`sysctl kernel.unprivileged_userns_clone`, `kernel.apparmor_restrict_unprivileged_userns`)".to_owned(),
                });
            }
            if Instant::now() > end {
                return Err(self.silent());
            }
            thread::sleep(LOOK);
        }
    }

    fn start_components(&self, debian: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
        let release = &self.state.release;
        self.launch(Etcd, release, debian)?;
        self.launch(KubeApiserver, release, debian)?;
        if self.state.node {
            // Meanwhile.
            self.launch(Containerd, release, debian)?;
            self.import_images(release, debian)?;
            say("images");
        }
        self.await_health(KubeApiserver)?;
        say("kube-apiserver");
        let mut rest = vec![KubeControllerManager, KubeScheduler];
        if self.state.node {
            rest.extend([Kubelet, KubeProxy]);
        }
        for &component in &rest {
            self.launch(component, release, debian)?;
        }
        for &component in rest.iter().filter(|component| **component != KubeProxy) {
            self.await_health(component)?;
        }
        say("control plane");
        if self.state.node {
            self.await_node()?;
            say("node");
            // The proxy begins when the node has an address.
            self.await_health(KubeProxy)?;
            if release.coredns {
                self.replace_dns(release)?;
                say("CoreDNS");
            }
        }
        Ok(())
    }
}

/// Refuses a folder that a node would not see.
pub(crate) fn refuse_hidden(folder: &Path, node: bool) -> Result<()> {
    let hidden = crate::supervisor::PRIVATE.iter().find(|private| folder.starts_with(private));
    match hidden {
        Some(hidden) if node => Err(DevclusterError::Hidden((*hidden).to_owned())),
        _ => Ok(()),
    }
}
