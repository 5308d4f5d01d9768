//! Finds the release that a command line names: by name in the environment's store, by path, or by address.

use std::{io, sync::Arc};

use kdistro_border::Store;
use kdistro_formats::{ReleaseName, layout};
use kdistro_verify::store::{self, Reader};

use super::Result;
use crate::{context::Context, place};

/// A release that is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum FindError {
    /// The store has no such manifest.
    #[error("there is no release {release} in {place}{}", others(.has))]
    NoRelease {
        /// The release.
        release: String,
        /// The store.
        place: String,
        /// Those of the same channel, ascending.
        has: Vec<ReleaseName>,
    },
    /// The store does not say.
    #[error("cannot read {name} in {place}")]
    Read {
        /// The manifest.
        name: String,
        /// The store.
        place: String,
        /// What the system said.
        source: io::Error,
    },
}

fn others(has: &[ReleaseName]) -> String {
    let names = has.iter().map(ToString::to_string).collect::<Vec<_>>();
    if names.is_empty() { String::new() } else { format!("\nhelp:  it has {}", names.join(", ")) }
}

/// A store that can be read, and the name of a manifest in it.
pub(super) type Found = (Box<dyn Reader>, String);

/// Finds a release. A name is one of the environment's store unless `store` is another; anything else is the path or
/// address of a manifest.
pub(super) fn find(context: &Context, which: &str, store: Option<&str>) -> Result<Found> {
    let Ok(name) = which.parse::<ReleaseName>() else { return manifest(context, which, store) };
    let reader: Box<dyn Reader> = match store {
        Some(store) => store::open(store, context.proxy().as_deref())?,
        None => own(context, &name)?,
    };
    let manifest = layout::manifest(&name);
    require(reader.as_ref(), &manifest)?;
    Ok((reader, manifest))
}

/// Finds a release by the path or address of its manifest.
pub(super) fn manifest(context: &Context, which: &str, store: Option<&str>) -> Result<Found> {
    let (reader, name) = store::locate(which, store, context.proxy().as_deref())?;
    require(reader.as_ref(), &name)?;
    Ok((reader, name))
}

/// Refuses a release that the environment's own store does not have.
pub(super) fn require_own(context: &Context, release: &ReleaseName) -> Result<()> {
    require_in(place::open_store(context, &context.target()?)?, release)
}

/// Refuses a release that a store does not have.
pub(super) fn require_in(store: Arc<dyn Store>, release: &ReleaseName) -> Result<()> {
    Ok(require(readable(store, release)?.as_ref(), &layout::manifest(release))?)
}

/// The environment's own store.
fn own(context: &Context, release: &ReleaseName) -> Result<Box<dyn Reader>> {
    readable(place::open_store(context, &context.target()?)?, release)
}

/// A store to read a release from; one without a folder has none.
fn readable(store: Arc<dyn Store>, release: &ReleaseName) -> Result<Box<dyn Reader>> {
    if store.folder().is_some_and(|folder| !folder.exists()) {
        return Err(no_release(release, &store.place()).into());
    }
    Ok(place::reader(store))
}

/// The error about a release that is not in a store of which no more is known.
pub(super) fn no_release(release: &ReleaseName, place: &str) -> FindError {
    let (release, place) = (release.to_string(), place.to_owned());
    FindError::NoRelease { release, place, has: Vec::new() }
}

fn require(reader: &dyn Reader, name: &str) -> std::result::Result<(), FindError> {
    let place = reader.place();
    let failed = |source| FindError::Read { name: name.to_owned(), place: place.clone(), source };
    if reader.open_document(name).map_err(failed)?.is_some() {
        return Ok(());
    }
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let names = reader.list(folder).map_err(failed)?.unwrap_or_default();
    let mut has: Vec<_> = names.iter().filter_map(|name| release(name)).collect();
    has.sort();
    let release = file.strip_prefix("kubernetes-").unwrap_or(file).trim_end_matches(".yaml");
    Err(FindError::NoRelease { release: release.to_owned(), place, has })
}

/// The release that a file in a store is the manifest of.
fn release(name: &str) -> Option<ReleaseName> {
    let (_, file) = name.rsplit_once('/')?;
    let release = file.strip_prefix("kubernetes-")?.strip_suffix(".yaml")?.parse().ok()?;
    (layout::manifest(&release) == name).then_some(release)
}
