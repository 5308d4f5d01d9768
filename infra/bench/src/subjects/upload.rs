//! Uploads 1 GB in 300 files to S3 as the files of a release, and the same files with `aws s3 sync`, each into an empty
//! bucket of the same double; then both again, where nothing changed and ours has no journal. The uploads of ours
//! include what makes a release of files: claim, keys, manifest, log and channel index.

mod files;
mod requests;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use self::files::{COUNT, Files};
use crate::{
    error::{BenchError, at, doing},
    figures::{Figure, Limit},
    measure::{Cost, Pairs, cost_of, in_turn, megabytes},
    peer,
    prepared::Prepared,
    roles::{JOURNAL, Uploaded},
    servers::Bucket,
};

/// All files together.
const BYTES: u64 = 1_000_000_000;

/// As cheap, and as fast.
const LIMIT: Limit = Limit::OfPeer { times: 1.0, plus: 0.0 };
/// The limit of memory in MB.
const MEMORY: f64 = 150.0;
/// The limit in seconds where nothing changed.
const AGAIN: f64 = 0.5;

const PEER: &str = "aws s3 sync";

/// What is in the name of every file that both upload, and of nothing that only ours does.
const ARTIFACTS: &str = "/artifacts/";

/// One upload, and the same once more.
struct Run {
    first: Cost,
    again: Cost,
    stored: BTreeMap<String, u64>,
}

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let (scratch, _) = prepared.scratch()?;
    let files = Files::make(&scratch.path().join("assets"), BYTES)?;
    let tree = lay_out(&files, &scratch.path().join("tree"))?;
    let mut peaks = Vec::new();
    let runs = in_turn(
        count,
        || {
            let (run, peak) = through_kdistro(&files, scratch.path())?;
            peaks.push(megabytes(peak));
            Ok(run)
        },
        || by_sync(&tree),
    )?;
    same(&runs)?;
    let (first, again) = (Pairs::of(&runs, |run| run.first), Pairs::of(&runs, |run| run.again));
    let name = |what: &str| (format!("upload 1 GB in {COUNT} files, {what}"), PEER);
    let figure = |what: &str, pairs: &[_], limit| Figure::of_pairs(name(what), "s", pairs, limit);
    let mut figures = vec![
        figure("CPU", &first.cpu(), Some(LIMIT)),
        figure("wall", &first.wall(), Some(LIMIT)),
        Figure::alone(name("most memory").0, "MB", &peaks, MEMORY),
        figure("again, wall", &again.wall(), Some(Limit::AtMost(AGAIN))),
        figure("again, CPU", &again.cpu(), None),
    ];
    figures.extend(requests::measure(scratch.path())?);
    Ok(figures)
}

/// Publishes into a folder, which then is what the peer uploads.
fn lay_out(files: &Files, kept: &Path) -> Result<PathBuf, BenchError> {
    peer::run(&mut files.upload(None, kept)?)?;
    Ok(kept.join("store"))
}

/// Uploads into an empty bucket, and again without the journal, as another machine would; returns the memory too.
fn through_kdistro(files: &Files, scratch: &Path) -> Result<(Run, u64), BenchError> {
    let bucket = Bucket::start()?;
    let kept = tempfile::tempdir_in(scratch).map_err(at(scratch))?;
    let upload = || {
        let mut upload = bucket.point(files.upload(Some(Bucket::NAME), kept.path())?);
        let (printed, cost) = cost_of(|| peer::run(&mut upload))?;
        let uploaded = serde_json::from_slice::<Uploaded>(&printed);
        Ok((uploaded.map_err(doing("read what an upload needed"))?, cost))
    };
    let (uploaded, first) = upload()?;
    forget(kept.path())?;
    let (_, again) = upload()?;
    let stored = bucket.stored(ARTIFACTS)?;
    Ok((Run { first, again, stored }, uploaded.peak_bytes))
}

fn by_sync(tree: &Path) -> Result<Run, BenchError> {
    let bucket = Bucket::start()?;
    let sync = || {
        let mut sync = bucket.aws()?;
        sync.args(["s3", "sync", "--only-show-errors", "--exclude", ".kdistro-store/*"]);
        sync.arg(tree).arg(format!("s3://{}", Bucket::NAME));
        Ok(cost_of(|| peer::run(&mut sync))?.1)
    };
    Ok(Run { first: sync()?, again: sync()?, stored: bucket.stored(ARTIFACTS)? })
}

/// Removes the journal, so that only the store can say what is there.
fn forget(kept: &Path) -> Result<(), BenchError> {
    let journal = kept.join(JOURNAL);
    fs::remove_file(&journal).map_err(at(&journal))
}

/// Refuses runs that stored other files.
fn same(runs: &[(Run, Run)]) -> Result<(), BenchError> {
    let expected = runs.first().map(|(ours, _)| &ours.stored);
    for stored in runs.iter().flat_map(|(ours, peer)| [&ours.stored, &peer.stored]) {
        if Some(stored) != expected || stored.len() != COUNT {
            let say = |files: Option<&BTreeMap<String, u64>>| {
                let files = files.into_iter().flatten();
                let (count, bytes) =
                    files.fold((0, 0), |(count, sum), (_, size)| (count + 1, sum + size));
                format!("{count} files, {bytes} bytes")
            };
            let (ours, peer) = (say(expected), say(Some(stored)));
            let what = format!("of {COUNT} files");
            return Err(BenchError::Different { what, ours, peer });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_of_other_files_are_refused() {
        let run = |files: usize, size: u64| Run {
            first: Cost { wall: 1.0, cpu: 1.0, user: 1.0 },
            again: Cost { wall: 1.0, cpu: 1.0, user: 1.0 },
            stored: (0..files).map(|number| (number.to_string(), size)).collect(),
        };
        same(&[(run(COUNT, 1), run(COUNT, 1))]).unwrap();
        for (ours, peer) in [(run(COUNT, 1), run(COUNT, 2)), (run(COUNT, 1), run(COUNT - 1, 1))] {
            let error = same(&[(ours, peer)]).unwrap_err().to_string();
            assert!(error.starts_with("of 300 files: 300 files, 300 bytes here"), "{error}");
        }
        assert!(same(&[(run(1, 1), run(1, 1))]).is_err());
    }
}
