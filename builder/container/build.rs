//! Builds the two static programs that run inside the container, and hands them to the crate as bytes.
//!
//! They must be static: the root file system of a step may hold no C library at all. Their build differs from that of
//! the rest of the workspace (linked statically, for size), so it is a cargo run of its own with its own target folder.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PROGRAMS: [&str; 2] = ["kdistro-container-stub", "kdistro-container-probe"];

/// How the names of the variables begin that belong to the outer build.
const OUTER: [&str; 13] = [
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_ENCODED_",
    "CARGO_FEATURE_",
    "CARGO_MAKEFLAGS",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_DIR",
    "CLIPPY_",
    "RUSTC",
    "RUSTFLAGS",
];

fn main() -> Result<(), Box<dyn Error>> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let stub = manifest.join("stub");
    for watched in [stub.join("src"), stub.join("Cargo.toml"), manifest.join("../../Cargo.lock")] {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
    let target = variable("TARGET")?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    let folder = out.join("stub");
    build(&stub, &target, &folder)?;
    for program in PROGRAMS {
        fs::copy(folder.join(&target).join("release").join(program), out.join(program))?;
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is how cargo talks to a build script"
)]
fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

#[expect(clippy::disallowed_methods, reason = "a build with other flags is a cargo run of its own")]
fn build(stub: &Path, target: &str, folder: &Path) -> Result<(), String> {
    let mut cargo = Command::new(variable("CARGO")?);
    // Whatever the outer build (or clippy) set for itself must not reach this one; what the user set about registries,
    // proxies and linkers must.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if OUTER.iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(stub)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-Ctarget-feature=+crt-static\u{1f}-Crelocation-model=static",
        )
        .args(["build", "--quiet", "--release", "--bins", "--package", "kdistro-container-stub"])
        .args([
            "--config",
            "profile.release.opt-level=\"s\"",
            "--config",
            "profile.release.panic=\"abort\"",
        ])
        .args(["--config", "profile.release.strip=true", "--config", "profile.release.lto=true"])
        .args(["--config", "profile.release.codegen-units=1"])
        .args(["--target", target, "--target-dir"])
        .arg(folder);
    let status = cargo.status().map_err(|error| format!("{cargo:?}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "the static programs of {} did not build ({status}); a static C library is needed (Debian: libc6-dev, Fedora: glibc-static)",
        stub.display()
    ))
}
