//! A Debian archive of a few packages made here, signed with keys of its own, and the real apt that reads it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_verify::hash::sha256;
use tempfile::TempDir;

use crate::{
    run::{Ran, must, run, with},
    tiny::{CHANNEL, PROJECT, Tiny, write},
};

/// The code name of its suite.
const SUITE: &str = "small";
/// Where the archive's index of packages stands.
const INDEX: &str = "main/binary-amd64/Packages";

/// A package: its content and its scripts.
#[derive(Clone)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) files: Vec<(&'static str, &'static str)>,
    pub(super) scripts: Vec<&'static str>,
}

impl Package {
    /// A package with one file and no script.
    pub(super) fn new(name: &'static str, file: &'static str, content: &'static str) -> Self {
        Self { name, version: "1.0-1", files: vec![(file, content)], scripts: Vec::new() }
    }

    fn file_name(&self) -> String {
        format!("{}_{}_all.deb", self.name, self.version)
    }

    fn control(&self) -> String {
        let Self { name, version, .. } = self;
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\n"
        )
    }

    /// Lets dpkg build it.
    fn build(&self, folder: &Path, into: &Path) {
        let tree = folder.join(self.name);
        let _ = fs::remove_dir_all(&tree);
        write(&tree.join("DEBIAN/control"), self.control() + "Description: a test\n");
        for script in &self.scripts {
            let path = tree.join("DEBIAN").join(script);
            write(&path, "#!/bin/sh\nln -s hello /usr/bin/greet\n");
            must(with("chmod", ["0755"]).arg(path));
        }
        let copyright = format!("usr/share/doc/{}/copyright", self.name);
        let text = [(copyright.as_str(), "Do as you please.\n")];
        for (name, content) in self.files.iter().chain(&text) {
            write(&tree.join(name), content);
        }
        let mut build = with("dpkg-deb", ["--build", "--root-owner-group"]);
        must(build.arg(&tree).arg(into.join(self.file_name())).env("SOURCE_DATE_EPOCH", "0"));
    }
}

/// How the index is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// As it should be.
    Well,
    /// By a key that nobody wants.
    ByAnother,
    /// By nobody: a release file alone.
    ByNobody,
    /// As it should be, and changed afterwards.
    Before,
    /// By a key that has expired since.
    ByExpired,
    /// With a signature that has expired since.
    Expired,
    /// Rightly, and it says itself that it is too old.
    TooOld,
}

/// An archive, its keys, and the file that leads apt to it.
pub(super) struct Archive {
    /// Not below the tests' folder: the path of an agent's socket must be short.
    keys: TempDir,
    folder: PathBuf,
    fingerprints: Vec<String>,
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Only the agent of this folder of keys.
        let _ = run(self.gpg("gpgconf").args(["--kill", "all"]));
    }
}

impl Archive {
    /// An archive with keys and no package.
    pub(super) fn new(folder: &Path) -> Self {
        let ours = fs::Permissions::from_mode(0o700);
        let mut archive = Self {
            keys: tempfile::Builder::new().permissions(ours).tempdir().unwrap(),
            folder: folder.to_owned(),
            fingerprints: Vec::new(),
        };
        for (name, expires) in [("well", "never"), ("other", "never"), ("expired", "2023-12-01")] {
            let user = format!("{name}@example.org");
            let mut make = archive.gpg("gpg");
            // A key that expired is made in its own time.
            make.args(["--faked-system-time", "20231101T000000", "--passphrase", ""]);
            must(make.args(["--quick-generate-key", &user, "ed25519", "sign", expires]));
            let mut list = archive.gpg("gpg");
            let listed = must(list.args(["--with-colons", "--list-keys", &user]));
            let found = listed.lines().find_map(|line| line.strip_prefix("fpr:"));
            archive.fingerprints.push(found.unwrap().trim_matches(':').to_owned());
        }
        // The keys that the host trusts for this archive: all of them.
        let exported = archive.folder.join("keys.gpg");
        fs::create_dir_all(&archive.folder).unwrap();
        must(archive.gpg("gpg").arg("--export").arg("--output").arg(&exported));
        archive
    }

    fn gpg(&self, program: &str) -> Command {
        let mut command = with(program, ["--homedir"]);
        command.arg(self.keys.path());
        if program == "gpg" {
            command.args(["--batch", "--no-tty", "--yes", "--pinentry-mode", "loopback"]);
        }
        command
    }

    /// The fingerprints that the configuration names: all but the one that nobody wants.
    pub(super) fn wanted(&self) -> String {
        [&self.fingerprints[0], &self.fingerprints[2]].map(String::as_str).join(", ")
    }

    /// The fingerprint of the key that nobody wants.
    pub(super) fn unwanted(&self) -> &str {
        &self.fingerprints[1]
    }

    /// A package's file in the archive.
    pub(super) fn file(&self, package: &Package) -> PathBuf {
        self.folder.join("pool").join(package.file_name())
    }

    /// Makes the archive hold just these packages.
    pub(super) fn publish(&self, packages: &[Package], signed: Signed) {
        let pool = self.folder.join("pool");
        let _ = fs::remove_dir_all(&pool);
        fs::create_dir_all(&pool).unwrap();
        let mut index = String::new();
        for package in packages {
            package.build(&self.folder.join("trees"), &pool);
            let bytes = fs::read(self.file(package)).unwrap();
            let (name, size, digest) = (package.file_name(), bytes.len(), sha256(&bytes).hex());
            let place = format!("Filename: pool/{name}\nSize: {size}\nSHA256: {digest}\n\n");
            index.extend([package.control(), place]);
        }
        let suite = self.folder.join("dists").join(SUITE);
        let _ = fs::remove_dir_all(&suite);
        write(&suite.join(INDEX), &index);
        let (size, digest) = (index.len(), sha256(index.as_bytes()).hex());
        let until = match signed {
            Signed::TooOld => "Valid-Until: Fri, 01 Dec 2023 00:00:00 UTC\n",
            _ => "",
        };
        let release = format!(
            "Suite: {SUITE}\nCodename: {SUITE}\nDate: Tue, 14 Nov 2023 22:13:20 UTC\n{until}Architectures: amd64\nComponents: main\nSHA256:\n {digest} {size} {INDEX}\n"
        );
        self.sign(&suite, &release, signed);
    }

    fn sign(&self, suite: &Path, release: &str, signed: Signed) {
        write(&suite.join("Release"), release);
        let by = match signed {
            Signed::ByNobody => return,
            Signed::ByAnother => "other@example.org",
            Signed::ByExpired => "expired@example.org",
            _ => "well@example.org",
        };
        let mut sign = self.gpg("gpg");
        sign.args(["--faked-system-time", "20231115T000000", "--local-user", by]);
        if signed == Signed::Expired {
            sign.args(["--default-sig-expire", "1d"]);
        }
        sign.args(["--clearsign", "--output"]).arg(suite.join("InRelease"));
        must(sign.arg(suite.join("Release")));
        fs::remove_file(suite.join("Release")).unwrap();
        if signed == Signed::Before {
            let text = fs::read_to_string(suite.join("InRelease")).unwrap();
            write(&suite.join("InRelease"), text.replace("22:13:20", "22:13:21"));
        }
    }

    /// The file that names it to apt.
    fn sources(&self) -> PathBuf {
        let path = self.folder.join("small.sources");
        let folder = self.folder.display();
        write(
            &path,
            format!(
                "Types: deb\nURIs: file:{folder}\nSuites: {SUITE}\nComponents: main\nSigned-By: {folder}/keys.gpg\n"
            ),
        );
        path
    }
}

/// The small world with an image on a base of packages from an archive of its own.
pub(super) struct Debian {
    pub(super) tiny: Tiny,
    pub(super) archive: Archive,
}

impl Debian {
    /// Everything is built but the image, and nothing of it is locked.
    pub(super) fn new(names: &[&str]) -> Self {
        let tiny = Tiny::ready();
        let archive = Archive::new(&tiny.path("debian"));
        let inputs = tiny.read("projects/inputs.yaml");
        let (_, rest) = inputs.split_once("go:\n").unwrap();
        let (keys, names) = (archive.wanted(), names.join(", "));
        tiny.write(
            "projects/inputs.yaml",
            &format!(
                "debian:\n  suite: {SUITE}\n  keys: [{keys}]\ngo:\n{rest}bases:\n  - name: little\n    packages: [{names}]\n"
            ),
        );
        let image = "    images:\n      - {name: hello, base: little, files: {bin/hello: hello}, entrypoint: [/bin/hello]}\n";
        tiny.write(PROJECT, &(tiny.read(PROJECT) + image));
        tiny.commit();
        Self { tiny, archive }
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        run(self.tiny.kdistro(arguments).arg("--apt-sources").arg(self.archive.sources()))
    }

    pub(super) fn lock(&self) -> Ran {
        self.run(&["lock", CHANNEL])
    }

    pub(super) fn cut(&self) -> Ran {
        self.run(&["cut", CHANNEL, "--date", crate::shared::DATE])
    }
}
