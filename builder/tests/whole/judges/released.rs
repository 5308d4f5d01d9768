//! A release in a home folder, as its judges see it: what manifest, plan and SBOMs say, and where the bytes lie.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use kdistro_formats::{
    Digest, canonical, layout,
    plan::Plan,
    release::{Asset, Component, MediaType, Release},
};
use serde_json::Value;

use crate::shared::{files, newest_release, shared};

/// A release and the home folder that it was cut in.
pub(super) struct Released {
    home: PathBuf,
    /// What the manifest says.
    pub(super) manifest: Release,
}

/// One repository of the local registry: an OCI layout.
pub(super) struct Layout {
    /// Such as `etcd-io/etcd`.
    pub(super) repository: String,
    pub(super) folder: PathBuf,
    /// What each tag names.
    pub(super) tags: BTreeMap<String, Digest>,
}

impl Released {
    /// The release of etcd and the CNI plugins that all tests share.
    pub(super) fn shared() -> Self {
        Self::newest(&shared().home)
    }

    /// The newest release in a home folder.
    pub(super) fn newest(home: &Path) -> Self {
        Self { home: home.to_owned(), manifest: newest_release(home) }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    /// The release's own folder in the store.
    pub(super) fn folder(&self) -> PathBuf {
        self.store().join(layout::release(&self.manifest.name()))
    }

    pub(super) fn plan(&self) -> Plan {
        let path = self.store().join(layout::plan(&self.manifest.name()));
        canonical::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    pub(super) fn assets(&self) -> impl Iterator<Item = (&Component, &Asset)> {
        let components = self.manifest.status.components.iter();
        components
            .flat_map(|component| component.assets.iter().map(move |asset| (component, asset)))
    }

    /// Assets that are files, with the place of each.
    pub(super) fn files(&self) -> Vec<(&Component, &Asset, PathBuf)> {
        let assets = self.assets().filter_map(|(component, asset)| {
            let archive = asset.archive.as_ref()?;
            Some((component, asset, self.place(&archive.uri)))
        });
        assets.collect()
    }

    pub(super) fn files_of(&self, media: MediaType) -> Vec<(&Component, &Asset, PathBuf)> {
        let files = self.files().into_iter();
        files.filter(|(_, asset, _)| asset.media_type == Some(media)).collect()
    }

    pub(super) fn images(&self) -> Vec<(&Component, &Asset)> {
        self.assets().filter(|(_, asset)| asset.image.is_some()).collect()
    }

    /// Where what a public address names lies in the store.
    pub(super) fn place(&self, uri: &str) -> PathBuf {
        let folder = layout::release(&self.manifest.name());
        let at = uri.find(&folder).unwrap_or_else(|| panic!("{uri} is not below {folder}"));
        self.store().join(&uri[at..])
    }

    /// Every SBOM: those of assets and that of the release.
    pub(super) fn sboms(&self) -> Vec<PathBuf> {
        let documents = self.manifest.status.documents.iter();
        let documents = documents.filter(|document| document.name.ends_with(".spdx.json"));
        let assets = self.files_of(MediaType::Spdx).into_iter().map(|(_, _, path)| path);
        let sboms: Vec<_> =
            assets.chain(documents.map(|document| self.place(&document.uri))).collect();
        assert!(sboms.len() > 1, "a release without SBOMs");
        sboms
    }

    /// The SBOM of an asset.
    pub(super) fn sbom(&self, component: &Component, asset: &Asset) -> Sbom {
        let name = format!("{}.spdx.json", asset.name);
        let found = component.assets.iter().find(|other| other.name == name);
        let found = found.unwrap_or_else(|| panic!("there is no {name}"));
        Sbom::read(&self.place(&found.archive.as_ref().unwrap().uri))
    }

    /// Every repository of the local registry.
    pub(super) fn layouts(&self) -> Vec<Layout> {
        let registry = self.home.join("registry");
        let found = files(&registry).into_iter();
        let found = found.filter_map(|name| Some(name.strip_suffix("/index.json")?.to_owned()));
        let layouts = found.map(|repository| {
            let folder = registry.join(&repository);
            let index = fs::read(folder.join("index.json")).unwrap();
            let index: Value = serde_json::from_slice(&index).unwrap();
            let tags = index["manifests"].as_array().unwrap().iter().filter_map(|entry| {
                let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str()?;
                Some((tag.to_owned(), entry["digest"].as_str().unwrap().parse().unwrap()))
            });
            let tags = tags.collect();
            Layout { repository, folder, tags }
        });
        layouts.collect()
    }
}

impl Layout {
    /// Where a blob lies.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }

    /// What a tag names, for skopeo.
    pub(super) fn reference(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.folder.display())
    }

    /// The platforms of an image's index, each with its manifest.
    pub(super) fn platforms(&self, index: &Digest) -> BTreeMap<String, Value> {
        let read = |digest: &Digest| -> Value {
            serde_json::from_slice(&fs::read(self.blob(digest)).unwrap()).unwrap()
        };
        let index = read(index);
        let entries = index["manifests"].as_array().unwrap().iter().map(|entry| {
            let part = |name: &str| entry["platform"][name].as_str().unwrap().to_owned();
            let manifest = read(&entry["digest"].as_str().unwrap().parse().unwrap());
            (format!("{}/{}", part("os"), part("architecture")), manifest)
        });
        entries.collect()
    }
}

/// An SPDX document.
pub(super) struct Sbom(Value);

/// Name and version of what is linked or installed.
pub(super) type Named = (String, String);

/// A program that an SBOM names.
pub(super) struct Program {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) platform: String,
    pub(super) sha256: String,
    /// Where it lies in the asset.
    pub(super) path: String,
    /// The Go package that it is built from, and that package's module.
    pub(super) go: Option<(String, String)>,
    /// Go modules by name and version, the standard library too; each with Go's sum, when there is one.
    pub(super) modules: BTreeMap<Named, Option<String>>,
    /// Those of the modules that the source tree itself carries, each with its folder there.
    pub(super) carried: BTreeMap<Named, String>,
}

impl Sbom {
    pub(super) fn read(path: &Path) -> Self {
        Self(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        self.0["packages"].as_array().unwrap().iter()
    }

    fn package(&self, id: &str) -> &Value {
        self.packages().find(|package| package["SPDXID"] == id).unwrap()
    }

    /// Elements that are related to one, each with the comment on that.
    fn related(&self, from: &str, how: &str) -> Vec<(&str, Option<&str>)> {
        let relationships = self.0["relationships"].as_array().unwrap().iter();
        let found = relationships.filter(|relationship| {
            relationship["spdxElementId"] == from && relationship["relationshipType"] == how
        });
        found.map(|one| (text(&one["relatedSpdxElement"]), one["comment"].as_str())).collect()
    }

    /// What the document describes.
    fn subject(&self) -> &str {
        let described = self.related("SPDXRef-DOCUMENT", "DESCRIBES");
        assert_eq!(described.len(), 1);
        described[0].0
    }

    pub(super) fn programs(&self) -> Vec<Program> {
        let contained = self.related(self.subject(), "CONTAINS").into_iter();
        let programs = contained.filter(|(id, _)| id.starts_with("SPDXRef-program-"));
        programs.map(|(id, at)| self.program(id, at.unwrap())).collect()
    }

    fn program(&self, id: &str, at: &str) -> Program {
        let package = self.package(id);
        let mut comment = text(&package["comment"]).split("; ");
        let platform = comment.next().unwrap().to_owned();
        let go =
            comment.find_map(|part| part.strip_prefix("Go package ")?.split_once(" of module "));
        let linked = self.related(id, "STATIC_LINK").into_iter();
        let linked = linked.filter(|(id, _)| id.starts_with("SPDXRef-go-"));
        let linked: Vec<_> = linked.map(|(id, _)| self.package(id)).collect();
        let modules = linked.iter().map(|module| {
            let references = module["externalRefs"].as_array().into_iter().flatten();
            let mut sums = references.filter(|reference| reference["referenceType"] == "go-sum");
            let sum = sums.next().map(|reference| text(&reference["referenceLocator"]).to_owned());
            (named(module), sum)
        });
        let carried = linked.iter().filter_map(|module| {
            let (folder, _) =
                module["comment"].as_str()?.strip_prefix("from `")?.split_once('`')?;
            Some((named(module), folder.to_owned()))
        });
        let (name, version) = named(package);
        Program {
            name,
            version,
            platform,
            sha256: text(&package["checksums"][0]["checksumValue"]).to_owned(),
            path: at.trim_start_matches("at `").trim_end_matches('`').to_owned(),
            go: go.map(|(package, module)| (package.to_owned(), module.to_owned())),
            modules: modules.collect(),
            carried: carried.collect(),
        }
    }

    /// Debian packages that an image for a platform has, as `name version architecture`.
    pub(super) fn debian(&self, architecture: &str) -> BTreeSet<String> {
        let contained = self.related(self.subject(), "CONTAINS").into_iter();
        let packages = contained.filter(|(id, _)| id.starts_with("SPDXRef-deb-")).map(|(id, _)| {
            let (name, version) = named(self.package(id));
            let purl = text(&self.package(id)["externalRefs"][0]["referenceLocator"]);
            let qualifiers = purl.split_once('?').unwrap().1.split('&');
            let mut of = qualifiers.filter_map(|qualifier| qualifier.strip_prefix("arch="));
            format!("{name} {version} {}", of.next().unwrap())
        });
        let fits = |one: &String| one.ends_with(" all") || one.ends_with(architecture);
        packages.filter(fits).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn named(package: &Value) -> Named {
    (text(&package["name"]).to_owned(), text(&package["versionInfo"]).to_owned())
}
