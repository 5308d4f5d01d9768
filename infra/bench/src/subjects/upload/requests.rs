//! Counts the requests of uploads: after a crash that left all files but no record, and where nothing changed.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    ARTIFACTS,
    files::{COUNT, FOLDERS, Files},
    forget,
};
use crate::{
    error::{BenchError, at},
    figures::Figure,
    measure::number,
    peer,
    servers::{Bucket, Wire},
};

/// The limits: checks of a file that no sums record, and requests for up to 1,000 files.
const HEADS: f64 = 1.0;
const AGAIN: f64 = 4.0;

/// Small ones: a request is one, whatever it is about.
const BYTES: u64 = 560_000;

/// The record of a folder, written last.
const RECORD: &str = "/SHA256SUM";
/// Source: Amazon S3 API, `ListObjectsV2`.
const LISTING: &str = "list-type=2";

const UNIT: &str = "requests";

pub(super) fn measure(scratch: &Path) -> Result<Vec<Figure>, BenchError> {
    let files = Files::make(&scratch.join("small"), BYTES)?;
    let kept = tempfile::tempdir_in(scratch).map_err(at(scratch))?;
    let bucket = Bucket::start()?;
    let is_crashing = Arc::new(AtomicBool::new(true));
    let crashing = Arc::clone(&is_crashing);
    let wire = Wire::to(bucket.url(), move |request| {
        let is_record = request.path.split('?').next().is_some_and(|path| path.ends_with(RECORD));
        request.method == "PUT" && is_record && crashing.load(Ordering::SeqCst)
    })?;
    let upload = || {
        let command = files.upload(Some(Bucket::NAME), kept.path())?;
        peer::run(&mut bucket.point_through(&wire, command)).map(drop)
    };
    let ended = upload();
    let unrecorded = COUNT - FOLDERS;
    let is_stored =
        |line: &str| line.starts_with("PUT ") && is_of(line, ARTIFACTS) && !is_of(line, RECORD);
    let stored = count(&wire.requests(), is_stored);
    if !matches!(ended, Err(BenchError::Failed { .. })) || stored < unrecorded {
        let found = ended.err().map_or_else(|| "nothing".to_owned(), |error| error.to_string());
        let what = format!("{stored} of {unrecorded} files were stored, and it said: {found}");
        return Err(BenchError::Unexpected(format!(
            "an upload was not stopped at its end: {what}"
        )));
    }
    is_crashing.store(false, Ordering::SeqCst);
    let seen = |is_known: bool| {
        if !is_known {
            forget(kept.path())?;
        }
        upload()?;
        Ok(wire.requests())
    };
    let (resumed, again, known) = (seen(false)?, seen(false)?, seen(true)?);
    Ok(figures(unrecorded, [&resumed, &again, &known]))
}

fn figures(unrecorded: usize, [resumed, again, known]: [&[String]; 3]) -> Vec<Figure> {
    let heads = count(resumed, |line| line.starts_with("HEAD ") && is_of(line, ARTIFACTS));
    let about_files = |line: &str| line.contains(LISTING) || is_of(line, ARTIFACTS);
    let figure = |what: &str, value: f64, most: Option<f64>| {
        Figure::alone(format!("upload {COUNT} files {what}"), UNIT, &[value], most)
    };
    let all = |lines: &[String]| amount(lines.len());
    vec![
        figure(
            "after a crash, HEADs for each that no sums record",
            amount(heads) / amount(unrecorded),
            Some(HEADS),
        ),
        figure("again, listings and sums", amount(count(again, about_files)), Some(AGAIN)),
        figure("again, all of the release", all(again), None),
        figure("again with the journal, all of the release", all(known), None),
    ]
}

fn count(lines: &[String], is_one: impl Fn(&str) -> bool) -> usize {
    lines.iter().filter(|line| is_one(line)).count()
}

/// True for a request for an object with this in its name.
fn is_of(line: &str, part: &str) -> bool {
    let path = line.split('?').next().unwrap_or_default();
    path.contains(part)
}

fn amount(count: usize) -> f64 {
    number(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let lines = [
            "GET /bench?list-type=2&prefix=kubernetes-1-20%2Freleases%2F1%2Fartifacts%2F",
            "HEAD /bench/kubernetes-1-20/releases/1/artifacts/folder-0/v1.0.0/SHA512SUM",
            "HEAD /bench/kubernetes-1-20/releases/1/plan.json",
            "GET /bench/kubernetes-1-20/releases/1/artifacts/folder-0/v1.0.0/SHA256SUM?x-id=GetObject",
        ]
        .map(str::to_owned);
        let found = figures(2, [&lines, &lines, &lines[..1]]);
        let values: Vec<_> = found.iter().map(|figure| figure.ours).collect();
        assert_eq!(values, [0.5, 3.0, 4.0, 1.0]);
    }
}
