//! What a cluster takes out of a release: verified documents, then each file by its digest.
//!
//! Programs and images lie in one folder a release, each put there whole; who runs the same release again finds them.

mod image;
mod newest;

pub use self::newest::newest;

use std::{
    error::Error,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::read::GzDecoder;
use kdistro_formats::{
    Digest, layout,
    release::{Asset, Component, Release as Document},
};
use kdistro_verify::{
    check::{self, Outcome, Scope, TrustSource},
    hash::{self, Hasher},
    store::{self, Reader},
};
use semver::Version;
use tempfile::NamedTempFile;

use crate::{DevclusterError, host::ARCHITECTURE};

type Result<T, E = DevclusterError> = std::result::Result<T, E>;

/// The programs of Kubernetes without which there is no control plane.
const CONTROL_PLANE: [&str; 4] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];
/// And those without which there is no node.
const NODE: [&str; 2] = ["kubelet", "kube-proxy"];
/// Programs of etcd's archive; the last one restores snapshots from 3.5 on.
const ETCD: [&str; 3] = ["etcd", "etcdctl", "etcdutl"];
/// The program of upstream's end-to-end tests.
pub const TESTS: &str = "e2e.test";
/// The image that they run.
pub(crate) const IMAGE_OF_TESTS: &str = "agnhost";
/// The folder of the CNI plugins.
const PLUGINS: &str = "cni";
/// The file that says that all of a release was brought.
const BROUGHT: &str = "brought.json";

/// Where a release is, and by whom it must be signed.
#[derive(Clone, Debug)]
pub struct Source {
    /// The manifest: a path or an address.
    pub manifest: String,
    /// The store; without it the manifest's path less its layout suffix.
    pub store: Option<String>,
    /// Whom to believe.
    pub trust: TrustSource,
    /// A proxy for https.
    pub proxy: Option<String>,
    /// How much is verified before anything is taken: [`Scope::Documents`], or less of who tries what is not offered yet.
    pub scope: Scope,
}

/// A release on this machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// Its name, such as `1-20-1`.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The version of Kubernetes.
    pub kubernetes: Version,
    /// The version of etcd.
    pub etcd: Version,
    /// Whether `CoreDNS` is shipped.
    pub coredns: bool,
    /// Where its files are.
    pub folder: PathBuf,
}

impl Release {
    /// The path of a program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// The folder of the CNI plugins.
    pub fn plugins(&self) -> PathBuf {
        self.folder.join(PLUGINS)
    }

    /// An image in an archive that containerd imports.
    pub fn image(&self, name: &str) -> PathBuf {
        self.folder.join("images").join(format!("{name}.tar"))
    }

    /// The images that a node of it has.
    pub fn images(&self) -> Vec<&'static str> {
        let coredns = self.coredns.then_some("coredns");
        ["pause", "etcd"].into_iter().chain(coredns).collect()
    }
}

/// Where images in a cluster seem to come from; nothing is there.
pub const REGISTRY: &str = "kdistro.local";

/// The name that an image of the release `release` has in a cluster.
pub fn image_name(name: &str, release: &str) -> String {
    format!("{REGISTRY}/{name}:{release}")
}

/// Verifies a release and puts what a cluster needs of it below `folder`; `node` says whether pods will run.
///
/// What is there already was compared with its digest when it was put there.
pub fn bring(
    source: &Source,
    (folder, node): (&Path, bool),
    say: &mut dyn FnMut(&str),
) -> Result<Release> {
    verified(source, folder, |bringing| bringing.all(node, say))
}

/// What is written down of a release of which everything was brought.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Brought {
    release: Release,
    /// Whether that was for a node, too.
    node: bool,
}

/// The release with this manifest, where [`bring`] put all of it below `folder` before. Its store is not asked: so who is
/// half-way to it can go on while that cannot be reached.
pub fn brought(folder: &Path, manifest: &Digest, node: bool) -> Option<Release> {
    let bytes = fs::read(folder.join(manifest.hex()).join(BROUGHT)).ok()?;
    let brought: Brought = serde_json::from_slice(&bytes).ok()?;
    let is_it = brought.release.digest == *manifest && (brought.node || !node);
    is_it.then_some(brought.release)
}

/// As [`bring`] for a node, and what upstream's end-to-end tests need besides: their program `e2e.test`, and the image that
/// they run.
pub fn bring_tests(source: &Source, folder: &Path, say: &mut dyn FnMut(&str)) -> Result<Release> {
    verified(source, folder, |bringing| {
        let release = bringing.all(true, say)?;
        bringing.tests(&release, say)?;
        Ok(release)
    })
}

/// Verifies a release, and lets `take` have it.
fn verified<T>(
    source: &Source,
    folder: &Path,
    take: impl FnOnce(&Bringing<'_>) -> Result<T>,
) -> Result<T> {
    let (reader, name) =
        store::locate(&source.manifest, source.store.as_deref(), source.proxy.as_deref())
            .map_err(|error| unreadable(&source.manifest, error))?;
    let report = check::check(&*reader, &name, &source.trust, source.scope);
    let (Outcome::Verified, Some(digest)) = (report.outcome, report.manifest_digest) else {
        let line = |one: &check::Problem| format!("\n  {}: {}", one.file, one.message);
        let problems = report.problems.iter().map(line).collect();
        let (manifest, differs) = (source.manifest.clone(), report.outcome == Outcome::Differs);
        return Err(DevclusterError::Unverified { manifest, differs, problems });
    };
    let bytes = store::read(&*reader, &name, layout::LARGEST_DOCUMENT);
    let bytes = bytes.map_err(|error| unreadable(&name, error))?.unwrap_or_default();
    let document = Document::from_yaml(&String::from_utf8_lossy(&bytes))
        .map_err(|error| unreadable(&name, error))?;
    let release = document.name().to_string();
    let bringing = Bringing { reader: &*reader, release, document: &document, folder, digest };
    // It was read anew: what was verified is what counts.
    if hash::sha256(&bytes) != digest {
        return Err(bringing.differs(&name, &hash::sha256(&bytes), &digest));
    }
    take(&bringing)
}

fn unreadable(name: &str, source: impl Error + Send + Sync + 'static) -> DevclusterError {
    DevclusterError::Document { name: name.to_owned(), source: Box::new(source) }
}

/// A verified release that is brought to this machine.
struct Bringing<'a> {
    reader: &'a dyn Reader,
    release: String,
    document: &'a Document,
    folder: &'a Path,
    digest: Digest,
}

impl Bringing<'_> {
    fn all(&self, node: bool, say: &mut dyn FnMut(&str)) -> Result<Release> {
        let kubernetes = self.component("kubernetes")?;
        let etcd = self.component("etcd")?;
        let release = Release {
            name: self.release.clone(),
            digest: self.digest,
            kubernetes: version(kubernetes)?,
            etcd: version(etcd)?,
            coredns: self.component("coredns").is_ok(),
            folder: self.folder.join(self.digest.hex()),
        };
        for folder in ["bin", PLUGINS, "images"] {
            let folder = release.folder.join(folder);
            fs::create_dir_all(&folder).map_err(DevclusterError::io("make", &folder))?;
            clear(&folder);
        }
        clear(self.folder);
        let more = if node { &NODE[..] } else { &[] };
        for name in CONTROL_PLANE.iter().chain(more) {
            let path = release.program(name);
            if !path.is_file() {
                say(name);
                let asset = format!("bin/linux/{ARCHITECTURE}/{name}");
                self.program((kubernetes, &asset), &path)?;
            }
        }
        if !release.program("etcd").is_file() {
            say("etcd");
            self.unpack((etcd, "etcd-linux"), &release.program("etcd"), &|name| {
                ETCD.contains(&name).then(|| release.program(name))
            })?;
        }
        if node {
            let (plugins, last) = (release.plugins(), release.plugins().join("loopback"));
            if !last.is_file() {
                say("the CNI plugins");
                let component = self.component("cni-plugins")?;
                self.unpack((component, "cni-plugins-linux"), &last, &|name| {
                    Some(plugins.join(name))
                })?;
            }
            for name in release.images() {
                let path = release.image(name);
                if !path.is_file() {
                    say(&format!("image {name}"));
                    self.image(name, &path)?;
                }
            }
        }
        if brought(self.folder, &release.digest, node).is_none() {
            let path = release.folder.join(BROUGHT);
            let brought = Brought { release: release.clone(), node };
            let mut file = beside(&path)?;
            serde_json::to_writer(&mut file, &brought).map_err(|e| unreadable(BROUGHT, e))?;
            put(file, &path, 0o644)?;
        }
        Ok(release)
    }

    fn tests(&self, release: &Release, say: &mut dyn FnMut(&str)) -> Result<()> {
        let program = release.program(TESTS);
        if !program.is_file() {
            say(TESTS);
            let component = self.component("kubernetes-test")?;
            let place = |name: &str| (name == TESTS).then(|| program.clone());
            self.unpack((component, "kubernetes-test-linux"), &program, &place)?;
        }
        let image = release.image(IMAGE_OF_TESTS);
        if !image.is_file() {
            say(&format!("image {IMAGE_OF_TESTS}"));
            self.image(IMAGE_OF_TESTS, &image)?;
        }
        Ok(())
    }

    fn component(&self, name: &str) -> Result<&Component> {
        let mut components = self.document.status.components.iter();
        components.find(|one| one.name == name).ok_or_else(|| self.lacks(name))
    }

    fn lacks(&self, what: &str) -> DevclusterError {
        let (release, what) = (self.release.clone(), what.to_owned());
        DevclusterError::Lacks { release, what, platform: format!("linux/{ARCHITECTURE}") }
    }

    fn differs(&self, name: &str, found: &Digest, expected: &Digest) -> DevclusterError {
        DevclusterError::Differs {
            name: name.to_owned(),
            release: self.release.clone(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    /// Brings a program under its path.
    fn program(&self, (component, name): (&Component, &str), path: &Path) -> Result<()> {
        let asset = component.assets.iter().find(|asset| asset.name == name);
        let content = self.fetch(asset.ok_or_else(|| self.lacks(name))?, path)?;
        put(content, path, 0o755)
    }

    /// Unpacks an archive whose name begins so; `place` says where each plain file goes, by its last name. Where `last` is
    /// there, all others are.
    fn unpack(
        &self,
        (component, prefix): (&Component, &str),
        last: &Path,
        place: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<()> {
        let start = format!("{prefix}-{ARCHITECTURE}");
        let is_it = |asset: &&Asset| {
            // Some names end with a version.
            let rest =
                asset.name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(".tar.gz"));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let asset = component.assets.iter().find(is_it).ok_or_else(|| self.lacks(prefix))?;
        let content = self.fetch(asset, &self.folder.join("archive"))?;
        let failed = |source| unreadable(&asset.name, source);
        let mut files = Vec::new();
        let mut archive = tar::Archive::new(GzDecoder::new(content.reopen().map_err(failed)?));
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let name = entry.path().map_err(failed)?.into_owned();
            let name = name.file_name().and_then(|name| name.to_str());
            let is_file = entry.header().entry_type().is_file();
            let Some(path) = name.filter(|_| is_file).and_then(place) else { continue };
            let mut file = beside(&path)?;
            io::copy(&mut entry, &mut file).map_err(DevclusterError::io("write", &path))?;
            files.push((file, path));
        }
        // All at the end, and the one last that is looked for to see whether the others are there.
        files.sort_by_key(|(_, path)| path == last);
        files.into_iter().try_for_each(|(file, path)| put(file, &path, 0o755))
    }

    /// Copies an asset beside `path`; what is not what the manifest says has no name.
    fn fetch(&self, asset: &Asset, path: &Path) -> Result<NamedTempFile> {
        let archive = asset.archive.as_ref().ok_or_else(|| self.lacks(&asset.name))?;
        let start = format!("/{}/", layout::release(&self.document.name()));
        let (_, inner) = archive.uri.rsplit_once(&start).ok_or_else(|| self.lacks(&asset.name))?;
        let name = format!("{}{inner}", start.trim_start_matches('/'));
        let size = asset.size.ok_or_else(|| self.lacks(&asset.name))?;
        self.copy(&name, (&archive.sha256, size), path)
    }

    /// Copies a file of the store beside `path`, and no more than it should have.
    fn copy(
        &self,
        name: &str,
        (expected, size): (&Digest, u64),
        path: &Path,
    ) -> Result<NamedTempFile> {
        let content = self.reader.open(name).map_err(|source| unreadable(name, source))?;
        let mut content = content.ok_or_else(|| self.lacks(name))?;
        let mut hasher = Hasher::new(beside(path)?);
        copy(&mut content.by_ref().take(size.saturating_add(1)), &mut hasher)
            .map_err(|source| unreadable(name, source))?;
        let (file, found, _) = hasher.finish();
        if found == *expected { Ok(file) } else { Err(self.differs(name, &found, expected)) }
    }
}

/// How files begin that are being written, and after what time nobody writes to one any more.
const UNFINISHED: &str = ".tmp";
const OLD: Duration = Duration::from_hours(1);

/// In larger pieces than the library takes.
fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..count).unwrap_or_default())?;
    }
}

/// A new file in the folder of another, which it may become.
fn beside(path: &Path) -> Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder);
    made.map_err(DevclusterError::io("make a file in", folder))
}

/// Removes from a folder what earlier runs left that were killed. What is young may be another's who is at work.
fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        let age =
            entry.metadata().and_then(|it| it.modified()).ok().and_then(|it| it.elapsed().ok());
        if is_ours && age.is_some_and(|age| age > OLD) {
            // It hinders nobody.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Gives a file its name.
fn put(file: NamedTempFile, path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| DevclusterError::io("write", path)(source);
    file.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

/// Upstream's version, without what a build adds to it.
fn version(component: &Component) -> Result<Version> {
    let text = component.git_tag.trim_start_matches('v');
    Version::parse(text).map_err(|source| unreadable(&component.git_tag, source))
}
