//! Debian sources and packages: fetched from the real archive, and from a copy of it that somebody changed.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_source::{
    Apt, AptError, AptSettings, Environment, FilePin, Mirror, PackagePin, Reach, SourceRequest,
};
use kdistro_verify::hash::{sha256, sha256_of};
use lzma_rust2::XzReader;
use tempfile::TempDir;

use crate::world::{chain, silent, tag};

/// Debian's archive keys for bookworm: the archive, security updates, the stable release.
const KEYS: [&str; 3] = [
    "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8",
    "05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0",
    "4D64FEC119C2029067D6E791F8D2585B8783D481",
];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

fn settings(folder: &Path) -> AptSettings {
    AptSettings {
        environment: Environment::of_host(std::env::vars_os()),
        suite: "bookworm".to_owned(),
        keys: KEYS.map(str::to_owned).to_vec(),
        sources: None,
        state: folder.join("apt"),
    }
}

/// Settings that reach nothing.
fn offline(folder: &Path) -> AptSettings {
    let environment = Environment::of_host(std::env::vars_os());
    let nowhere = "http://127.0.0.1:1";
    let environment = environment.with("http_proxy", nowhere).with("https_proxy", nowhere);
    AptSettings { environment, state: folder.join("offline"), ..settings(folder) }
}

#[test]
fn upstream_sources_of_debian_become_the_same_commits_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("into");
    let apt = Apt::open(settings(folder.path())).unwrap();
    let environment = Environment::of_host(std::env::vars_os());
    let mirror = Mirror::open(&folder.path().join("mirror.git"), &environment).unwrap();
    for (package, version, upstream, commit) in [
        ("etcd", "3.4.23-4", "v3.4.23", "35cd9c0fb53111684600d5bf0d018b1eed6743ea"),
        (
            "golang-github-containernetworking-plugins",
            "1.1.1+ds1-3",
            "v1.1.1",
            "026085be5f3df428fbd3daa65ddfb0ae6809e68c",
        ),
    ] {
        let request = SourceRequest { package, version, expected: &[] };
        let fetched = apt.fetch_source(&request, &into, &silent).unwrap();
        assert_eq!(fetched.files.len(), 3);
        for file in &fetched.files {
            let found = sha256_of(File::open(&file.file).unwrap()).unwrap();
            assert_eq!(found, (file.digest, file.size), "{}", file.name);
        }
        let imported = mirror.import_debian(&tag(upstream), &fetched, None, &silent).unwrap();
        assert_eq!(imported.commit.as_str(), commit, "{package}");
        assert!(mirror.read_file(&imported.tree, "go.mod").unwrap().is_some());
        assert_eq!(mirror.read_file(&imported.tree, "debian/control").unwrap(), None);
        // The second time the lock names the files, and no network is needed.
        let pin = |file: &kdistro_source::SourceFile| FilePin {
            name: file.name.clone(),
            digest: file.digest,
        };
        let mut expected: Vec<_> = fetched.files.iter().map(pin).collect();
        let nowhere = Apt::open(offline(folder.path())).unwrap();
        let request = SourceRequest { package, version, expected: &expected };
        assert_eq!(nowhere.fetch_source(&request, &into, &silent).unwrap(), fetched);
        // A lock that names other content is told what the archive has.
        expected[1].digest = sha256(b"other");
        let request = SourceRequest { package, version, expected: &expected };
        let text = chain(&apt.fetch_source(&request, &into, &silent).unwrap_err());
        let (found, wanted) = (fetched.files[1].digest, expected[1].digest);
        assert_eq!(text, format!("`{}` has {found}, expected {wanted}", expected[1].name));
    }
    let request = SourceRequest { package: "etcd", version: "0.0-1", expected: &[] };
    let text = chain(&apt.fetch_source(&request, &into, &silent).unwrap_err());
    assert!(text.contains("cannot fetch source package etcd=0.0-1"), "{text}");
    let request = SourceRequest { package: "-o=x", version: "1", expected: &[] };
    assert!(matches!(apt.fetch_source(&request, &into, &silent), Err(AptError::Name { .. })));
}

/// Reads the lists once more, as the archive has them.
#[expect(clippy::disallowed_methods, reason = "the test needs the archive's own bytes")]
fn compressed_lists(folder: &Path) -> PathBuf {
    let lists = folder.join("lists");
    fs::create_dir_all(lists.join("partial")).unwrap();
    let updated = Command::new("apt-get")
        .args(["-qq", "update", "-o", "Acquire::IndexTargets::deb::Packages::KeepCompressed=true"])
        .args(["-o", "Acquire::IndexTargets::deb::Packages::KeepCompressedAs=xz", "-o"])
        .arg(format!("Dir::State::lists={}", lists.display()))
        .env("APT_CONFIG", folder.join("apt/bookworm/arm64/apt.conf"))
        .status()
        .unwrap();
    assert!(updated.success());
    lists
}

/// A copy of a small part of the archive, signed by Debian as it is.
struct Copy {
    folder: TempDir,
    index: PathBuf,
    release: PathBuf,
    package: PathBuf,
    pin: PackagePin,
}

impl Copy {
    /// Resolves a closure with the real archive, then lays out what came as an archive of its own.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let apt = Apt::open(settings(folder.path())).unwrap();
        let into = folder.path().join("into");
        let found =
            apt.resolve("arm64", (&["libc6".to_owned()], Reach::Closure), &into, &silent).unwrap();
        let names: Vec<_> = found.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["gcc-12-base", "libc6", "libgcc-s1"]);
        assert!(found.iter().all(|package| package.architecture == "arm64"));
        let pin = PackagePin {
            name: found[0].name.clone(),
            version: found[0].version.clone(),
            architecture: "arm64".to_owned(),
            digest: found[0].digest,
        };
        let lists = compressed_lists(folder.path());
        let list = |end: &str| {
            let mut files = fs::read_dir(&lists).unwrap().map(|entry| entry.unwrap().path());
            files.find(|file| file.to_string_lossy().ends_with(end)).unwrap()
        };
        let copy = |from: PathBuf, to: &str| {
            let to = folder.path().join("archive").join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, &to).unwrap();
            to
        };
        let release = copy(list("dists_bookworm_InRelease"), "dists/bookworm/InRelease");
        let index = list("dists_bookworm_main_binary-arm64_Packages.xz");
        let index = copy(index, "dists/bookworm/main/binary-arm64/Packages.xz");
        let mut text = String::new();
        XzReader::new(File::open(&index).unwrap(), true).read_to_string(&mut text).unwrap();
        let start = text.find("\nPackage: gcc-12-base\n").unwrap();
        let name = text[start..].split("\nFilename: ").nth(1).unwrap().lines().next().unwrap();
        let package = copy(found[0].file.clone(), name);
        Self { folder, index, release, package, pin }
    }

    /// Asks the copy as if for the first time.
    fn ask(&self, suite: &str) -> Result<PathBuf, String> {
        let fresh = tempfile::tempdir_in(self.folder.path()).unwrap();
        self.ask_with(suite, &fresh.path().join("apt"))
    }

    /// Asks the copy with lists that may be there from before.
    fn ask_with(&self, suite: &str, state: &Path) -> Result<PathBuf, String> {
        let sources = self.folder.path().join("copy.sources");
        let archive = self.folder.path().join("archive");
        let text = format!(
            "Types: deb\nURIs: file:{}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n",
            archive.display()
        );
        fs::write(&sources, text).unwrap();
        let (state, suite) = (state.to_path_buf(), suite.to_owned());
        let settings =
            AptSettings { sources: Some(sources), state, suite, ..settings(self.folder.path()) };
        let into = self.folder.path().join("copied");
        let apt = Apt::open(settings).map_err(|error| chain(&error))?;
        let names = ["gcc-12-base".to_owned()];
        let found = apt
            .resolve("arm64", (&names, Reach::Closure), &into, &silent)
            .map_err(|error| chain(&error))?;
        assert_eq!(found.len(), 1);
        Ok(found[0].file.clone())
    }

    /// Asks with one file changed, and puts the file back.
    fn ask_changed(&self, file: &Path, change: impl Fn(&mut Vec<u8>)) -> Result<PathBuf, String> {
        let good = fs::read(file).unwrap();
        let mut changed = good.clone();
        change(&mut changed);
        fs::write(file, changed).unwrap();
        let result = self.ask("bookworm");
        fs::write(file, good).unwrap();
        result
    }
}

#[test]
fn a_closure_is_resolved_without_root_and_a_changed_archive_is_refused() {
    let copy = Copy::new();
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    let text = copy.ask_changed(&copy.release, flip(400)).unwrap_err();
    assert!(text.contains("BADSIG") || text.contains("signature"), "{text}");
    let text = copy.ask_changed(&copy.index, flip(1000)).unwrap_err();
    assert!(text.contains("Hash Sum mismatch"), "{text}");
    let text = copy.ask_changed(&copy.package, flip(1000)).unwrap_err();
    assert!(text.contains("Hash Sum mismatch"), "{text}");
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let text = copy.ask_changed(&copy.package, cut).unwrap_err();
    assert!(text.contains("unexpected size") || text.contains("Hash Sum mismatch"), "{text}");
    let copied = copy.folder.path().join("copied");
    let kept = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    let left = fs::read_dir(&copied).into_iter().flatten().flatten().filter(kept).count();
    assert_eq!(left, 0, "something half-fetched was kept");
    // The same archive, unchanged, is fine.
    let file = copy.ask("bookworm").unwrap();
    assert_eq!(sha256(&fs::read(&file).unwrap()), copy.pin.digest);
    // Good lists of yesterday do not make up for a bad signature of today.
    let state = copy.folder.path().join("yesterday");
    copy.ask_with("bookworm", &state).unwrap();
    let good = fs::read(&copy.release).unwrap();
    let mut changed = good.clone();
    changed[400] ^= 1;
    fs::write(&copy.release, &changed).unwrap();
    let text = copy.ask_with("bookworm", &state).unwrap_err();
    assert!(text.contains("BADSIG") || text.contains("signature"), "{text}");
    fs::write(&copy.release, &good).unwrap();
    // Signed, but another suite than the folder says.
    fs::rename(
        copy.folder.path().join("archive/dists/bookworm"),
        copy.folder.path().join("archive/dists/trixie"),
    )
    .unwrap();
    let text = copy.ask("trixie").unwrap_err();
    assert!(text.contains("`bookworm`, expected one of trixie"), "{text}");
}

#[test]
fn pinned_packages_come_back_by_digest_only() {
    let folder = tempfile::tempdir().unwrap();
    let apt = Apt::open(settings(folder.path())).unwrap();
    let into = folder.path().join("into");
    let names = ["gcc-12-base".to_owned()];
    let found = apt.resolve("amd64", (&names, Reach::Closure), &into, &silent).unwrap();
    let mut pin = PackagePin {
        name: found[0].name.clone(),
        version: found[0].version.clone(),
        architecture: found[0].architecture.clone(),
        digest: found[0].digest,
    };
    let nowhere = Apt::open(offline(folder.path())).unwrap();
    let again = nowhere.fetch_packages("amd64", &[pin.clone()], &into, &silent).unwrap();
    assert_eq!(again, found);
    fs::write(&found[0].file, "spoilt").unwrap();
    assert!(nowhere.fetch_packages("amd64", &[pin.clone()], &into, &silent).is_err());
    assert_eq!(apt.fetch_packages("amd64", &[pin.clone()], &into, &silent).unwrap(), found);
    pin.digest = sha256(b"other");
    let text = chain(&apt.fetch_packages("amd64", &[pin.clone()], &into, &silent).unwrap_err());
    let (name, wanted) = (pin.file_name(), pin.digest);
    assert_eq!(text, format!("`{name}` has {}, expected {wanted}", found[0].digest));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "apt-config says what the host's settings are")]
fn it_is_told_when_expired_indexes_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let sources = folder.path().join("some.sources");
    let accepts = |more: &str| {
        let text = "Types: deb\nURIs: file:/nowhere\nSuites: bookworm\nComponents: main\n";
        fs::write(&sources, format!("{text}Signed-By: {KEYRING}\n{more}")).unwrap();
        let settings = AptSettings { sources: Some(sources.clone()), ..settings(folder.path()) };
        Apt::open(settings).unwrap().accepts_expired()
    };
    // What the host says of its own archives is not taken over for a file that is named.
    assert!(!accepts(""));
    assert!(!accepts("Check-Valid-Until: yes\n"));
    assert!(accepts("Check-Valid-Until: no\n"));
    assert!(accepts("Check-Date: false\n"));
    // Of the host, whatever it says.
    let dump = Command::new("apt-config").args(["dump", "Acquire"]).output().unwrap();
    let dump = String::from_utf8(dump.stdout).unwrap();
    let said = dump.contains("Acquire::Check-Valid-Until \"false\"");
    assert_eq!(Apt::open(settings(folder.path())).unwrap().accepts_expired(), said);
}

#[test]
fn archives_signed_by_others_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let keys = vec!["0".repeat(40)];
    let error = Apt::open(AptSettings { keys, ..settings(folder.path()) }).unwrap_err();
    assert!(matches!(error, AptError::NoArchive { .. }));
    assert!(error.to_string().contains("`bookworm`"), "{error}");
    let suite = "bo".to_owned();
    let error = Apt::open(AptSettings { suite, ..settings(folder.path()) }).unwrap_err();
    assert!(matches!(error, AptError::NoArchive { .. }));
}
