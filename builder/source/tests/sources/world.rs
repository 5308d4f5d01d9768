//! A temporary world: a home with its git settings, an upstream repository, and a mirror of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_formats::{CommitId, Tag};
use kdistro_source::{Environment, Mirror, Revision, TagSource};
use tempfile::TempDir;

/// The address that the tests pretend to fetch from; git's `insteadOf` leads to the folder `upstream`.
pub(crate) const URL: &str = "https://upstream.example/etcd-io/etcd";

/// Everything a test uses; removed at its end.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(world.path("home")).unwrap();
        world.lead_to(&format!("file://{}", world.path("upstream").display()));
        world.git(&[
            "init",
            "--quiet",
            "-b",
            "main",
            &world.path("upstream").display().to_string(),
        ]);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets git fetch from somewhere else when asked for [`URL`].
    pub(crate) fn lead_to(&self, address: &str) {
        let settings = format!(
            "[url \"{address}\"]\n\tinsteadOf = {URL}\n[user]\n\tname = Tester\n\temail = t@example.org\n[apply]\n\twhitespace = fix\n[core]\n\tautocrlf = input\n[i18n]\n\tcommitEncoding = latin1\n[diff]\n\tnoprefix = true\n[protocol \"ext\"]\n\tallow = always\n"
        );
        fs::write(self.path("home/.gitconfig"), settings).unwrap();
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment::of_host(std::env::vars_os()).with("HOME", self.path("home"))
    }

    /// Runs git in the upstream repository, with plain settings.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.path("upstream"), arguments)
    }

    pub(crate) fn git_in(&self, folder: &Path, arguments: &[&str]) -> String {
        let folder = if folder.exists() { folder } else { self.folder.path() };
        let (success, output) = git(folder, arguments);
        assert!(success, "git {arguments:?}: {output}");
        output
    }

    /// Writes files and commits them with an author and a date of its own.
    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.path("upstream").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        let author = "--author=Jörg Ähre <joerg@example.org>";
        let date = "--date=2025-02-03T04:05:06+0130";
        self.git(&["commit", "--quiet", "--allow-empty", author, date, "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn mirror(&self) -> Mirror {
        Mirror::open(&self.path("mirrors/etcd.git"), &self.environment()).unwrap()
    }

    /// Tags the upstream's head and fetches it.
    pub(crate) fn release(&self, name: &str) -> (Mirror, Revision) {
        self.git(&["tag", name]);
        let mirror = self.mirror();
        let revision = mirror.fetch_tag(&source(&tag(name)), &silent).unwrap();
        (mirror, revision)
    }
}

/// Runs git with no settings of the host's user.
#[expect(clippy::disallowed_methods, reason = "the tests make repositories with the real git")]
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "core.autocrlf=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
        .envs([("GIT_COMMITTER_NAME", "kdistro"), ("GIT_COMMITTER_EMAIL", "patches@kdistro.dev")])
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned())
}

pub(crate) fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

pub(crate) fn commit_id(text: &str) -> CommitId {
    text.parse().unwrap()
}

pub(crate) fn source(tag: &Tag) -> TagSource<'_> {
    TagSource { url: URL, tag, expected: None, refresh: false }
}

pub(crate) fn silent(_: &str) {}

/// Writes out an error with all its causes, as the programs print it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
