//! Programs that are Go modules, built once for all tests of a build.

use std::{fs, path::PathBuf};

use crate::{TestbedError, host};

/// Returns the path of the program that a Go package is, such as `sigs.k8s.io/kustomize/kustomize/v5@v5.8.1`.
///
/// At the first call it is fetched and built, by a toolchain that is new enough for it.
pub fn go_program(package: &str) -> Result<PathBuf, TestbedError> {
    let folder = host::cache().join("go-programs");
    fs::create_dir_all(&folder).map_err(TestbedError::io("make", &folder))?;
    let _locked = host::lock(&folder.join("lock"))?;
    let own = folder.join(package.replace(['/', '@'], "+"));
    let program = own.join(name(package));
    if program.is_file() {
        return Ok(program);
    }
    host::require(&["go", "setpriv"])?;
    let mut go = host::bound("go");
    go.args(["install", package]).env("GOBIN", &own).env("GOFLAGS", "-trimpath");
    go.env("GOTOOLCHAIN", "auto").env("GOWORK", "off").env("CGO_ENABLED", "0");
    host::prepare(&mut go, |said| TestbedError::Preparation {
        action: format!("build {package}"),
        program: "go install".to_owned(),
        said,
    })?;
    Ok(program)
}

/// What `go install` calls the program: the last part of the path that is no major version.
fn name(package: &str) -> &str {
    let path = package.split('@').next().unwrap_or(package);
    let is_version =
        |part: &&str| part.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
    path.rsplit('/').find(|part| !is_version(part)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_by_its_package_without_the_major_version() {
        assert_eq!(name("sigs.k8s.io/kustomize/kustomize/v5@v5.8.1"), "kustomize");
        assert_eq!(name("example.com/vet/cmd/vet@latest"), "vet");
    }
}
