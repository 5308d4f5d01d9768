//! The private mount namespace of one step: everything the step may see, bound under one small memory file system that
//! the unprivileged engine can enter, wherever on the host the originals lie. It vanishes with the supervisor.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

use crate::outcome::StepError;
use crate::spec::StepSpec;
use crate::view::{Place, View};

/// The user and group id of steps when kdistro runs as root: no account of any distribution has it, and unlike
/// `nobody` nothing else runs under it.
pub(crate) const STEP_ID: u32 = 64123;

/// Where the world is mounted, in the supervisor's namespace only. Every host has this folder.
const FOLDER: &str = "/tmp";

const STUB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kdistro-container-stub"));

/// The places the engine works with.
pub(crate) struct World {
    /// What the step sees, with host paths replaced by paths in the world.
    pub(crate) view: View,
    /// An empty folder that becomes the root of the container.
    pub(crate) root: PathBuf,
    /// The static first program.
    pub(crate) stub: PathBuf,
    /// `/out` of the step.
    pub(crate) out: PathBuf,
    /// `/tmp` of the step.
    pub(crate) scratch: PathBuf,
    /// The program to start as the engine.
    pub(crate) engine: PathBuf,
    /// As root: the owner `out` had, to be given it back.
    pub(crate) owner: Option<(u32, u32)>,
}

impl World {
    /// Enters new namespaces and binds everything. As an ordinary user this takes a user namespace as well.
    pub(crate) fn enter(spec: &StepSpec, view: View) -> Result<Self, StepError> {
        let as_root = Uid::effective().is_root();
        enter_namespaces(as_root)?;
        let (binds, view) = split(view);
        let mut sources: BTreeMap<PathBuf, File> = BTreeMap::new();
        for path in binds.iter().chain([&spec.out, &spec.scratch]) {
            sources.insert(path.clone(), open_path(path)?);
        }
        let options = "mode=0755,size=64m";
        mount(
            Some("kdistro"),
            FOLDER,
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(options),
        )
        .map_err(|error| {
            StepError::engine(format!("mounting a memory file system on {FOLDER}"), error)
        })?;
        let world = Self::lay_out(as_root)
            .map_err(|error| StepError::engine("laying out the container", error))?;
        let mut places = BTreeMap::new();
        for (number, (path, source)) in sources.iter().enumerate() {
            places.insert(path.clone(), bind(path, source, number)?);
        }
        let inside = |path: &PathBuf| places.get(path).cloned().unwrap_or_default();
        let view = view
            .into_iter()
            .map(|(path, place)| match place {
                Place::Bind(host) => (path, Place::Bind(inside(&host))),
                other => (path, other),
            })
            .collect();
        let world = Self { view, out: inside(&spec.out), scratch: inside(&spec.scratch), ..world };
        world.give_away(as_root, spec)
    }

    fn lay_out(as_root: bool) -> io::Result<Self> {
        let folder = Path::new(FOLDER);
        let (root, stub) = (folder.join("root"), folder.join("stub"));
        fs::create_dir(&root)?;
        fs::create_dir(folder.join("binds"))?;
        fs::write(&stub, STUB)?;
        fs::set_permissions(&stub, Permissions::from_mode(0o555))?;
        if as_root {
            chown(&root, Some(STEP_ID), Some(STEP_ID))?;
        }
        let mut engine = PathBuf::from("/proc/self/exe");
        if as_root && fs::metadata(&engine)?.mode() & 0o005 != 0o005 {
            // Built under a strict umask: the step's user id could not start it.
            engine = folder.join("engine");
            fs::copy("/proc/self/exe", &engine)?;
            fs::set_permissions(&engine, Permissions::from_mode(0o555))?;
        }
        Ok(Self {
            view: View::new(),
            root,
            stub,
            out: PathBuf::new(),
            scratch: PathBuf::new(),
            engine,
            owner: None,
        })
    }

    /// As root, makes the two writable folders belong to the step's user id.
    fn give_away(mut self, as_root: bool, spec: &StepSpec) -> Result<Self, StepError> {
        if !as_root {
            return Ok(self);
        }
        let failed = |path: &Path, error: &io::Error| {
            StepError::engine(format!("preparing {}", path.display()), error)
        };
        let found = fs::metadata(&self.out).map_err(|error| failed(&spec.out, &error))?;
        self.owner = Some((found.uid(), found.gid()));
        for (path, host) in [(&self.out, &spec.out), (&self.scratch, &spec.scratch)] {
            chown(path, Some(STEP_ID), Some(STEP_ID)).map_err(|error| failed(host, &error))?;
        }
        Ok(self)
    }
}

fn enter_namespaces(as_root: bool) -> Result<(), StepError> {
    let (user, group) = (Uid::effective(), Gid::effective());
    let flags = if as_root {
        CloneFlags::CLONE_NEWNS
    } else {
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUSER
    };
    let what = if as_root { "making a mount namespace" } else { "making a user namespace" };
    unshare(flags).map_err(|error| StepError::engine(what, error))?;
    if !as_root {
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{user} {user} 1")),
            ("gid_map", format!("{group} {group} 1")),
        ] {
            fs::write(format!("/proc/self/{file}"), text)
                .map_err(|error| StepError::engine(format!("writing {file}"), error))?;
        }
    }
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(|error| StepError::engine("making mounts private", error))
}

/// Lists the host paths a view binds.
fn split(view: View) -> (Vec<PathBuf>, View) {
    let host = |place: &Place| match place {
        Place::Bind(host) => Some(host.clone()),
        Place::Link(_) | Place::Folder => None,
    };
    (view.values().filter_map(host).collect(), view)
}

/// Holds a file or folder by descriptor, so that it can still be bound when the world hides its path.
fn open_path(path: &Path) -> Result<File, StepError> {
    let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(path);
    opened.map_err(|error| StepError::CannotStart {
        subject: path.display().to_string(),
        reason: error.to_string(),
    })
}

fn bind(path: &Path, source: &File, number: usize) -> Result<PathBuf, StepError> {
    let failed = |error: &dyn std::error::Error| {
        StepError::engine(format!("binding {}", path.display()), error)
    };
    let target = Path::new(FOLDER).join("binds").join(number.to_string());
    let is_folder = source.metadata().map_err(|error| failed(&error))?.is_dir();
    if is_folder { fs::create_dir(&target) } else { fs::write(&target, "") }
        .map_err(|error| failed(&error))?;
    let held = format!("/proc/self/fd/{}", source.as_raw_fd());
    // Not recursive: what is mounted below on the host was never named. (An ordinary user's kernel refuses that with
    // EINVAL rather than uncover what such a mount hides.)
    mount(Some(held.as_str()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| failed(&error))?;
    Ok(target)
}
