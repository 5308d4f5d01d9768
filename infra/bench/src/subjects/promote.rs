//! Promotes a release of all that was built in a home from one local environment to another, verified and signed anew,
//! and copies its bytes with `cp`; both until they are on disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro::{
    config::environment,
    context::{read_environments, read_files},
    home::Home,
};
use serde_json::Value;

use crate::{
    error::{BenchError, at, doing},
    figures::{Figure, Limit},
    measure::{Cost, cost_of, megabytes, pairs},
    peer,
    prepared::{Prepared, remove},
    roles,
};

/// As long as copying takes, and a fifth.
const LIMIT: Limit = Limit::OfPeer { times: 1.2, plus: 0.0 };

const PEER: &str = "cp -a, sync";

/// Where the release is, and where it goes.
const FROM: &str = "local";
const TO: &str = "bench";

/// What was fetched and built need not be there twice. (The cut's own: see `nothing_changed`.)
const SHARED: [&str; 6] = ["apt", "assemblies", "content/sha256", "mirrors", "steps", "trees"];

/// What the local environment consists of, but its keys.
const FOLDERS: [&str; 3] = ["store", "registry", "announcements"];

/// A release in a home, and a build repository that knows where it goes.
struct Promoting {
    repository: PathBuf,
    home: Home,
    release: String,
    /// Where the peer copies to.
    copy: PathBuf,
    _scratch: tempfile::TempDir,
}

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let promoting = Promoting::new(prepared)?;
    let mut copied = 0;
    let costs = pairs(
        count,
        || {
            let (bytes, cost) = promoting.through_kdistro()?;
            copied = bytes;
            Ok(cost)
        },
        || promoting.by_cp(),
    )?;
    let figure = |clock: &str, pairs: &[_], limit| {
        let name = format!("promote {:.0} MB, {clock}", megabytes(copied));
        Figure::of_pairs((name, PEER), "s", pairs, limit)
    };
    Ok(vec![figure("wall", &costs.wall(), Some(LIMIT)), figure("CPU", &costs.cpu(), None)])
}

impl Promoting {
    /// Cuts a release of everything that is built in a home of its own.
    fn new(prepared: &Prepared) -> Result<Self, BenchError> {
        let (scratch, home) = prepared.scratch()?;
        prepared.share(&SHARED, &home)?;
        let mut cut = prepared.kdistro_of_all(home.path(), "cut")?;
        let cut = facts(&mut cut)?;
        let release = cut.get("release").and_then(Value::as_str).map(str::to_owned);
        let release =
            release.ok_or_else(|| BenchError::Unexpected(format!("the cut gave {cut}")))?;
        let repository = scratch.path().join("repository");
        lay_out(prepared, &repository)?;
        let copy = scratch.path().join("copy");
        Ok(Self { repository, home, release, copy, _scratch: scratch })
    }

    /// Promotes into an empty environment; returns how many bytes were copied.
    fn through_kdistro(&self) -> Result<(u64, Cost), BenchError> {
        for folder in [TO, &format!("journals/{TO}"), "log-heads"] {
            remove(&self.home.path().join(folder))?;
        }
        peer::run(&mut peer::program("sync"))?;
        let mut promote = peer::again(roles::KDISTRO);
        promote.current_dir(&self.repository).arg("--home").arg(self.home.path());
        promote.args(["promote", &self.release, "--from", FROM, "--to", TO]);
        let (promotion, cost) = cost_of(|| facts(&mut promote))?;
        let copied = promotion.get("copied").and_then(Value::as_object);
        let sizes = copied.into_iter().flatten().filter_map(|(_, size)| size.as_u64());
        let bytes = sizes.sum();
        if bytes == 0 {
            return Err(BenchError::Unexpected(format!("nothing was copied: {promotion}")));
        }
        Ok((bytes, cost))
    }

    fn by_cp(&self) -> Result<Cost, BenchError> {
        remove(&self.copy)?;
        fs::create_dir(&self.copy).map_err(at(&self.copy))?;
        peer::run(&mut peer::program("sync"))?;
        let mut copy = peer::program("cp");
        copy.arg("-a").args(FOLDERS.map(|folder| self.home.path().join(folder))).arg(&self.copy);
        let work = || {
            peer::run(&mut copy)?;
            peer::run(&mut peer::program("sync"))
        };
        Ok(cost_of(work)?.1)
    }
}

/// Copies the configuration of a build repository, with an environment more.
fn lay_out(prepared: &Prepared, repository: &Path) -> Result<(), BenchError> {
    let top = &prepared.repository;
    let mut files = read_files(top).map_err(doing("read the configuration"))?;
    files.extend(read_environments(top).map_err(doing("read the environments"))?);
    let text = format!(
        "name: {TO}\ndevelopment: true\nstore: {{directory: {TO}/store}}\n\
         registry: {{directory: {TO}/registry}}\nannouncements: {{directory: {TO}/announcements}}\n\
         keys: {{directory: {TO}/keys}}\nlogOrigin: log.{TO}.kdistro.dev\n"
    );
    files.insert(environment::file(TO), text.into_bytes());
    for (name, bytes) in files {
        let path = repository.join(name);
        let folder = path.parent().unwrap_or(repository);
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes)).map_err(at(&path))?;
    }
    Ok(())
}

/// Runs a command of kdistro to its end; returns what it says of it.
fn facts(command: &mut Command) -> Result<Value, BenchError> {
    let printed = peer::run(command.arg("--json"))?;
    serde_json::from_slice(&printed).map_err(doing("read what kdistro says"))
}
