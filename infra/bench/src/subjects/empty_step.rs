//! A step that does nothing: what the container alone costs, and what a whole step costs with its scratch folders and
//! its record.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use kdistro::{
    build::Builder,
    content::ContentStore,
    home::Home,
    plan::{BUILD_PLATFORM, define, empty},
    report::Reporter,
};
use kdistro_assemble::{
    entry::{Entry, EntryPath},
    tar::TarWriter,
};
use kdistro_container::{Limits, StepSpec};
use kdistro_formats::plan::{self, Plan, Step, StepBody, Tree};
use kdistro_verify::hash;

use crate::{
    error::{BenchError, at, doing},
    figures::{Figure, Limit},
    measure::{Pair, Pairs, cost_of, pairs, scaled},
    peer,
    prepared::Prepared,
};

/// The limit in milliseconds.
const MOST: f64 = 15.0;

const NAME: &str = "nothing";
const LIMITS: Limits = Limits {
    seconds: 60,
    memory_bytes: 1 << 30,
    processes: 100,
    disk_bytes: 1 << 20,
    log_bytes: 1 << 20,
};

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let (scratch, home) = prepared.scratch()?;
    let program = scratch.path().join(NAME);
    fs::write(&program, nothing()).map_err(at(&program))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(at(&program))?;
    let bare = || Ok(cost_of(|| peer::run(&mut peer::program(&program)))?.1);

    let spec = spec(scratch.path(), &program)?;
    let container =
        || Ok(cost_of(|| kdistro_container::run(&spec).map_err(doing("run a container")))?.1);
    let contained = pairs(count, container, bare)?;

    let content = ContentStore::new(home.content());
    // One more, to lay out the root file system: that happens once, and is not what a step costs.
    let (plan, steps) = plan(&content, count + 1)?;
    let mut steps = steps.iter();
    let mut whole = || {
        let step =
            steps.next().ok_or_else(|| BenchError::Unexpected("too few steps".to_owned()))?;
        Ok(cost_of(|| build(&plan, &[step], (&home, &content)))?.1)
    };
    whole()?;
    let built = pairs(count, whole, bare)?;
    Ok([figures("container alone", &contained), figures("whole", &built)].concat())
}

/// The wall time is what is limited; the CPU tells more where other work goes on beside.
fn figures(what: &str, pairs: &Pairs) -> [Figure; 2] {
    let figure = |clock: &str, pairs: &[Pair], limit| {
        let names = (format!("empty step, {what}, {clock}"), "the same program, bare");
        Figure::of_pairs(names, "ms", &scaled(pairs, 1000.0), limit)
    };
    [figure("wall", &pairs.wall(), Some(Limit::AtMost(MOST))), figure("CPU", &pairs.cpu(), None)]
}

fn spec(scratch: &Path, program: &Path) -> Result<StepSpec, BenchError> {
    let folder = |name: &str| {
        let path = scratch.join(name);
        fs::create_dir(&path).map_err(at(&path))?;
        Ok::<_, BenchError>(path)
    };
    let root = folder("root")?;
    let inside = root.join(NAME);
    fs::copy(program, &inside).map_err(at(&inside))?;
    Ok(StepSpec {
        root,
        mounts: Vec::new(),
        argv: vec![format!("/{NAME}")],
        env: BTreeMap::new(),
        directory: "/".to_owned(),
        limits: LIMITS,
        out: folder("out")?,
        scratch: folder("tmp")?,
        log: scratch.join("log"),
    })
}

/// A plan of steps that do nothing, each under a key of its own, so that none is cached.
fn plan(content: &ContentStore, count: usize) -> Result<(Plan, Vec<Step>), BenchError> {
    let wrong = |error| BenchError::Unexpected(format!("{error}"));
    let mut plan = empty(&"1-20".parse().map_err(wrong)?);
    let mut tar = TarWriter::new(Vec::new(), 0);
    let bytes = nothing();
    let path = EntryPath::new(NAME).map_err(doing("name the program"))?;
    tar.append(Entry::file(path, true, bytes.len() as u64, &mut bytes.as_slice()))
        .map_err(doing("pack the program"))?;
    let tar = tar.finish().map_err(doing("pack the program"))?;
    let archive = content.insert_bytes(&tar).map_err(doing("keep the program"))?;
    let root = define(&mut plan, Tree::Source { archive, additions: Vec::new() })
        .map_err(doing("make a plan"))?;
    let project = "etcd-io/etcd".parse().map_err(wrong)?;
    let platform = BUILD_PLATFORM.parse().map_err(wrong)?;
    let Limits { seconds, memory_bytes, processes, disk_bytes, log_bytes } = LIMITS;
    let step = Step {
        key: hash::sha256(b""),
        name: NAME.to_owned(),
        project,
        platform,
        body: StepBody {
            root,
            mounts: BTreeMap::new(),
            argv: vec![format!("/{NAME}")],
            env: BTreeMap::new(),
            directory: "/".to_owned(),
            limits: plan::Limits { seconds, memory_bytes, processes, disk_bytes, log_bytes },
            outputs: Vec::new(),
        },
        checks: Vec::new(),
    };
    let numbered =
        |number: usize| Step { key: hash::sha256(&number.to_be_bytes()), ..step.clone() };
    Ok((plan, (0..count).map(numbered).collect()))
}

fn build(
    plan: &Plan,
    steps: &[&Step],
    (home, content): (&Home, &ContentStore),
) -> Result<(), BenchError> {
    let reporter = Reporter::new(false, true, None);
    let builder =
        Builder { plan, home, content, reporter: &reporter, jobs: 1, host: BUILD_PLATFORM };
    builder.build(steps).map(drop).map_err(doing("build"))
}

/// The smallest program: an ELF file for amd64 without any library, whose code is `exit(0)`.
fn nothing() -> Vec<u8> {
    const CODE: [u8; 9] = [0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]; // xor edi, edi; mov eax, 60; syscall
    const BASE: u64 = 0x40_0000;
    const HEADERS: u16 = 64 + 56;
    let size = u64::from(HEADERS) + CODE.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |elf: &mut Vec<u8>, values: &[u16]| {
        elf.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    let words = |elf: &mut Vec<u8>, values: &[u64]| {
        elf.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    halves(&mut elf, &[2, 62, 1, 0]); // executable, amd64, version 1
    words(&mut elf, &[BASE + u64::from(HEADERS), 64, 0]); // entry, program headers, no section headers
    halves(&mut elf, &[0, 0, 64, 56, 1, 0, 0, 0]); // flags, sizes and counts of headers
    halves(&mut elf, &[1, 0, 5, 0]); // loaded, readable and executable
    words(&mut elf, &[0, BASE, BASE, size, size, 0x1000]);
    elf.extend(CODE);
    elf
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn nothing_is_a_program_that_ends_well() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(NAME);
        fs::write(&program, nothing()).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        // A test beside this one that starts a program holds the open file for a moment.
        let is_busy = |ran: &Result<Vec<u8>, BenchError>| matches!(ran, Err(BenchError::Start { source, .. }) if source.kind() == ErrorKind::ExecutableFileBusy);
        let mut runs = (0..1000).map(|_| peer::run(&mut peer::program(&program)));
        assert_eq!(runs.find(|ran| !is_busy(ran)).unwrap().unwrap(), b"");
    }

    #[test]
    fn no_step_is_cached() {
        let folder = tempfile::tempdir().unwrap();
        let (plan, steps) = plan(&ContentStore::new(folder.path().to_owned()), 3).unwrap();
        let keys: std::collections::BTreeSet<_> = steps.iter().map(|step| step.key).collect();
        assert_eq!((keys.len(), plan.trees.len()), (3, 1));
    }
}
