//! Build information of real programs, for every platform that is shipped, as `go version -m` prints it.
//!
//! Fetches a module and an old toolchain with `go mod download` into a temporary folder.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests run the real programs as judges")]

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::Path,
    process::Command,
};

use kdistro_assemble::{
    EntryKind,
    go_build_info::{self, BuildInfo, Module},
    licenses::{Library, LicenseFile, ModuleId, go_license, module_licenses},
    module_zip::{ModuleZipError, read_module_zip},
};

const MAIN: &str = "package main

import _ \"golang.org/x/sync/syncmap\"
import _ \"example.org/beside\"

func main() { println(version) }

var version = \"none\"
";

/// Runs a `go` in a folder with nothing of the host's settings.
fn go(program: &Path, folder: &Path, platform: &str, arguments: &[&str]) -> String {
    let (os, arch) = platform.split_once('/').unwrap();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder.join("source"))
        .env_remove("GOROOT")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod -modcacherw")
        .env("GOPATH", folder.join("path"))
        .env("GOCACHE", folder.join("cache"))
        .env("CGO_ENABLED", "0")
        .env("GOOS", os)
        .env("GOARCH", arch)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "go {arguments:?} for {platform}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn source(folder: &Path) {
    let source = folder.join("source");
    fs::create_dir_all(source.join("beside")).unwrap();
    fs::write(source.join("main.go"), MAIN).unwrap();
    fs::write(
        source.join("go.mod"),
        "module example.org/main\n\ngo 1.15\n\nrequire (\n\texample.org/beside v0.0.0\n\tgolang.org/x/sync v0.1.0\n)\n\nreplace example.org/beside => ./beside\n",
    )
    .unwrap();
    fs::write(source.join("beside/go.mod"), "module example.org/beside\n\ngo 1.15\n").unwrap();
    let beside = "package beside\n\n//go:noinline\nfunc Seven() int { return 7 }\n";
    fs::write(source.join("beside/beside.go"), beside).unwrap();
    go(Path::new("go"), folder, "linux/amd64", &["mod", "download", "golang.org/x/sync"]);
}

/// Writes what was read as `go version -m` does.
fn printed(info: &BuildInfo) -> String {
    let mut out = format!(": {}\n\tpath\t{}\n", info.go_version, info.package);
    let mut module = |kind: &str, module: &Module| {
        let sum = module.sum.as_deref().unwrap_or_default();
        writeln!(out, "\t{kind}\t{}\t{}\t{sum}", module.path, module.version).unwrap();
    };
    module("mod", info.main.as_ref().unwrap());
    for dependency in &info.dependencies {
        module("dep", &dependency.module);
        if let Some(replacement) = &dependency.replaced_by {
            module("=>", replacement);
        }
    }
    for (key, value) in &info.settings {
        let value = if value.contains([' ', '"']) { format!("{value:?}") } else { value.clone() };
        writeln!(out, "\tbuild\t{key}={value}").unwrap();
    }
    out
}

/// Lines without the spaces at their ends, which differ between versions of Go; empty ones left out.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
}

fn agrees(compiler: &Path, folder: &Path, platform: &str) -> BuildInfo {
    let flags = "-ldflags=-s -w -X main.version=a";
    go(compiler, folder, platform, &["build", "-trimpath", flags, "-o", "program", "."]);
    let path = folder.join("source/program");
    let info = go_build_info::read(&mut File::open(&path).unwrap()).unwrap();
    let info = info.unwrap_or_else(|| panic!("no build information for {platform}"));
    let expected = go(Path::new("go"), folder, "linux/amd64", &["version", "-m", "program"]);
    let printed = format!("program{}", printed(&info));
    assert_eq!(lines(&printed), lines(&expected), "{platform}");
    info
}

const PLATFORMS: [&str; 5] =
    ["linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"];

#[test]
fn programs_of_the_hosts_go_are_read_as_go_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    source(folder.path());
    for platform in PLATFORMS {
        let info = agrees(Path::new("go"), folder.path(), platform);
        let [beside, sync] = info.dependencies.as_slice() else { panic!("{info:?}") };
        assert_eq!(beside.folder("").as_deref(), Some("beside"));
        assert!(sync.linked().sum.as_deref().unwrap().starts_with("h1:"));
        let (os, arch) = platform.split_once('/').unwrap();
        assert_eq!((info.setting("GOOS"), info.setting("GOARCH")), (Some(os), Some(arch)));
    }
    let path = "path/pkg/mod/cache/download/golang.org/x/sync/@v/v0.1.0.zip";
    let zip = File::open(folder.path().join(path)).unwrap();
    let module = ModuleId { path: "golang.org/x/sync".to_owned(), version: "v0.1.0".to_owned() };
    is_licence_of_go(&module_licenses(zip, &module).unwrap());
}

/// Checks that there are the two files that come with everything that Go's authors publish.
fn is_licence_of_go(files: &[LicenseFile]) {
    let [license, patents] = files else { panic!("{files:?}") };
    assert_eq!((license.path.as_str(), patents.path.as_str()), ("LICENSE", "PATENTS"));
    assert_eq!(Library::load().unwrap().identify(&license.text), ["BSD-3-Clause"]);
}

/// Unpacks Go 1.15, whose programs hold pointers to their build information.
fn old_toolchain(folder: &Path) {
    let version = "v0.0.1-go1.15.15.linux-amd64";
    let module = format!("golang.org/toolchain@{version}");
    go(Path::new("go"), folder, "linux/amd64", &["mod", "download", &module]);
    let zip =
        folder.join(format!("path/pkg/mod/cache/download/golang.org/toolchain/@v/{version}.zip"));
    is_licence_of_go(&go_license(File::open(&zip).unwrap(), version).unwrap());
    let root = folder.join("go");
    read_module_zip::<ModuleZipError>(
        File::open(&zip).unwrap(),
        &format!("{module}/"),
        &mut |entry| {
            let EntryKind::File { executable, content, .. } = entry.kind else { panic!("no file") };
            let path = root.join(entry.path.as_str());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::io::copy(content, &mut File::create(&path).unwrap()).unwrap();
            if executable {
                use std::os::unix::fs::PermissionsExt as _;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            Ok(())
        },
    )
    .unwrap();
}

#[test]
fn programs_of_an_old_go_are_read_through_their_pointers() {
    let folder = tempfile::tempdir().unwrap();
    source(folder.path());
    old_toolchain(folder.path());
    for platform in ["linux/amd64", "darwin/amd64", "windows/amd64"] {
        let info = agrees(&folder.path().join("go/bin/go"), folder.path(), platform);
        assert_eq!(info.go_version, "go1.15.15");
        assert_eq!(info.settings, []);
    }
    tells_its_folders_alone(&folder.path().join("go/bin/go"), folder.path());
}

/// A test that an old Go built names no module; the files that its functions come from are in it all the same.
fn tells_its_folders_alone(compiler: &Path, folder: &Path) {
    const TEST: &str = "package tested

import (
\t\"testing\"

\t\"example.org/beside\"
)

func TestMain(m *testing.M) { println(beside.Seven() + m.Run()) }
";
    fs::create_dir_all(folder.join("source/tested")).unwrap();
    fs::write(folder.join("source/tested/a_test.go"), TEST).unwrap();
    let test = ["test", "-c", "-trimpath", "-ldflags=-s -w", "-o", "tests", "./tested"];
    go(compiler, folder, "linux/amd64", &test);
    let mut program = File::open(folder.join("source/tests")).unwrap();
    let info = go_build_info::read(&mut program).unwrap().unwrap();
    assert!(info.is_silent(), "{info:?}");
    let mut program = File::open(folder.join("source/tests")).unwrap();
    let folders = go_build_info::source_folders(&mut program).unwrap();
    assert!(folders.contains("example.org/main/tested"), "{folders:?}");
    assert!(folders.contains("example.org/beside"), "{folders:?}");
}
