//! Fetches Go toolchains and modules with the host's `go`, which only downloads and checks here.
//!
//! Hostile sources cannot run anything: no version control, no toolchain switch, no setting of the user but the proxy
//! and the checksum database, and those are passed by value.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io,
    path::Path,
};

use kdistro_formats::{Digest, Platform};

pub use crate::module::{GoError, Module, ModuleFile, ModulePin, ModuleRequest};
use crate::{
    command::{Call, Environment, Output, Progress},
    module_cache::{Found, escaped, find, is_module},
    module_hash::{mod_file_hash, module_hash},
    stored::{Destination, present},
};

/// The module under which toolchains are published.
const TOOLCHAIN: &str = "golang.org/toolchain";

/// The host's `go` and what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Go<'a> {
    /// The program, `go` or its path.
    pub program: &'a Path,
    /// The variables of every program.
    pub environment: &'a Environment,
}

impl Go<'_> {
    /// Fetches a toolchain by its version, such as `1.26.8`, as the module it is published as.
    pub fn fetch_toolchain(
        &self,
        version: &str,
        platform: &Platform,
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Module, GoError> {
        let version = toolchain_version(version, platform)?;
        let destination = Destination::open(into, progress)?;
        progress(&format!("fetching {TOOLCHAIN}@{version}"));
        let session = self.session(&destination)?;
        session.download(&[format!("{TOOLCHAIN}@{version}")])?;
        let modules = session.keep_all(None)?;
        let found = modules.into_iter().find(|module| module.path == TOOLCHAIN);
        let what = format!("{TOOLCHAIN}@{version}");
        found.filter(|module| module.zip.is_some()).ok_or(GoError::Missing { what })
    }

    /// Fetches exactly the modules that building the packages takes on the platforms, sorted by path and version.
    ///
    /// go checks each against the tree's go.sum. The packages must load; nothing of them is run.
    pub fn fetch_modules(
        &self,
        request: &ModuleRequest<'_>,
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Vec<Module>, GoError> {
        check_request(request)?;
        let destination = Destination::open(into, progress)?;
        let session = self.session(&destination)?;
        for platform in request.platforms {
            progress(&format!("fetching the modules of {} for {platform}", request.module));
            session.list(request, platform)?;
        }
        session.list_bare()?;
        session.keep_all(None)
    }

    /// Fetches exactly the pinned modules again, in their order. Those that are there need no network.
    pub fn fetch_pinned(
        &self,
        pins: &[ModulePin],
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Vec<Module>, GoError> {
        pins.iter().try_for_each(|pin| check_module(&pin.path, &pin.version))?;
        let destination = Destination::open(into, progress)?;
        let missing: Vec<_> = pins.iter().filter(|pin| !is_present(pin, into)).collect();
        if !missing.is_empty() {
            progress(&format!("fetching {} modules", missing.len()));
            let session = self.session(&destination)?;
            let named = |with_zip: bool| {
                let wanted = missing.iter().filter(|pin| pin.zip.is_some() == with_zip);
                wanted.map(|pin| format!("{}@{}", pin.path, pin.version)).collect::<Vec<_>>()
            };
            session.download(&named(true))?;
            session.list_versions(&named(false))?;
            session.keep_all(Some(pins))?;
        }
        pins.iter().map(|pin| read_pinned(pin, into)).collect()
    }

    /// Makes a private module cache and reads where modules come from.
    fn session<'a>(&'a self, destination: &'a Destination<'a>) -> Result<Session<'a>, GoError> {
        let mut call = Call::new(self.program, self.environment);
        call.arguments = vec!["env".into(), "-json".into()];
        call.arguments.extend(["GOPROXY", "GOSUMDB", "GONOSUMDB"].map(Into::into));
        call.variables.push(("GOTOOLCHAIN", "local".into()));
        call.directory = Some(destination.work());
        let what = "cannot read this host's `go env`".to_owned();
        let output =
            call.run().map_err(|source| GoError::Command { what: what.clone(), source })?;
        let host: BTreeMap<String, String> = serde_json::from_slice(&output.stdout)
            .map_err(|_| GoError::Missing { what: "answer to `go env -json`".to_owned() })?;
        let value = |name: &str| host.get(name).cloned().unwrap_or_default();
        let proxy = without_direct(&value("GOPROXY"))?;
        let work = destination.work();
        let variables: Vec<(&'static str, OsString)> = vec![
            ("CGO_ENABLED", "0".into()),
            ("GOCACHE", work.join("cache").into()),
            ("GOENV", "off".into()),
            ("GOMODCACHE", work.join("modules").into()),
            ("GONOPROXY", "none".into()),
            ("GONOSUMDB", value("GONOSUMDB").into()),
            ("GOPATH", work.join("path").into()),
            ("GOPRIVATE", "".into()),
            ("GOPROXY", proxy.into()),
            ("GOSUMDB", value("GOSUMDB").into()),
            ("GOTOOLCHAIN", "local".into()),
            ("GOVCS", "*:off".into()),
            // go keeps its own statistics there.
            ("XDG_CONFIG_HOME", work.join("config").into()),
        ];
        Ok(Session { go: self, destination, variables })
    }
}

/// A private module cache.
struct Session<'a> {
    go: &'a Go<'a>,
    destination: &'a Destination<'a>,
    variables: Vec<(&'static str, OsString)>,
}

impl Session<'_> {
    fn run(
        &self,
        what: &str,
        directory: &Path,
        variables: &[(&'static str, &str)],
        arguments: &[&str],
    ) -> Result<Output, GoError> {
        let mut call = Call::new(self.go.program, self.go.environment);
        call.arguments = arguments.iter().map(Into::into).collect();
        call.directory = Some(directory);
        call.variables.clone_from(&self.variables);
        call.variables.extend(variables.iter().map(|(name, value)| (*name, value.into())));
        call.run().map_err(|source| GoError::Command { what: what.to_owned(), source })
    }

    /// Downloads modules with their content; go checks them against the checksum database.
    fn download(&self, modules: &[String]) -> Result<(), GoError> {
        self.run_on(&["mod", "download"], modules)
    }

    /// Downloads only the `go.mod` files.
    fn list_versions(&self, modules: &[String]) -> Result<(), GoError> {
        self.run_on(&["list", "-m"], modules)
    }

    /// Downloads the `go.mod` files of modules that go read without: a module cache is to have both.
    fn list_bare(&self) -> Result<(), GoError> {
        let found = self.found()?;
        let bare = found.iter().filter(|found| !found.file("mod").is_file());
        let bare: Vec<_> = bare.map(|found| format!("{}@{}", found.path, found.version)).collect();
        self.list_versions(&bare)
    }

    fn found(&self) -> Result<Vec<Found>, GoError> {
        let cache = self.destination.work().join("modules/cache/download");
        find(&cache).map_err(|source| GoError::File { path: cache, source })
    }

    fn run_on(&self, arguments: &[&str], modules: &[String]) -> Result<(), GoError> {
        if modules.is_empty() {
            return Ok(());
        }
        let named = modules.iter().map(String::as_str);
        let arguments: Vec<_> = arguments.iter().copied().chain(named).collect();
        let what = format!("cannot fetch {}", modules.join(", "));
        let variables = [("GOFLAGS", ""), ("GOWORK", "off")];
        self.run(&what, self.destination.work(), &variables, &arguments).map(drop)
    }

    /// Loads the packages for a platform, which fetches what they need and nothing else.
    fn list(&self, request: &ModuleRequest<'_>, platform: &Platform) -> Result<(), GoError> {
        let directory = request.source.join(request.module);
        let tags = format!("-tags={}", request.tags.join(","));
        let mut arguments = vec!["list", "-deps", &tags, "--"];
        arguments.extend(request.packages.iter().map(String::as_str));
        let variables = [
            ("GOFLAGS", "-mod=readonly -buildvcs=false"),
            ("GOWORK", if request.workspace_off { "off" } else { "" }),
            ("GOOS", platform.os()),
            ("GOARCH", platform.arch()),
        ];
        let what = format!("cannot load {} for {platform}", request.packages.join(", "));
        self.run(&what, &directory, &variables, &arguments).map(drop)
    }

    /// Keeps what the private cache holds; with pins only those, and only with their digests.
    fn keep_all(&self, pins: Option<&[ModulePin]>) -> Result<Vec<Module>, GoError> {
        let mut modules = Vec::new();
        for found in self.found()? {
            let same = |pin: &&ModulePin| pin.path == found.path && pin.version == found.version;
            let pin = pins.map(|pins| pins.iter().find(same));
            if pin == Some(None) {
                continue;
            }
            modules.push(self.keep(&found, pin.flatten())?);
        }
        Ok(modules)
    }

    fn keep(&self, found: &Found, pin: Option<&ModulePin>) -> Result<Module, GoError> {
        let module = format!("{}@{}", found.path, found.version);
        let mod_file = self.keep_file(found, "mod", pin.map(|pin| pin.mod_file))?;
        let wanted = found.zip.is_some() && pin.is_none_or(|pin| pin.zip.is_some());
        let zip = if wanted {
            Some(self.keep_file(found, "zip", pin.and_then(|p| p.zip))?)
        } else {
            None
        };
        if let (Some(zip), Some(noted)) = (&zip, &found.zip)
            && zip.sum != *noted
        {
            let (expected, found) = (noted.clone(), zip.sum.clone());
            return Err(GoError::Sum { module, expected, found });
        }
        Ok(Module { path: found.path.clone(), version: found.version.clone(), mod_file, zip })
    }

    fn keep_file(
        &self,
        found: &Found,
        kind: &str,
        expected: Option<Digest>,
    ) -> Result<ModuleFile, GoError> {
        let from = found.file(kind);
        let name = file_name(&found.path, &found.version, kind);
        let (file, digest, size) = self.destination.keep(&from, &name, expected)?;
        let sum = sum_of(&file, kind)?;
        Ok(ModuleFile { file, digest, size, sum })
    }
}

/// Returns the name of a module's file under a destination.
fn file_name(path: &str, version: &str, kind: &str) -> String {
    format!("{}/@v/{}.{kind}", escaped(path), escaped(version))
}

fn sum_of(file: &Path, kind: &str) -> Result<String, GoError> {
    let failed = |source| GoError::File { path: file.to_path_buf(), source };
    if kind == "mod" {
        return Ok(mod_file_hash(&fs::read(file).map_err(failed)?));
    }
    let reader = io::BufReader::new(File::open(file).map_err(failed)?);
    module_hash(reader)
        .map_err(|source| GoError::Zip { module: file.display().to_string(), source })
}

fn is_present(pin: &ModulePin, into: &Path) -> bool {
    let is_there = |kind: &str, digest: Digest| {
        present(&into.join(file_name(&pin.path, &pin.version, kind)), digest).is_some()
    };
    is_there("mod", pin.mod_file) && pin.zip.is_none_or(|digest| is_there("zip", digest))
}

fn read_pinned(pin: &ModulePin, into: &Path) -> Result<Module, GoError> {
    let read = |kind: &str, digest: Digest| {
        let file = into.join(file_name(&pin.path, &pin.version, kind));
        let what = || format!("{kind} file of {}@{} with {digest}", pin.path, pin.version);
        let size = present(&file, digest).ok_or_else(|| GoError::Missing { what: what() })?;
        let sum = sum_of(&file, kind)?;
        Ok::<_, GoError>(ModuleFile { file, digest, size, sum })
    };
    Ok(Module {
        path: pin.path.clone(),
        version: pin.version.clone(),
        mod_file: read("mod", pin.mod_file)?,
        zip: pin.zip.map(|digest| read("zip", digest)).transpose()?,
    })
}

/// Removes `direct` from a list of proxies. Source: `go help goproxy`.
fn without_direct(proxies: &str) -> Result<String, GoError> {
    let mut kept = String::new();
    for proxy in proxies.split_inclusive([',', '|']) {
        if proxy.trim_end_matches([',', '|']).trim() != "direct" {
            kept.push_str(proxy);
        }
    }
    let kept = kept.trim_end_matches([',', '|']).to_owned();
    if kept.is_empty() { Err(GoError::NoProxy(proxies.to_owned())) } else { Ok(kept) }
}

/// Returns the version under which a toolchain is published. Source: `go.dev/doc/toolchain`.
fn toolchain_version(version: &str, platform: &Platform) -> Result<String, GoError> {
    let is_plain = version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    if !is_plain || !version.starts_with('1') {
        return Err(GoError::Name { kind: "Go version", text: version.to_owned() });
    }
    Ok(format!("v0.0.1-go{version}.{}-{}", platform.os(), platform.arch()))
}

fn check_module(path: &str, version: &str) -> Result<(), GoError> {
    if is_module(path) && is_module(version) && !version.contains('/') {
        return Ok(());
    }
    Err(GoError::Name { kind: "module and version", text: format!("{path}@{version}") })
}

fn check_request(request: &ModuleRequest<'_>) -> Result<(), GoError> {
    let inside = !Path::new(request.module).is_absolute() && !request.module.contains("..");
    if !inside {
        return Err(GoError::Name { kind: "folder of a source", text: request.module.to_owned() });
    }
    let word = |text: &String| !text.is_empty() && !text.contains([',', ' ', '-']);
    match request.tags.iter().find(|tag| !word(tag)) {
        Some(tag) => Err(GoError::Name { kind: "build tag", text: tag.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_is_never_asked() {
        let kept = |proxies| without_direct(proxies).ok();
        assert_eq!(kept("https://a,direct").as_deref(), Some("https://a"));
        assert_eq!(kept("https://a|https://b,direct").as_deref(), Some("https://a|https://b"));
        assert_eq!(kept("direct,https://a").as_deref(), Some("https://a"));
        assert_eq!(kept("off").as_deref(), Some("off"));
        assert_eq!(kept("direct"), None);
        assert_eq!(kept(""), None);
    }

    #[test]
    fn options_are_no_modules() {
        for (path, version) in
            [("-x", "v1"), ("a/../b", "v1"), ("a", "-v1"), ("a", "v1/../2"), ("", "v1")]
        {
            assert!(check_module(path, version).is_err(), "accepted {path}@{version}");
        }
        assert!(check_module("github.com/BurntSushi/toml", "v1.2.0+incompatible").is_ok());
        let linux = "linux/amd64".parse().unwrap();
        assert!(toolchain_version("1.2/../../x", &linux).is_err());
        assert_eq!(toolchain_version("1.26.8", &linux).unwrap(), "v0.0.1-go1.26.8.linux-amd64");
    }
}
