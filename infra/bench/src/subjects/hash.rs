//! SHA-256 and SHA-512 of programs in one read, and `openssl dgst` run once for each; then the memory that a huge file
//! takes. Both sides must find the same digests.

use std::{fs::File, path::PathBuf};

use crate::{
    error::{BenchError, at, doing},
    figures::{Figure, Limit},
    measure::{Cost, cost_of, megabytes, pairs},
    peer,
    prepared::Prepared,
    roles::{self, Hashed},
};

/// How much CPU ours may take, in relation to the peer.
const TIMES: f64 = 1.05;

/// The limit of memory in MB.
const MOST: f64 = 64.0;

/// The files are given this often, so that hashing counts and starting does not.
const TIMES_OVER: usize = 4;

/// A file larger than any memory limit here; it has no blocks, so it takes no disk.
const HUGE: u64 = 2 << 30;

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let programs = prepared.programs()?;
    let files: Vec<_> = (0..TIMES_OVER).flat_map(|_| programs.iter().cloned()).collect();
    let expected = openssl(&files)?.0;
    let costs = pairs(
        count,
        || {
            let (hashed, cost) = here(&files)?;
            same(&hashed.files, &expected)?;
            Ok(cost)
        },
        || Ok(openssl(&files)?.1),
    )?;
    let peer = "openssl dgst -sha256, -sha512";
    let limit = Limit::OfPeer { times: TIMES, plus: 0.0 };
    let bytes = total(&files)? >> 20;
    Ok(vec![
        Figure::of_pairs((format!("hash {bytes} MB, CPU"), peer), "s", &costs.cpu(), Some(limit)),
        Figure::of_pairs((format!("hash {bytes} MB, wall"), peer), "s", &costs.wall(), None),
        memory(prepared)?,
    ])
}

fn memory(prepared: &Prepared) -> Result<Figure, BenchError> {
    let (scratch, _) = prepared.scratch()?;
    let path = scratch.path().join("huge");
    File::create(&path).and_then(|file| file.set_len(HUGE)).map_err(at(&path))?;
    let (hashed, _) = here(&[path])?;
    let peak = megabytes(hashed.peak_bytes);
    Ok(Figure::alone("hash one file of 2 GB, most memory", "MB", &[peak], MOST))
}

fn here(files: &[PathBuf]) -> Result<(Hashed, Cost), BenchError> {
    let (printed, cost) = cost_of(|| peer::run(peer::again(roles::HASH).args(files)))?;
    let hashed = serde_json::from_slice(&printed).map_err(doing("read the digests"))?;
    Ok((hashed, cost))
}

/// Runs both at once, as they are independent: on all cores too.
fn openssl(files: &[PathBuf]) -> Result<(Vec<(String, String)>, Cost), BenchError> {
    let dgst = |digest: &str| {
        let mut command = peer::program("openssl");
        command.args(["dgst", "-r", digest]).args(files);
        command
    };
    let (mut short, mut long) = (dgst("-sha256"), dgst("-sha512"));
    let ((short, long), cost) = cost_of(|| {
        let running = (peer::start(&mut short)?, peer::start(&mut long)?);
        Ok((peer::end(&short, running.0)?, peer::end(&long, running.1)?))
    })?;
    Ok((digests(&short).into_iter().zip(digests(&long)).collect(), cost))
}

/// Reads lines such as `<hex> *<file>`.
fn digests(printed: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(printed);
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    words.map(str::to_owned).collect()
}

fn same(ours: &[(String, String)], peer: &[(String, String)]) -> Result<(), BenchError> {
    if ours == peer {
        return Ok(());
    }
    let (ours, peer) = (format!("{ours:?}"), format!("{peer:?}"));
    Err(BenchError::Different { what: "digests differ".to_owned(), ours, peer })
}

fn total(files: &[PathBuf]) -> Result<u64, BenchError> {
    files.iter().map(|file| file.metadata().map(|found| found.len()).map_err(at(file))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_digests_than_the_peers_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        std::fs::write(&file, "abc").unwrap();
        let (mut found, _) = openssl(&[file]).unwrap();
        assert!(same(&found, &found.clone()).is_ok());
        assert!(found[0].0.starts_with("ba7816bf") && found[0].1.starts_with("ddaf35a1"));
        let expected = found.clone();
        found[0].1.replace_range(..1, "e");
        assert!(same(&found, &expected).is_err());
        assert!(same(&[], &expected).is_err());
    }
}
