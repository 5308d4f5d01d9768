//! The roles that this program plays in a process of their own, so that their memory and CPU are theirs alone.

mod push;
mod upload;

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use clap::Parser;
use kdistro::{
    build::{Records, StepRecord},
    cli::Cli,
    commands,
    content::ContentStore,
    context::Surroundings,
    home::Home,
    package::{KnownPackages, Packager},
    report::Reporter,
};
use kdistro_assemble::gzip::gzip;
use kdistro_devcluster::Place;
use kdistro_formats::{Digest, canonical, plan::Plan};
use kdistro_verify::{
    check::chain,
    hash::{self, Hashes},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    push::{Push, REPOSITORY, TAG},
    upload::{Asset, JOURNAL, Upload},
};

/// First argument: hash the files that follow, on all cores.
pub(crate) const HASH: &str = "kdistro-bench:hash";
/// First argument: compress the first file that follows into the second.
pub(crate) const GZIP: &str = "kdistro-bench:gzip";
/// First argument: package the plan that follows in the home that follows, on all cores.
pub(crate) const PACKAGE: &str = "kdistro-bench:package";
/// First argument: upload what the file that follows says.
pub(crate) const UPLOAD: &str = "kdistro-bench:upload";
/// First argument: push the image that the file that follows names.
pub(crate) const PUSH: &str = "kdistro-bench:push";
/// First argument: be `kdistro` with the arguments that follow.
pub(crate) const KDISTRO: &str = "kdistro-bench:kdistro";

/// First argument: be the first process of a cluster; what starts one says so.
const SUPERVISE: &str = "supervise";

/// What the hashing role found.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Hashed {
    /// SHA-256 and SHA-512 of each file in hex, in the order of the arguments.
    pub(crate) files: Vec<(String, String)>,
    /// The most memory that the process held at once.
    pub(crate) peak_bytes: u64,
}

/// What the packaging role made.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Packed {
    /// The digest of each asset, by path; of an image, that of its index.
    pub(crate) assets: BTreeMap<String, Digest>,
    /// The digest of the SBOM of everything.
    pub(crate) sbom: Option<Digest>,
    /// The most memory that the process held at once.
    pub(crate) peak_bytes: u64,
}

/// What the uploading role needed.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Uploaded {
    /// The most memory that the process held at once.
    pub(crate) peak_bytes: u64,
}

/// Plays a role, if this process was started for one.
pub(crate) fn play(
    arguments: &[OsString],
    surroundings: impl FnOnce() -> Surroundings,
) -> Option<ExitCode> {
    let (word, rest) = arguments.get(1..)?.split_first()?;
    match word.to_str()? {
        HASH => Some(exit(hash_files(rest))),
        GZIP => Some(exit(compress(rest))),
        PACKAGE => Some(exit(package(rest))),
        UPLOAD => Some(exit(upload(rest))),
        PUSH => Some(exit(order(rest).and_then(|order| push::push(&order)))),
        KDISTRO => Some(be_kdistro(rest, surroundings())),
        SUPERVISE => Some(exit(supervise(rest))),
        _ => None,
    }
}

fn exit(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to hear when even this fails.
            let _ = writeln!(io::stderr(), "{}", chain(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

fn be_kdistro(arguments: &[OsString], surroundings: Surroundings) -> ExitCode {
    let words = [OsString::from("kdistro")].into_iter().chain(arguments.iter().cloned());
    commands::run(&Cli::parse_from(words), surroundings)
}

/// Source: `infra/devcluster`, `devcluster supervise --folder FOLDER [--node]`.
fn supervise(arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let [_, folder, more @ ..] = arguments else { return Err("expected a folder".into()) };
    let place = Place { folder: folder.into(), node: !more.is_empty() };
    Ok(kdistro_devcluster::supervise(&place)?)
}

fn compress(arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let [from, to] = arguments else { return Err("expected two files".into()) };
    gzip(File::open(from)?, File::create(to)?)?;
    Ok(())
}

fn upload(arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    upload::upload(&order(arguments)?)?;
    let uploaded = Uploaded { peak_bytes: peak_bytes()? };
    io::stdout().write_all(&serde_json::to_vec(&uploaded)?)?;
    Ok(())
}

/// Reads what a role is to do.
fn order<T: serde::de::DeserializeOwned>(arguments: &[OsString]) -> Result<T, Box<dyn Error>> {
    let [file] = arguments else { return Err("expected a file that says what to do".into()) };
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

/// Makes every asset of a plan whose steps were run, as a cut does.
fn package(arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let [plan, home] = arguments else { return Err("expected a plan and a home folder".into()) };
    let plan: Plan = canonical::from_slice(&fs::read(plan)?)?;
    let home = Home::open(home.as_ref())?;
    let mut records = Records::default();
    for step in &plan.steps {
        if let Some(record) = StepRecord::read(&home, &step.key)? {
            records.insert(step.key, record);
        }
    }
    let packager = Packager {
        plan: &plan,
        records: &records,
        home: &home,
        content: &ContentStore::new(home.content()),
        reporter: &Reporter::new(false, true, None),
        jobs: thread::available_parallelism().map_or(1, usize::from),
        packages: KnownPackages::default(),
    };
    let packaged = packager.package(None)?;
    let assets = packaged.assets.iter().map(|(path, hashes)| (path.clone(), hashes.sha256));
    let packed = Packed {
        assets: assets.collect(),
        sbom: packaged.sbom.map(|hashes| hashes.sha256),
        peak_bytes: peak_bytes()?,
    };
    io::stdout().write_all(&serde_json::to_vec(&packed)?)?;
    Ok(())
}

/// Hashes files as packaging and verification do: each in one read, several at once.
fn hash_files(arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = arguments.iter().map(PathBuf::from).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, path)) = take(&next, &paths) {
            done.push((index, File::open(path).and_then(hash::hashes_of)));
        }
        done
    };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(paths.len());
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    let hex = |hashes: Hashes| (hashes.sha256.hex(), hashes.sha512.to_string());
    let files = done.into_iter().map(|(_, hashes)| hashes.map(hex)).collect::<Result<_, _>>()?;
    let hashed = Hashed { files, peak_bytes: peak_bytes()? };
    io::stdout().write_all(&serde_json::to_vec(&hashed)?)?;
    Ok(())
}

fn take<'a>(next: &AtomicUsize, paths: &'a [PathBuf]) -> Option<(usize, &'a PathBuf)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    paths.get(index).map(|path| (index, path))
}

/// Source: `proc(5)`, `/proc/pid/status`, `VmHWM`, in KiB. Unlike `ru_maxrss` it knows nothing of the program before exec.
fn peak_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).ok_or("no VmHWM")?;
    Ok(kib.parse::<u64>()? * 1024)
}
