//! Makes assets of outputs: loose programs as they are; archives, images and SBOMs by the plan's rules.

mod archive;
mod debian;
mod error;
mod image;
mod linked;
mod said;
mod sbom;
mod silent;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use kdistro_formats::{
    Digest, Sha512, canonical,
    plan::{AssemblyRules, Component, Content, OutputRef, Plan, PlannedAsset},
};
use kdistro_verify::hash::{self, Hashes};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::{debian::KnownPackages, error::PackageError, image::PackagedImage};
use self::{error::Failed, linked::Linked};
use crate::{
    build::Records,
    content::ContentStore,
    home::{Home, write_whole},
    report::Reporter,
};

/// Everything that was made, by the asset's path below `artifacts/` (of an image, its repository).
#[derive(Clone, Debug, Default)]
pub struct Packaged {
    /// Digests and size of each asset; of an image, those of its index, and the size of all of its content.
    pub assets: BTreeMap<String, Hashes>,
    /// What images consist of.
    pub images: BTreeMap<String, PackagedImage>,
    /// The SBOM of everything together.
    pub sbom: Option<Hashes>,
}

/// Where assets are made, and of what.
pub struct Packager<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What the steps gave.
    pub records: &'a Records,
    /// The home folder.
    pub home: &'a Home,
    /// Inputs, outputs and archives.
    pub content: &'a ContentStore,
    /// Who is told.
    pub reporter: &'a Reporter,
    /// How many assets are made side by side.
    pub jobs: usize,
    /// Packages that were read: none in the beginning.
    pub packages: KnownPackages,
}

/// An asset and what is known for making it.
struct Making<'a> {
    component: &'a Component,
    asset: &'a PlannedAsset,
    linked: &'a Linked,
}

/// An asset that was made: what is kept under its key.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Made {
    sha256: Digest,
    sha512: Sha512,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<PackagedImage>,
}

/// What an asset is made of, in full: the key under which it is kept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recipe<'a> {
    rules: &'a AssemblyRules,
    content: &'a Content,
    outputs: BTreeMap<String, Digest>,
    /// The texts of licences, where it holds them.
    attributions: Vec<Digest>,
}

impl Packager<'_> {
    /// Makes every asset of the wanted components; `None` means all.
    pub fn package(&self, components: Option<&BTreeSet<String>>) -> Result<Packaged, PackageError> {
        let wanted = |name: &str| components.is_none_or(|components| components.contains(name));
        let components: Vec<_> =
            self.plan.components.iter().filter(|component| wanted(&component.name)).collect();
        let linked = self.side_by_side(components.clone(), |component| self.linked(component))?;
        let all: Vec<Making<'_>> = components
            .iter()
            .zip(&linked)
            .flat_map(|(component, linked)| {
                component.assets.iter().map(move |asset| Making { component, asset, linked })
            })
            .collect();
        self.bases(&all)?;
        let mut packaged = Packaged::default();
        // Files of images need the images, and SBOMs need what they are about.
        for wave in [0, 1, 2] {
            let now: Vec<_> =
                all.iter().filter(|making| wave_of(&making.asset.content) == wave).collect();
            let done = &packaged;
            let made = self.side_by_side(now, |making| {
                Ok((making.asset.path.clone(), self.asset(making, done)?))
            })?;
            for (path, Made { sha256, sha512, size, image }) in made {
                packaged.images.extend(image.map(|image| (path.clone(), image)));
                packaged.assets.insert(path, Hashes { sha256, sha512, size });
            }
        }
        packaged.sbom = Some(self.release_sbom(&components, &linked, &packaged)?);
        Ok(packaged)
    }

    /// Does something to each of several things, on as many threads as the packager may use; keeps their order.
    fn side_by_side<T: Send, R: Send>(
        &self,
        things: Vec<T>,
        act: impl Fn(T) -> Result<R, PackageError> + Sync,
    ) -> Result<Vec<R>, PackageError> {
        let queue = Mutex::new(things.into_iter().enumerate());
        let results = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some((index, thing)) = next else { return };
                        let result = act(thing);
                        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                        results.insert(index, result);
                    }
                });
            }
        });
        results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    fn asset(&self, making: &Making<'_>, done: &Packaged) -> Result<Made, PackageError> {
        let name = &making.asset.name;
        let failed = Failed(name);
        let key = self.key(making, done)?;
        let record = self.record(&key);
        let whole = |kept: &Made| {
            let blobs = kept.image.iter().flat_map(|image| image.blobs.keys());
            blobs.chain([&kept.sha256]).all(|digest| self.content.has(digest))
        };
        if let Some(kept) = read_kept::<Made>(&record).filter(whole) {
            return Ok(kept);
        }
        self.reporter.progress(format!("packing {name}"));
        let mut image = None;
        let digest = match &making.asset.content {
            Content::File { output } => self.output(name, output)?,
            Content::Archive { mtime, entries } => self.archive(making, *mtime, entries)?,
            Content::Source { archive } => self.source_archive(name, archive)?,
            Content::Image(planned) => {
                let (index, made) = self.image(making, planned)?;
                image = Some(made);
                index
            }
            Content::DockerArchive(docker) => self.docker_archive(making, docker, done)?,
            Content::Text { text } => {
                self.content.insert_bytes(text.as_bytes()).map_err(|e| failed.content(e))?
            }
            Content::Sbom { asset } => self.sbom(making, asset, done)?,
        };
        let Hashes { sha256, sha512, mut size } = self.hashes(name, &digest)?;
        if let Some(image) = &image {
            size = image.blobs.values().sum();
        }
        let made = Made { sha256, sha512, size, image };
        write_kept(&record, &made).map_err(failed.io(record.clone()))?;
        Ok(made)
    }

    /// Hashes content, which must be whole.
    fn hashes(&self, asset: &str, digest: &Digest) -> Result<Hashes, PackageError> {
        self.content.hashes(digest).map_err(|error| Failed(asset).content(error))
    }

    fn record(&self, key: &Digest) -> PathBuf {
        self.home.assemblies().join(format!("{}.json", key.hex()))
    }

    fn key(&self, making: &Making<'_>, done: &Packaged) -> Result<Digest, PackageError> {
        let (name, content) = (&making.asset.name, &making.asset.content);
        let mut outputs = self.outputs(name, content)?;
        // What is made of another asset changes with it.
        let of = match content {
            Content::DockerArchive(docker) => Some(&docker.image),
            Content::Sbom { asset } => Some(asset),
            _ => None,
        };
        let of = of.and_then(|of| making.component.assets.iter().find(|asset| asset.name == *of));
        if let Some((path, hashes)) = of.and_then(|of| done.assets.get_key_value(&of.path)) {
            outputs.insert(format!("asset {path}"), hashes.sha256);
        }
        let attributions = match content {
            Content::Sbom { .. } => vec![making.linked.facts],
            _ => making.linked.attributions_of(content),
        };
        let recipe = Recipe { rules: &self.plan.assembly, content, outputs, attributions };
        let key = canonical::to_vec(&recipe).map_err(|error| Failed(name).key(error))?;
        Ok(hash::sha256(&key))
    }

    /// What every output that an asset takes up is, by its step and name.
    fn outputs(
        &self,
        asset: &str,
        content: &Content,
    ) -> Result<BTreeMap<String, Digest>, PackageError> {
        let named = |output: &OutputRef| {
            Ok((format!("{} {}", output.step, output.name), self.output(asset, output)?))
        };
        content.outputs().into_iter().map(named).collect()
    }

    fn output(&self, asset: &str, output: &OutputRef) -> Result<Digest, PackageError> {
        self.records.output(output).ok_or_else(|| PackageError::Output {
            asset: asset.to_owned(),
            output: output.name.clone(),
        })
    }
}

/// In which wave an asset can be made.
fn wave_of(content: &Content) -> u8 {
    match content {
        Content::DockerArchive(_) => 1,
        Content::Sbom { .. } => 2,
        _ => 0,
    }
}

/// Reads what is kept under a key; whatever is wrong with it only costs making it again.
fn read_kept<T: DeserializeOwned>(record: &Path) -> Option<T> {
    fs::read(record).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

fn write_kept<T: Serialize>(record: &Path, kept: &T) -> io::Result<()> {
    write_whole(record, &serde_json::to_vec(kept).map_err(io::Error::from)?)
}
