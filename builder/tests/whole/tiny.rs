//! A project of ten lines with one module beside it, its upstream, its module proxy and its build repository.

use std::{
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use kdistro_source::module_hash::{mod_file_hash, module_hash};
use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    run::{KDISTRO, Ran, go_settings, must, run, verifier, with},
    shared::{DATE, commit_all, copy, git, scratch, work},
};

/// The channel that ships it.
pub(crate) const CHANNEL: &str = "9-1";
/// Its manifest in the store.
pub(crate) const MANIFEST: &str = "kubernetes-9-1/kubernetes-9-1-1.yaml";
/// Its project file in the build repository.
pub(crate) const PROJECT: &str = "projects/tiny/hello/project.yaml";
/// Its channel's lock in the build repository.
pub(crate) const LOCK: &str = "release-manifests/9-1/channel.lock.yaml";
/// The folder of its patches.
pub(crate) const PATCHES: &str = "patches/tiny/hello/v1.0.0";

const URL: &str = "https://upstream.example/tiny/hello";
const MODULE_GO_MOD: &str = "module example.org/greeting\n\ngo 1.21\n";
const MODULE_CODE: &str = "package greeting\n\nconst Text = \"hello\"\n";
const MODULE_LICENSE: &str = "do as you please with this greeting\n";
const GO_MOD: &str = "module example.org/tiny\n\ngo 1.21\n\nrequire example.org/greeting v1.0.0\n";
const CODE: &str = r#"package main

import (
	"os"

	"example.org/greeting"
)

var version = "unset"

func main() {
	os.Stdout.WriteString(greeting.Text + " " + version + "\n")
}
"#;
/// Tries what a step may not do; it has nothing but system calls, so that it compiles fast.
const HOSTILE: &str = r#"package main

import (
	"os"
	"syscall"
)

func main() {
	// It would harm the host.
	if name, _ := os.Hostname(); name != "kdistro" {
		os.Exit(9)
	}
	var err error
	switch os.Args[1] {
	case "sleep":
		for {
			syscall.Nanosleep(&syscall.Timespec{Sec: 1}, nil)
		}
	case "fork":
		for {
			os.StartProcess(os.Args[0], os.Args, &os.ProcAttr{})
		}
	case "fill":
		// Many files, none of them large.
		for number := byte(0); err == nil; number++ {
			err = os.WriteFile("/tmp/"+string('a'+rune(number)), make([]byte, 1<<20), 0o644)
		}
	case "grow":
		var file *os.File
		file, err = os.Create("/out/made")
		for err == nil {
			_, err = file.Write(make([]byte, 1<<20))
		}
	case "talk":
		for {
			os.Stdout.WriteString("and so on, and so on, and so on, and so on, and so on\n")
		}
	case "network":
		var socket int
		socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err == nil {
			err = syscall.Connect(socket, &syscall.SockaddrInet4{Port: 80, Addr: [4]byte{192, 0, 2, 1}})
		}
	case "source":
		err = os.WriteFile("/src/main.go", []byte("package main"), 0o644)
	case "link":
		err = os.Symlink("/etc/passwd", "/out/made")
	case "extra":
		os.WriteFile("/out/made", nil, 0o644)
		err = os.WriteFile("/out/extra", nil, 0o644)
	case "nothing":
	}
	if err != nil {
		os.Stdout.WriteString("refused: " + err.Error() + "\n")
		os.Exit(7)
	}
}
"#;
const RECIPE: &str = r#"name: hello
repository: https://upstream.example/tiny/hello
license: LicenseRef-as-you-please
recipes:
  - tags: ">=1.0.0"
    licenses: [LICENSE]
    builds:
      - module: .
        dependencies: modules
        variables: {main.version: $(tag)}
        programs: [{name: hello, package: .}]
    checks:
      - {programs: [hello], arguments: [], expect: ["hello $(tag)"]}
    archives:
      - name: hello-$(os)-$(arch)-$(tag).tar.gz
        description: hello tarball
        programs: [hello]
"#;
const CHANNEL_FILE: &str = r#"channel: "9-1"
active: true
platforms: [linux/amd64]
components:
  - {project: tiny/hello, tag: v1.0.0, go: "1.26"}
"#;
const INPUTS: &str = r#"debian:
  suite: bookworm
  keys: [B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8]
go:
  - {minor: "1.26", version: "1.26.11", root: static}
roots:
  - name: static
"#;
const ENVIRONMENT: &str = r"name: local
development: true
store: {directory: store}
registry: {directory: registry}
announcements: {directory: announcements}
keys: {directory: keys}
logOrigin: log.local.kdistro.dev
";

/// A world with the project in it; removed when it is dropped.
pub(crate) struct Tiny {
    folder: TempDir,
}

impl Tiny {
    /// A world in which nothing was fetched or locked yet.
    pub(crate) fn new() -> Self {
        let tiny = Self { folder: scratch("tiny") };
        for name in ["upstream", "repository", "home", "user"] {
            fs::create_dir(tiny.path(name)).unwrap();
        }
        tiny.write_settings();
        let sums = tiny.publish_module("v1.0.0", &[("LICENSE", MODULE_LICENSE)]);
        for (name, text) in [
            ("go.mod", GO_MOD),
            ("go.sum", sums.as_str()),
            ("main.go", CODE),
            ("hostile/main.go", HOSTILE),
            ("LICENSE", "do as you please\n"),
        ] {
            write(&tiny.path("upstream").join(name), text);
        }
        commit_all(&tiny.path("upstream"), "first");
        git(&tiny.path("upstream"), &["tag", "v1.0.0"]);
        for (name, text) in [
            (PROJECT, RECIPE),
            ("projects/inputs.yaml", INPUTS),
            (
                "release-manifests/distribution.yaml",
                "name: tiny\nurl: https://tiny.example\nregistry: registry.tiny.example\n",
            ),
            ("release-manifests/9-1/channel.yaml", CHANNEL_FILE),
            ("infra/environments/local.yaml", ENVIRONMENT),
        ] {
            tiny.write(name, text);
        }
        tiny.commit();
        tiny
    }

    /// A world in which everything is locked, fetched and built, and nothing published.
    pub(crate) fn ready() -> Self {
        static BASE: OnceLock<PathBuf> = OnceLock::new();
        let base = BASE.get_or_init(|| {
            let base = work().join("tiny");
            if !base.is_dir() {
                let tiny = Self::new();
                tiny.run(&["lock", CHANNEL]).expect(0);
                tiny.commit();
                tiny.run(&["cut", CHANNEL, "--until", "package"]).expect(0);
                fs::rename(tiny.folder.path(), &base).unwrap();
            }
            base
        });
        let tiny = Self { folder: scratch("tiny") };
        for entry in fs::read_dir(base).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() != "home" {
                copy(&path, tiny.folder.path());
            }
        }
        // Large, and never written in place: linked, not copied.
        must(with("cp", ["-al"]).arg(base.join("home")).arg(tiny.folder.path()));
        // What is written in place must be this world's own: locks and logs, and the keys anyway.
        for name in ["home/keys", "home/locks", "home/logs"] {
            let _ = fs::remove_dir_all(tiny.path(name));
        }
        tiny.write_settings();
        tiny
    }

    /// The same, with nothing built.
    pub(crate) fn unbuilt() -> Self {
        let tiny = Self::ready();
        for name in ["home/steps", "home/assemblies"] {
            fs::remove_dir_all(tiny.path(name)).unwrap();
        }
        tiny
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("home/store")
    }

    /// Lets git find upstream, whatever the folder is called today.
    fn write_settings(&self) {
        let upstream = self.path("upstream");
        let settings = format!("[url \"file://{}\"]\n\tinsteadOf = {URL}\n", upstream.display());
        write(&self.path("gitconfig"), &settings);
    }

    /// Puts a version of the module into the proxy, with more files beside its code; returns its lines of go.sum.
    fn publish_module(&self, version: &str, more: &[(&str, &str)]) -> String {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let code = [("go.mod", MODULE_GO_MOD), ("greeting.go", MODULE_CODE)];
        for (name, text) in more.iter().chain(&code) {
            let name = format!("example.org/greeting@{version}/{name}");
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        let zip = zip.finish().unwrap();
        let sum = module_hash(zip.clone()).unwrap();
        let folder = self.path("proxy/example.org/greeting/@v");
        let file = |kind: &str| folder.join(format!("{version}.{kind}"));
        write(&file("zip"), zip.into_inner());
        write(&file("mod"), MODULE_GO_MOD);
        write(&file("info"), format!("{{\"Version\":\"{version}\"}}"));
        write(&folder.join("list"), format!("{version}\n"));
        let go_mod = mod_file_hash(MODULE_GO_MOD.as_bytes());
        format!(
            "example.org/greeting {version} {sum}\nexample.org/greeting {version}/go.mod {go_mod}\n"
        )
    }

    /// Makes upstream require another version of the module, which holds no more files than these beside its code.
    pub(crate) fn require(&self, version: &str, more: &[(&str, &str)]) {
        let sums = self.publish_module(version, more);
        write(&self.path("upstream/go.sum"), sums);
        write(&self.path("upstream/go.mod"), GO_MOD.replace("v1.0.0", version));
    }

    /// A file of the module in the proxy, by its kind: `zip`, `mod`, `info`.
    pub(crate) fn module(&self, kind: &str) -> PathBuf {
        self.path(&format!("proxy/example.org/greeting/@v/v1.0.0.{kind}"))
    }

    /// Writes a file of the build repository.
    pub(crate) fn write(&self, name: &str, text: &str) {
        write(&self.path("repository").join(name), text);
    }

    /// Reads a file of the build repository.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path("repository").join(name)).unwrap()
    }

    /// Replaces text in a file of the build repository.
    pub(crate) fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "`{from}` is not in {name}:\n{text}");
        self.write(name, &text.replace(from, to));
    }

    /// Commits the build repository.
    pub(crate) fn commit(&self) {
        commit_all(&self.path("repository"), "configuration");
    }

    /// Adds recipe steps that make `made` in a mode of the hostile program.
    pub(crate) fn generate_by(&self, mode: &str) {
        self.generate_within(mode, "{}");
    }

    /// The same, with limits for the step that runs the hostile program.
    pub(crate) fn generate_within(&self, mode: &str, limits: &str) {
        let steps = format!(
            "generate:\n      - name: hostile\n        argv: [/go/bin/go, build, -mod=mod, -o, /out/hostile, ./hostile]\n        outputs: [hostile]\n      - name: attempt\n        uses: [hostile]\n        argv: [/tools/hostile, {mode}]\n        limits: {limits}\n        outputs: [made]\n        adds: {{made.txt: made}}\n    builds:"
        );
        self.write(PROJECT, &RECIPE.replace("builds:", &steps));
        self.commit();
    }

    /// Puts the recipe back as it was.
    pub(crate) fn mend(&self) {
        self.write(PROJECT, RECIPE);
        self.commit();
    }

    /// `kdistro` in the build repository, in this world alone.
    pub(crate) fn kdistro(&self, arguments: &[&str]) -> Command {
        let mut command = with(KDISTRO, arguments);
        self.enter(&mut command);
        command.arg("--home").arg(self.path("home"));
        command
    }

    /// Gives a program the folder and settings of this world.
    pub(crate) fn enter(&self, command: &mut Command) {
        command.envs(go_settings().iter().map(|(name, value)| (name, value)));
        let host = go_settings().iter().find(|(name, _)| name == "GOPROXY");
        let proxy = format!("file://{},{}", self.path("proxy").display(), host.unwrap().1);
        command.env("GOPROXY", proxy).env("GONOSUMDB", "example.org");
        command.env("HOME", self.path("user")).env("GIT_CONFIG_GLOBAL", self.path("gitconfig"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").current_dir(self.path("repository"));
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.kdistro(arguments))
    }

    /// Cuts on the date that all tests use.
    pub(crate) fn cut(&self) -> Ran {
        self.run(&["cut", CHANNEL, "--date", DATE])
    }

    /// Verifies everything in the store as a stranger.
    #[track_caller]
    pub(crate) fn verify(&self, manifest: &str) -> Ran {
        let key = self.path("user/release.pub");
        fs::write(&key, must(&mut self.kdistro(&["key", "show"]))).unwrap();
        let mut verify = with(verifier(), ["--all", "--key"]);
        run(verify.arg(key).arg(self.store().join(manifest)))
    }

    /// Where content with a digest such as `sha256:…` lies in the home folder.
    pub(crate) fn content(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.path("home/content/sha256").join(&hex[..2]).join(hex)
    }

    /// The digest after a key in the lock, below a line that names what it is of.
    pub(crate) fn locked(&self, below: &str, key: &str) -> String {
        let lock = self.read(LOCK);
        let rest = &lock[lock.find(below).unwrap()..];
        let rest = &rest[rest.find(key).unwrap() + key.len()..];
        rest[..rest.find('\n').unwrap()].trim().to_owned()
    }
}

/// Writes a file new, so that one that is linked elsewhere stays as it is there.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    fs::write(path, content).unwrap();
}
