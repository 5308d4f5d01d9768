//! Makes assets of outputs: loose programs as they are, archives by the plan's rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use kdistro_assemble::{
    entry::{Entry, EntryKind, EntryPath, EntryPathError},
    gzip::GzipWriter,
    tar::{TarError, TarWriter, read_tar},
};
use kdistro_formats::{
    Digest, Sha512,
    canonical::{self, CanonicalError},
    plan::{ArchiveEntry, Content, EntryContent, Plan, PlannedAsset},
};
use kdistro_verify::hash::{self, Hashes};
use serde::{Deserialize, Serialize};

use crate::{
    build::Records,
    content::{ContentError, ContentStore},
    home::{Home, write_whole},
    report::Reporter,
};

/// Digests and size of each asset, by its path below `artifacts/`.
pub type Packaged = BTreeMap<String, Hashes>;

/// Why an asset cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// No step gave what the asset holds.
    #[error("asset `{asset}` wants `{output}`, which no step gave")]
    Output {
        /// The asset.
        asset: String,
        /// The output.
        output: String,
    },
    /// The source has no such file.
    #[error(
        "asset `{asset}` wants `{path}` of the source, which has no such file\nhelp:  `licenses` of the recipe must name files of the source"
    )]
    Source {
        /// The asset.
        asset: String,
        /// The path in the source.
        path: String,
    },
    /// Content is missing or damaged.
    #[error("cannot make asset `{asset}`")]
    Content {
        /// The asset.
        asset: String,
        /// Why.
        source: ContentError,
    },
    /// The archive cannot be written.
    #[error("cannot make asset `{asset}`")]
    Tar {
        /// The asset.
        asset: String,
        /// Why.
        source: TarError,
    },
    /// The file system refused.
    #[error("cannot make asset `{asset}`: {}", path.display())]
    Io {
        /// The asset.
        asset: String,
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An entry's path is not safe.
    #[error("asset `{asset}`")]
    Path {
        /// The asset.
        asset: String,
        /// Why.
        source: EntryPathError,
    },
    /// A key cannot be written.
    #[error("cannot name asset `{asset}`")]
    Key {
        /// The asset.
        asset: String,
        /// Why.
        source: CanonicalError,
    },
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
    /// How many archives are made side by side.
    pub jobs: usize,
}

/// What an asset is made of, in full: the key under which it is kept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recipe<'a> {
    rules: &'a kdistro_formats::plan::AssemblyRules,
    content: &'a Content,
    outputs: BTreeMap<String, Digest>,
}

/// The kept form of [`Hashes`].
#[derive(Deserialize, Serialize)]
struct Kept {
    sha256: Digest,
    sha512: Sha512,
    size: u64,
}

impl Packager<'_> {
    /// Makes every asset of the wanted components; `None` means all.
    pub fn package(&self, components: Option<&BTreeSet<String>>) -> Result<Packaged, PackageError> {
        let wanted = |name: &str| components.is_none_or(|components| components.contains(name));
        let components = self.plan.components.iter().filter(|component| wanted(&component.name));
        let assets: Vec<_> = components.flat_map(|component| &component.assets).collect();
        let queue = Mutex::new(assets.into_iter());
        let results = Mutex::new(Vec::new());
        let lock = |results: &Mutex<Vec<_>>, result| {
            results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(asset) = next else { return };
                        let made = self.asset(asset).map(|hashes| (asset.path.clone(), hashes));
                        lock(&results, made);
                    }
                });
            }
        });
        results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
    }

    fn asset(&self, asset: &PlannedAsset) -> Result<Hashes, PackageError> {
        let name = &asset.name;
        let key = self.key(asset)?;
        let record = self.home.assemblies().join(format!("{}.json", key.hex()));
        let kept =
            fs::read(&record).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        if let Some(Kept { sha256, sha512, size }) =
            kept.filter(|kept| self.content.has(&kept.sha256))
        {
            return Ok(Hashes { sha256, sha512, size });
        }
        self.reporter.progress(format!("packing {name}"));
        let failed = |source| PackageError::Content { asset: name.clone(), source };
        let digest = match &asset.content {
            Content::File { output } => self.output(name, output)?,
            Content::Archive { mtime, entries } => self.archive(name, *mtime, entries)?,
        };
        self.content.check(&digest).map_err(failed)?;
        let file = self.content.open(&digest).map_err(failed)?;
        let path = self.content.path(&digest);
        let io =
            |path: PathBuf| move |source| PackageError::Io { asset: name.clone(), path, source };
        let hashes = hash::hashes_of(file).map_err(io(path))?;
        let kept = Kept { sha256: hashes.sha256, sha512: hashes.sha512, size: hashes.size };
        let bytes =
            serde_json::to_vec(&kept).map_err(io::Error::from).map_err(io(record.clone()))?;
        write_whole(&record, &bytes).map_err(io(record.clone()))?;
        Ok(hashes)
    }

    fn key(&self, asset: &PlannedAsset) -> Result<Digest, PackageError> {
        let mut outputs = BTreeMap::new();
        let mut add = |output: &kdistro_formats::plan::OutputRef| {
            let digest = self.output(&asset.name, output)?;
            outputs.insert(format!("{} {}", output.step, output.name), digest);
            Ok::<_, PackageError>(())
        };
        match &asset.content {
            Content::File { output } => add(output)?,
            Content::Archive { entries, .. } => {
                for entry in entries {
                    if let EntryContent::Output(output) = &entry.from {
                        add(output)?;
                    }
                }
            }
        }
        let recipe = Recipe { rules: &self.plan.assembly, content: &asset.content, outputs };
        let key = canonical::to_vec(&recipe);
        let key = key.map_err(|source| PackageError::Key { asset: asset.name.clone(), source })?;
        Ok(hash::sha256(&key))
    }

    fn output(
        &self,
        asset: &str,
        output: &kdistro_formats::plan::OutputRef,
    ) -> Result<Digest, PackageError> {
        self.records.output(output).ok_or_else(|| PackageError::Output {
            asset: asset.to_owned(),
            output: output.name.clone(),
        })
    }

    fn archive(
        &self,
        asset: &str,
        mtime: u64,
        entries: &[ArchiveEntry],
    ) -> Result<Digest, PackageError> {
        let content = |source| PackageError::Content { asset: asset.to_owned(), source };
        let failed = |source| PackageError::Tar { asset: asset.to_owned(), source };
        let new = self.content.create().map_err(content)?;
        let mut tar = TarWriter::new(GzipWriter::new(new), mtime);
        for entry in entries {
            let path = EntryPath::new(entry.path.clone())
                .map_err(|source| PackageError::Path { asset: asset.to_owned(), source })?;
            match &entry.from {
                EntryContent::Output(output) => {
                    let digest = self.output(asset, output)?;
                    self.content.check(&digest).map_err(content)?;
                    let mut file = self.content.open(&digest).map_err(content)?;
                    let io = |source| PackageError::Io {
                        asset: asset.to_owned(),
                        path: self.content.path(&digest),
                        source,
                    };
                    let size = file.metadata().map_err(io)?.len();
                    tar.append(Entry::file(path, entry.executable, size, &mut file))
                        .map_err(failed)?;
                }
                EntryContent::Source { archive, path: inner } => {
                    let bytes = self.source_file(asset, archive, inner)?;
                    let size = bytes.len() as u64;
                    let mut bytes = bytes.as_slice();
                    tar.append(Entry::file(path, entry.executable, size, &mut bytes))
                        .map_err(failed)?;
                }
            }
        }
        let io = |source| PackageError::Io {
            asset: asset.to_owned(),
            path: self.home.content(),
            source,
        };
        let new = tar.finish().map_err(failed)?.finish().map_err(io)?;
        Ok(new.keep().map_err(content)?.0)
    }

    /// Reads one file out of a source archive.
    fn source_file(
        &self,
        asset: &str,
        archive: &Digest,
        path: &str,
    ) -> Result<Vec<u8>, PackageError> {
        let content = |source| PackageError::Content { asset: asset.to_owned(), source };
        self.content.check(archive).map_err(content)?;
        let tar =
            io::BufReader::with_capacity(1 << 20, self.content.open(archive).map_err(content)?);
        let mut bytes = None;
        let read = read_tar(tar, &mut |entry| {
            if entry.path.as_str() == path
                && let EntryKind::File { content, .. } = entry.kind
            {
                let mut found = Vec::new();
                content.read_to_end(&mut found).map_err(Search::Io)?;
                bytes = Some(found);
                return Err(Search::Done);
            }
            Ok(())
        });
        match (bytes, read) {
            (Some(bytes), _) => Ok(bytes),
            (None, Err(Search::Tar(source))) => {
                Err(PackageError::Tar { asset: asset.to_owned(), source })
            }
            (None, Err(Search::Io(source))) => {
                let path = self.content.path(archive);
                Err(PackageError::Io { asset: asset.to_owned(), path, source })
            }
            (None, _) => {
                Err(PackageError::Source { asset: asset.to_owned(), path: path.to_owned() })
            }
        }
    }
}

/// Why reading an archive ended early.
enum Search {
    Done,
    Io(io::Error),
    Tar(TarError),
}

impl From<TarError> for Search {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}
