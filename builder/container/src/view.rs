//! Works out which host folders, files and links together make what the step sees: root and mounts go in, a sorted list
//! of places comes out. Reads folders, changes nothing.
//!
//! A mount needs a mount point. Where the root (or a mount above) has none, the folder around it is replaced by a new
//! one that shows the same things, each by itself, and has room for the mount; so no host folder is ever written to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::outcome::StepError;
use crate::spec::{Mount, STUB_PATH, StepSpec, is_at_or_below};

/// What stands at one place of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// A host folder or file, read-only.
    Bind(PathBuf),
    /// A symbolic link with this target.
    Link(String),
    /// A folder of the container's own.
    Folder,
}

/// Places by absolute path, parents before children.
pub(crate) type View = BTreeMap<String, Place>;

/// The container makes these itself, so those of the root are left out.
const OWN: [&str; 5] = ["/dev", STUB_PATH, "/out", "/proc", "/tmp"];

/// Lists every place of the container but `/out`, `/tmp`, `/dev` and `/proc`.
pub(crate) fn plan(spec: &StepSpec) -> Result<View, StepError> {
    let mut view = View::new();
    open_up(&mut view, "", &spec.root)?;
    view.retain(|path, _| !OWN.iter().any(|own| is_at_or_below(path, own)));
    let mut mounts: Vec<&Mount> = spec.mounts.iter().collect();
    mounts.sort_by(|one, other| one.path.cmp(&other.path));
    for mount in mounts {
        let is_folder =
            fs::metadata(&mount.host).map_err(|error| missing(&mount.host, &error))?.is_dir();
        make_room(&mut view, mount, is_folder)?;
        view.insert(mount.path.clone(), Place::Bind(mount.host.clone()));
    }
    Ok(view)
}

/// Makes sure that each folder above a mount can hold its mount point.
fn make_room(view: &mut View, mount: &Mount, is_folder: bool) -> Result<(), StepError> {
    for above in ancestors(&mount.path) {
        let host = match view.get(above) {
            Some(Place::Bind(host)) => host.clone(),
            Some(Place::Link(_)) => return Err(through(mount, above)),
            Some(Place::Folder) | None => continue,
        };
        let rest = mount.path.get(above.len() + 1..).unwrap_or_default();
        if is_folder && has_folder(&host, rest).map_err(|()| through(mount, above))? {
            continue;
        }
        view.insert(above.to_owned(), Place::Folder);
        open_up(view, above, &host)?;
    }
    Ok(())
}

/// Shows what is in a host folder, each by itself, where nothing stands yet.
fn open_up(view: &mut View, at: &str, host: &Path) -> Result<(), StepError> {
    for entry in fs::read_dir(host).map_err(|error| missing(host, &error))? {
        let entry = entry.map_err(|error| missing(host, &error))?;
        let name = entry.file_name().into_string().map_err(|name| unreadable(&host.join(name)))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| missing(&path, &error))?;
        let place = if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(|error| missing(&path, &error))?;
            Place::Link(target.into_os_string().into_string().map_err(|_| unreadable(&path))?)
        } else {
            Place::Bind(path)
        };
        view.entry(format!("{at}/{name}")).or_insert(place);
    }
    Ok(())
}

/// Whether a folder has this folder in it; an error where a link is on the way.
fn has_folder(host: &Path, rest: &str) -> Result<bool, ()> {
    let mut path = host.to_owned();
    for part in rest.split('/') {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => return Err(()),
            Ok(found) if found.is_dir() => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).filter_map(|(end, _)| path.get(..end))
}

fn through(mount: &Mount, above: &str) -> StepError {
    let reason =
        format!("lies behind a symbolic link at or below {above}; name the place it points to");
    StepError::CannotStart { subject: format!("mount {:?}", mount.path), reason }
}

fn missing(path: &Path, error: &std::io::Error) -> StepError {
    StepError::CannotStart { subject: path.display().to_string(), reason: error.to_string() }
}

fn unreadable(path: &Path) -> StepError {
    StepError::CannotStart {
        subject: path.display().to_string(),
        reason: "is not UTF-8".to_owned(),
    }
}
