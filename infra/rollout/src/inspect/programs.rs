//! Which programs a release has for a platform, and which digests they have.
//!
//! The manifest has the digests of loose programs. Of those that it ships in archives and images only, the plan says where
//! they are, and they are hashed there when somebody asks for one: most are in no need of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
};

use kdistro_formats::{
    Digest, Platform, ReleaseName, layout,
    plan::{Content, EntryContent, OutputRef, Plan, PlannedAsset},
    release::{Asset, AssetKind},
};
use kdistro_verify::store::Reader;

use super::{
    InspectError,
    content::{self, Files},
};
use crate::decide::Proven;

/// The component whose programs have names that many others have, such as `bridge` or `static`.
const PLUGINS: &str = "cni-plugins";

/// The programs of a release for one platform.
pub struct Programs<'a> {
    reader: &'a dyn Reader,
    release: ReleaseName,
    platform: Platform,
    by_name: BTreeMap<String, Program>,
    /// What was unpacked already, by the asset's name; why where that failed.
    unpacked: BTreeMap<String, Result<Files, Rc<InspectError>>>,
    images: BTreeMap<String, Digest>,
    /// The digests by which its images may be known on a node, once somebody asked.
    image_digests: Option<ImageDigests>,
}

/// The digests of images, and why some could not be read.
#[derive(Default)]
struct ImageDigests {
    read: BTreeSet<Digest>,
    failed: Option<Rc<InspectError>>,
}

/// A program by its name.
#[derive(Default)]
struct Program {
    is_plugin: bool,
    digests: BTreeSet<Digest>,
    /// Where it is besides, with the path there.
    places: Vec<(Rc<Asset>, String)>,
}

impl<'a> Programs<'a> {
    /// Takes a proven release and its plan.
    pub fn of(
        release: &Proven,
        plan: &Plan,
        (reader, platform): (&'a dyn Reader, Platform),
    ) -> Self {
        let images = release.manifest.status.components.iter().flat_map(|one| &one.assets);
        let images = images.filter_map(|asset| {
            let image = asset.image.as_ref()?;
            Some((super::image_name(&image.uri).to_owned(), image.image_digest?))
        });
        let mut all = Self {
            reader,
            release: release.name.clone(),
            platform,
            by_name: BTreeMap::new(),
            unpacked: BTreeMap::new(),
            images: images.collect(),
            image_digests: None,
        };
        let shipped = all.shipped(release, plan);
        let loose = loose(&shipped);
        for (component, planned, asset) in shipped {
            let asset = Rc::new(asset.clone());
            for (path, output) in all.executables(planned) {
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                let program = all.by_name.entry(name).or_default();
                program.is_plugin |= component == PLUGINS;
                match loose.get(output) {
                    Some(digest) => drop(program.digests.insert(*digest)),
                    None => program.places.push((Rc::clone(&asset), path)),
                }
            }
        }
        for program in all.by_name.values_mut() {
            program.places.sort_by_key(|(asset, _)| asset.size);
        }
        all
    }

    /// What is planned for the platform, with its component and what became of it.
    fn shipped<'b>(
        &self,
        release: &'b Proven,
        plan: &'b Plan,
    ) -> Vec<(&'b str, &'b PlannedAsset, &'b Asset)> {
        let mut shipped = Vec::new();
        for component in &plan.components {
            let mut made = release.manifest.status.components.iter();
            let Some(made) = made.find(|one| one.name == component.name) else { continue };
            for planned in &component.assets {
                let is_ours = planned.os == self.platform.os()
                    && planned.arch.iter().any(|arch| arch == self.platform.arch());
                let asset = made.assets.iter().find(|asset| asset.name == planned.name);
                if let Some(asset) = asset.filter(|_| is_ours) {
                    shipped.push((component.name.as_str(), planned, asset));
                }
            }
        }
        shipped
    }

    /// The programs of an asset for the platform: the path of each there, and what made it.
    fn executables<'b>(&self, planned: &'b PlannedAsset) -> Vec<(String, &'b OutputRef)> {
        let entries: Vec<_> = match &planned.content {
            Content::File { output } => return vec![(planned.name.clone(), output)],
            Content::Archive { entries, .. } => {
                entries.iter().map(|it| (&it.path, it.executable, &it.from)).collect()
            }
            Content::Image(image) => {
                let image = image.platforms.iter().filter(|one| one.platform == self.platform);
                let entries = image.flat_map(|one| &one.entries);
                entries.map(|it| (&it.path, it.executable, &it.from)).collect()
            }
            _ => Vec::new(),
        };
        let made = entries.into_iter().filter_map(|(path, executable, from)| match from {
            EntryContent::Output(output) if executable => Some((path.clone(), output)),
            _ => None,
        });
        made.collect()
    }

    /// Whether a program that lies there is called as one of the release's, and which.
    ///
    /// Many programs are called as a plugin is: only what lies below a folder `cni` is taken for one.
    pub fn named<'b>(&self, path: &'b Path) -> Option<&'b str> {
        let name = path.file_name()?.to_str()?;
        let program = self.by_name.get(name)?;
        let is_meant = !program.is_plugin || path.iter().any(|part| part == "cni");
        is_meant.then_some(name)
    }

    /// Whether a program's name begins so: where its path may not be known, the kernel tells 15 bytes of it.
    ///
    /// Source: proc(5), `/proc/[pid]/comm`.
    pub(super) fn begin_with(&self, start: &str) -> bool {
        let mut programs = self.by_name.iter().filter(|(_, program)| !program.is_plugin);
        programs.any(|(name, _)| name.get(..15).unwrap_or(name) == start)
    }

    /// True when the release has a program of this name and digest.
    ///
    /// # Errors
    ///
    /// When none was found that is it, and something that may hold it cannot be read.
    pub fn has(&mut self, name: &str, digest: &Digest) -> Result<bool, Rc<InspectError>> {
        let Some(program) = self.by_name.get(name) else { return Ok(false) };
        if program.digests.contains(digest) {
            return Ok(true);
        }
        let mut failed = None;
        // The smallest first: mostly they all hold the same.
        for (asset, path) in &program.places {
            let unpack = || unpack((self.reader, &self.platform), &self.release, asset);
            let files = self.unpacked.entry(asset.name.clone());
            match files.or_insert_with(|| unpack().map_err(Rc::new)) {
                Ok(files) if files.get(path) == Some(digest) => return Ok(true),
                Ok(_) => {}
                Err(error) => note(&mut failed, Rc::clone(error)),
            }
        }
        failed.map_or(Ok(false), Err)
    }

    /// True when the release has an image of this name.
    pub fn has_image_named(&self, name: &str) -> bool {
        self.images.contains_key(name)
    }

    /// True when an image of the release has this digest, as a whole or for one platform.
    ///
    /// # Errors
    ///
    /// When none was found that has it, and an image cannot be read.
    pub fn has_image(&mut self, digest: &Digest) -> Result<bool, Rc<InspectError>> {
        let Self { reader, images, .. } = self;
        let all = self.image_digests.get_or_insert_with(|| ImageDigests::of(*reader, images));
        if all.read.contains(digest) {
            return Ok(true);
        }
        all.failed.clone().map_or(Ok(false), Err)
    }
}

impl ImageDigests {
    fn of(reader: &dyn Reader, images: &BTreeMap<String, Digest>) -> Self {
        let mut all = Self::default();
        for index in images.values() {
            match content::digests(reader, index) {
                Ok(digests) => all.read.extend(digests),
                Err(error) => note(&mut all.failed, Rc::new(error)),
            }
        }
        all
    }
}

/// Keeps the first of some errors, but evidence rather than what could not be told.
fn note(kept: &mut Option<Rc<InspectError>>, error: Rc<InspectError>) {
    let is_kept = kept.as_ref().is_some_and(|kept| kept.outcome() >= error.outcome());
    if !is_kept {
        *kept = Some(error);
    }
}

/// The digests of programs that are assets themselves, by what made them.
fn loose<'b>(shipped: &[(&str, &'b PlannedAsset, &Asset)]) -> BTreeMap<&'b OutputRef, Digest> {
    let loose = shipped.iter().filter_map(|(_, planned, asset)| match &planned.content {
        Content::File { output } => Some((output, asset.digest()?)),
        _ => None,
    });
    loose.collect()
}

fn unpack(
    (reader, platform): (&dyn Reader, &Platform),
    release: &ReleaseName,
    asset: &Asset,
) -> Result<Files, InspectError> {
    let lacks = || InspectError::Lacks { name: asset.name.clone(), platform: platform.to_string() };
    let digest = asset.digest().ok_or_else(lacks)?;
    if asset.kind == AssetKind::Image {
        return content::image(reader, &digest, platform);
    }
    let start = format!("/{}/", layout::release(release));
    let uri = asset.archive.as_ref().map(|archive| archive.uri.as_str());
    let (_, inner) = uri.and_then(|uri| uri.rsplit_once(&start)).ok_or_else(lacks)?;
    let file = format!("{}{inner}", start.trim_start_matches('/'));
    let size = asset.size.ok_or_else(lacks)?;
    content::files(reader, (&file, size), &digest)
}
