//! Compresses a layer of programs with the one encoder of the distribution, and with pigz on one core at the same level.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use kdistro_assemble::{
    entry::{Entry, EntryPath},
    tar::TarWriter,
};

use crate::{
    error::{BenchError, at, doing},
    figures::{Figure, Limit},
    measure::{Pair, cost_of, megabytes, pairs},
    peer,
    prepared::Prepared,
    roles,
};

/// The layer is at least this large.
const SIZE: u64 = 60 << 20;

/// As fast as the peer.
const LIMIT: Limit = Limit::OfPeer { times: 1.0, plus: 0.0 };

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let (scratch, _) = prepared.scratch()?;
    let place = |name: &str| scratch.path().join(name);
    let (archive, ours, theirs) = (place("programs.tar"), place("ours.gz"), place("pigz.gz"));
    let bytes = pack(&prepared.programs()?, &archive)?;
    let costs = pairs(
        count,
        || {
            let mut command = peer::again(roles::GZIP);
            command.args([&archive, &ours]);
            Ok(cost_of(|| peer::run(&mut command))?.1)
        },
        || {
            let mut command = peer::program("pigz");
            command.args(["-p1", "-6", "-c"]).arg(&archive);
            Ok(cost_of(|| peer::run_into(&mut command, &theirs))?.1)
        },
    )?;
    let size = |path: &Path| path.metadata().map(|found| megabytes(found.len())).map_err(at(path));
    let size = [Pair { ours: size(&ours)?, peer: size(&theirs)? }];
    let (what, peer) = (format!("gzip {} MB", bytes >> 20), "pigz -p1 -6");
    Ok(vec![
        Figure::of_pairs((format!("{what}, CPU"), peer), "s", &costs.cpu(), Some(LIMIT)),
        Figure::of_pairs((format!("{what}, size"), peer), "MB", &size, None),
    ])
}

/// Packs programs, over and over until the layer is large enough; returns their size.
fn pack(programs: &[PathBuf], archive: &Path) -> Result<u64, BenchError> {
    let file = BufWriter::new(File::create(archive).map_err(at(archive))?);
    let mut tar = TarWriter::new(file, 0);
    let mut bytes = 0;
    for (number, path) in programs.iter().cycle().enumerate() {
        if bytes >= SIZE {
            break;
        }
        let mut program = File::open(path).map_err(at(path))?;
        let size = program.metadata().map_err(at(path))?.len();
        let name = EntryPath::new(format!("{number:04}"));
        let name = name.map_err(doing("name a program"))?;
        tar.append(Entry::file(name, true, size, &mut program)).map_err(doing("pack"))?;
        bytes += size;
    }
    tar.finish().map_err(doing("pack"))?.into_inner().map_err(|error| at(archive)(error.into()))?;
    Ok(bytes)
}
