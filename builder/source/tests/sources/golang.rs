//! Toolchains and modules: fetched from the host's module proxy, and from a copy of it that somebody changed.

use std::{
    fs::{self, File},
    path::Path,
};

use kdistro_formats::Platform;
use kdistro_source::{Environment, Go, GoError, Module, ModulePin, ModuleRequest, module_hash};
use kdistro_verify::hash::sha256;
use tempfile::TempDir;

use crate::world::{chain, silent};

/// The go.sum of the module below, as go writes it.
const SUMS: &str = "golang.org/x/text v0.0.0-20170915032832-14c0d48ead0c h1:qgOY6WgZOaTkIIMiVjBQcw93ERBE4m30iBm00nkL0i8=
golang.org/x/text v0.0.0-20170915032832-14c0d48ead0c/go.mod h1:NqM8EUOU14njkJ3fqMW+pc6Ldnwhi/IjpwHt7yyuwOQ=
rsc.io/quote v1.5.2 h1:w5fcysjrx7yqtD/aO+QwRjYZOKnaM9Uh2b40tElTs3Y=
rsc.io/quote v1.5.2/go.mod h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=
rsc.io/sampler v1.3.0 h1:7uVkIFmeBqHfdjD+gZwtXXI+RODJ2Wc4O7MPEh/QiW4=
rsc.io/sampler v1.3.0/go.mod h1:T1hPZKmBbMNahiBKFy5HrXp6adAjACjK9JXDnKaTXpA=
";

fn host() -> Environment {
    Environment::of_host(std::env::vars_os())
}

fn go(environment: &Environment) -> Go<'_> {
    Go { program: Path::new("go"), environment }
}

/// A source tree with a module in a folder that uses a module on Linux only, and one that it never imports.
fn source() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("server");
    fs::create_dir_all(module.join("cmd")).unwrap();
    let requirement = "module example.org/server\n\ngo 1.16\n\nrequire rsc.io/quote v1.5.2\n";
    let quote = "//go:build linux && quoted\n\npackage main\n\nimport _ \"rsc.io/quote\"\n";
    for (name, content) in [
        ("go.mod", requirement),
        ("go.sum", SUMS),
        ("cmd/main.go", "package main\n\nfunc main() {}\n"),
        ("cmd/quote_linux.go", quote),
    ] {
        fs::write(module.join(name), content).unwrap();
    }
    folder
}

fn fetch(
    source: &Path,
    platform: &str,
    tags: &[String],
    into: &Path,
) -> Result<Vec<Module>, GoError> {
    let platforms: [Platform; 1] = [platform.parse().unwrap()];
    let packages = ["./cmd".to_owned()];
    let request = ModuleRequest {
        source,
        module: "server",
        packages: &packages,
        platforms: &platforms,
        tags,
        workspace_off: true,
    };
    go(&host()).fetch_modules(&request, into, &silent)
}

fn with_zip(modules: &[Module]) -> Vec<&str> {
    modules.iter().filter(|module| module.zip.is_some()).map(|m| m.path.as_str()).collect()
}

fn pin(module: &Module) -> ModulePin {
    ModulePin {
        path: module.path.clone(),
        version: module.version.clone(),
        mod_file: module.mod_file.digest,
        zip: module.zip.as_ref().map(|zip| zip.digest),
    }
}

/// Adds what a module proxy has beside the zips, and asks it alone. It passes on no checksum database, so that only
/// our own checks are left.
fn as_proxy(into: &Path, modules: &[Module]) -> Environment {
    for module in modules {
        let description = format!("{{\"Version\":\"{}\"}}", module.version);
        let file = module.mod_file.file.to_string_lossy();
        fs::write(format!("{}.info", file.strip_suffix(".mod").unwrap()), description).unwrap();
    }
    host().with("GOPROXY", format!("file://{}", into.display())).with("GOSUMDB", "off")
}

#[test]
fn exactly_the_needed_modules_are_fetched() {
    let (source, folder) = (source(), tempfile::tempdir().unwrap());
    let into = folder.path().join("into");
    let tags = ["quoted".to_owned()];
    let modules = fetch(source.path(), "linux/arm64", &tags, &into).unwrap();
    assert_eq!(with_zip(&modules), ["golang.org/x/text", "rsc.io/quote", "rsc.io/sampler"]);
    for module in &modules {
        let zip = module.zip.as_ref().unwrap();
        assert!(SUMS.contains(&format!("{} {} {}\n", module.path, module.version, zip.sum)));
        let line = format!("{} {}/go.mod {}\n", module.path, module.version, module.mod_file.sum);
        assert!(SUMS.contains(&line), "{line}");
        assert_eq!(sha256(&fs::read(&zip.file).unwrap()), zip.digest);
    }
    assert!(modules[1].zip.as_ref().unwrap().file.ends_with("rsc.io/quote/@v/v1.5.2.zip"));
    for (platform, tags) in [("linux/arm64", &[][..]), ("windows/amd64", &tags)] {
        let none = fetch(source.path(), platform, tags, &folder.path().join("none")).unwrap();
        assert_eq!(with_zip(&none), Vec::<&str>::new(), "for {platform}");
        assert!(none.iter().any(|module| module.path == "rsc.io/quote"));
    }
    let left = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!(left(&source.path().join("server")), 3, "the source tree was written to");
    assert!(!into.join(".fetching").exists());
}

/// `rsc.io/quote/v3` could also be a folder of `rsc.io/quote`: go reads that one's zip to see that it is not, and,
/// since Go 1.17, not its go.mod.
#[test]
fn a_module_that_is_only_looked_into_has_its_go_mod_too() {
    let (source, folder) = (source(), tempfile::tempdir().unwrap());
    let module = source.path().join("server");
    let requirement = "module example.org/server\n\ngo 1.17\n\nrequire (\n\trsc.io/quote v1.5.2\n\trsc.io/quote/v3 v3.1.0\n)\n\n\
        require (\n\tgolang.org/x/text v0.0.0-20170915032832-14c0d48ead0c // indirect\n\trsc.io/sampler v1.3.0 // indirect\n)\n";
    let sums = "rsc.io/quote/v3 v3.1.0 h1:9JKUTTIUgS6kzR9mK1YuGKv6Nl+DijDNIc0ghT58FaY=\n\
        rsc.io/quote/v3 v3.1.0/go.mod h1:yEA65RcK8LyAZtP9Kv3t0HmxON59tX3rD+tICJqUlj0=\n";
    let main = "package main\n\nimport _ \"rsc.io/quote/v3\"\n\nfunc main() {}\n";
    fs::write(module.join("go.mod"), requirement).unwrap();
    fs::write(module.join("go.sum"), format!("{SUMS}{sums}")).unwrap();
    fs::write(module.join("cmd/main.go"), main).unwrap();
    let modules = fetch(source.path(), "linux/amd64", &[], &folder.path().join("into")).unwrap();
    let expected = ["golang.org/x/text", "rsc.io/quote", "rsc.io/quote/v3", "rsc.io/sampler"];
    assert_eq!(with_zip(&modules), expected);
    let quote = modules.iter().find(|module| module.path == "rsc.io/quote").unwrap();
    assert!(SUMS.contains(&format!("rsc.io/quote v1.5.2/go.mod {}\n", quote.mod_file.sum)));
}

#[test]
fn a_changed_line_of_go_sum_is_refused() {
    let (source, folder) = (source(), tempfile::tempdir().unwrap());
    let file = source.path().join("server/go.sum");
    fs::write(&file, SUMS.replace("h1:w5fcys", "h1:w5fcyz")).unwrap();
    let into = folder.path().join("into");
    let tags = ["quoted".to_owned()];
    let error = fetch(source.path(), "linux/amd64", &tags, &into).unwrap_err();
    let text = chain(&error);
    assert!(text.contains("rsc.io/quote@v1.5.2: checksum mismatch"), "{text}");
    assert!(!into.join("rsc.io").exists(), "something of a refused build was kept");
    // A line that is missing is not made up for.
    let fewer: Vec<_> =
        SUMS.lines().filter(|line| !line.starts_with("rsc.io/quote v1.5.2 ")).collect();
    fs::write(&file, fewer.join("\n") + "\n").unwrap();
    let text = chain(&fetch(source.path(), "linux/amd64", &tags, &into).unwrap_err());
    assert!(text.contains("missing go.sum entry"), "{text}");
    fs::write(&file, SUMS).unwrap();
    fetch(source.path(), "linux/amd64", &tags, &into).unwrap();
}

#[test]
fn pinned_modules_come_back_by_digest_only() {
    let (source, folder) = (source(), tempfile::tempdir().unwrap());
    let into = folder.path().join("into");
    let tags = ["quoted".to_owned()];
    let modules = fetch(source.path(), "linux/amd64", &tags, &into).unwrap();
    let mut pins: Vec<_> = modules.iter().map(pin).collect();
    let off = host().with("GOPROXY", "off");
    assert_eq!(go(&off).fetch_pinned(&pins, &into, &silent).unwrap(), modules);
    // One zip and one go.mod are wanted without the rest.
    pins[0].zip = None;
    let other = folder.path().join("other");
    assert!(go(&off).fetch_pinned(&pins, &other, &silent).is_err());
    let again = go(&host()).fetch_pinned(&pins, &other, &silent).unwrap();
    assert_eq!(with_zip(&again), ["rsc.io/quote", "rsc.io/sampler"]);
    assert_eq!(again[1].zip.as_ref().unwrap().digest, modules[1].zip.as_ref().unwrap().digest);
    // A proxy whose zip was cut short, then the good one again.
    let copy = folder.path().join("copy");
    let copied = go(&host()).fetch_pinned(&pins, &copy, &silent).unwrap();
    let proxy = as_proxy(&copy, &copied);
    let zip = copied[1].zip.as_ref().unwrap().file.clone();
    let good = fs::read(&zip).unwrap();
    fs::write(&zip, &good[..good.len() / 2]).unwrap();
    let third = folder.path().join("third");
    let text = chain(&go(&proxy).fetch_pinned(&pins, &third, &silent).unwrap_err());
    assert!(text.contains("rsc.io/quote@v1.5.2"), "{text}");
    assert!(!third.join("rsc.io").exists());
    fs::write(&zip, &good).unwrap();
    go(&proxy).fetch_pinned(&pins, &third, &silent).unwrap();
    // A lock that names other content.
    pins[1].zip = Some(sha256(b"other"));
    let error = go(&host()).fetch_pinned(&pins, &third, &silent).unwrap_err();
    let expected = format!("expected {}", sha256(b"other"));
    let text = chain(&error);
    assert!(text.contains("rsc.io/quote/@v/v1.5.2.zip") && text.ends_with(&expected), "{text}");
}

#[test]
fn a_toolchain_has_the_sum_of_the_checksum_database() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("into");
    let linux = "linux/amd64".parse().unwrap();
    let found = go(&host()).fetch_toolchain("1.26.8", &linux, &into, &silent).unwrap();
    assert_eq!(found.version, "v0.0.1-go1.26.8.linux-amd64");
    let zip = found.zip.clone().unwrap();
    assert_eq!(zip.sum, "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=");
    assert_eq!(module_hash(File::open(&zip.file).unwrap()).unwrap(), zip.sum);
    // One byte that neither the zip's own checks nor the sum cover: the time of the first file.
    let proxy = as_proxy(&into, std::slice::from_ref(&found));
    let good = fs::read(&zip.file).unwrap();
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&zip.file, bytes).unwrap();
        let other = folder.path().join("other");
        let error = go(&proxy).fetch_pinned(&[pin(&found)], &other, &silent).unwrap_err();
        let kept = other.join("golang.org/toolchain/@v").join(zip.file.file_name().unwrap());
        assert!(!kept.exists());
        chain(&error)
    };
    let text = changed(11);
    assert!(text.contains(".zip` has sha256:"), "{text}");
    assert!(text.ends_with(&format!("expected {}", zip.digest)), "{text}");
    // One byte of a file: go cannot even unpack it.
    let text = changed(good.len() / 2);
    assert!(text.contains("golang.org/toolchain@v0.0.1-go1.26.8.linux-amd64"), "{text}");
    // What is on disk is never trusted for its name.
    let off = host().with("GOPROXY", "off");
    assert!(go(&off).fetch_pinned(&[pin(&found)], &into, &silent).is_err());
    fs::write(&zip.file, &good).unwrap();
    assert_eq!(go(&off).fetch_pinned(&[pin(&found)], &into, &silent).unwrap(), [found]);
}
