//! Compiles each component through kdistro and bare: the same go, arguments, environment, source and modules, from an
//! empty build cache. Both must give the same bytes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use kdistro::{
    build::{self, Builder, StepRecord},
    content::ContentStore,
    home::Home,
    plan::BUILD_PLATFORM,
    report::Reporter,
};
use kdistro_formats::{
    Digest,
    plan::{Plan, Step},
};
use kdistro_verify::hash;

use crate::{
    error::{BenchError, at, doing},
    figures::{Figure, Limit},
    measure::{Cost, Pair, cost_of, pairs},
    peer,
    prepared::{PLATFORMS, Prepared, remove},
};

/// Source: the figures that the project set itself.
const LIMIT: Limit = Limit::OfPeer { times: 1.02, plus: 1.0 };
/// For all of a channel.
const LIMIT_OF_ALL: Limit = Limit::OfPeer { times: 1.03, plus: 0.0 };

/// What compiles, inside the container, and who the peer is.
const GO: &str = "/go/bin/go";
const PEER: &str = "go build, bare";

type Digests = BTreeMap<String, Digest>;

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let plan = &prepared.plan;
    let steps = prepared.steps().into_iter();
    let figure = |step: &Step| {
        let pairs = measure_step(prepared, (plan, step), count)?;
        Ok(Figure::of_pairs((name(step), PEER), "s", &pairs, Some(LIMIT)))
    };
    steps.map(figure).collect()
}

/// Every `go build` of the channel, for information, and the sum of all.
pub(super) fn measure_all(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let plan = prepared.built(&PLATFORMS)?;
    let steps = build::needed(&plan, None);
    let go = steps.into_iter().filter(|step| step.body.argv.first().is_some_and(|p| p == GO));
    let mut figures = Vec::new();
    let mut sums = vec![Pair { ours: 0.0, peer: 0.0 }; count];
    for step in go {
        let pairs = measure_step(prepared, (&plan, step), count)?;
        for (sum, pair) in sums.iter_mut().zip(&pairs) {
            sum.ours += pair.ours;
            sum.peer += pair.peer;
        }
        figures.push(Figure::of_pairs((name(step), PEER), "s", &pairs, None));
    }
    let name = format!("build, {} steps in sum, CPU", figures.len());
    figures.push(Figure::of_pairs((name, PEER), "s", &sums, Some(LIMIT_OF_ALL)));
    Ok(figures)
}

fn name(step: &Step) -> String {
    format!("build {}, CPU", step.name)
}

/// The CPU of one step, pair by pair.
fn measure_step(
    prepared: &Prepared,
    (plan, step): (&Plan, &Step),
    count: usize,
) -> Result<Vec<Pair>, BenchError> {
    let (_scratch, home) = prepared.scratch()?;
    prepared.lay_out(plan, step, &home)?;
    let compiled = pairs(
        count,
        || {
            let (outputs, cost) = through_kdistro(prepared, (plan, step), &home)?;
            same(step, &outputs, prepared)?;
            Ok(cost)
        },
        || {
            let (outputs, cost) = bare(step, &home)?;
            same(step, &outputs, prepared)?;
            Ok(cost)
        },
    )?;
    Ok(compiled.cpu())
}

/// Builds the step as a cut does: container, checks of the programs, and taking them into the content store.
fn through_kdistro(
    prepared: &Prepared,
    (plan, step): (&Plan, &Step),
    home: &Home,
) -> Result<(Digests, Cost), BenchError> {
    for folder in [home.content(), home.steps()] {
        remove(&folder)?;
    }
    prepared.give(plan, step, home)?;
    let builder = Builder {
        plan,
        home,
        content: &ContentStore::new(home.content()),
        reporter: &Reporter::new(false, true, None),
        jobs: 1,
        host: BUILD_PLATFORM,
    };
    let used = build::uses(plan, step);
    let steps =
        plan.steps.iter().filter(|other| other.key == step.key || used.contains(&other.key));
    let steps: Vec<_> = steps.collect();
    let (records, cost) = cost_of(|| builder.build(&steps).map_err(doing("build")))?;
    let record = records.record(&step.key);
    let record = record.ok_or_else(|| BenchError::Unexpected("no record".to_owned()))?;
    // The container counts the step's processes for itself, so a process that nobody waited for would show.
    if cost.cpu < record.cpu_seconds * 0.98 {
        let (all, step) = (cost.cpu, record.cpu_seconds);
        return Err(BenchError::Unexpected(format!(
            "CPU got lost: {all} s, the step alone {step} s"
        )));
    }
    Ok((digests(record), cost))
}

/// Runs the step's program without a container.
fn bare(step: &Step, home: &Home) -> Result<(Digests, Cost), BenchError> {
    let scratch = home.scratch("bare").map_err(doing("make a scratch folder"))?;
    let mut places: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for (path, tree) in &step.body.mounts {
        places.insert(path, home.trees().join(tree.hex()));
    }
    for (path, name) in [("/out", "out"), ("/tmp", "tmp"), ("/go-path", "go-path")] {
        let folder = scratch.path().join(name);
        fs::create_dir(&folder).map_err(at(&folder))?;
        places.insert(path, folder);
    }
    let mut words = step.body.argv.iter().map(|word| on_host(word, &places));
    let mut command = peer::program(words.next().unwrap_or_default());
    command.args(words).env_clear().current_dir(on_host(&step.body.directory, &places));
    command.envs(step.body.env.iter().map(|(name, value)| (name, on_host(value, &places))));
    // Go before 1.19 links the toolchain's place into programs that ask for it (cmd/link, `gorootFinal`).
    command.envs(step.body.env.get("GOROOT").map(|inside| ("GOROOT_FINAL", inside)));
    let (_, cost) = cost_of(|| peer::run(&mut command))?;
    let mut found = Digests::new();
    for name in &step.body.outputs {
        let path = scratch.path().join("out").join(name);
        found.insert(name.clone(), digest(&path)?);
    }
    Ok((found, cost))
}

/// A path inside the container, as the same path on the host; other words stay what they are.
fn on_host(word: &str, places: &BTreeMap<&str, PathBuf>) -> String {
    let found = places.iter().find_map(|(path, place)| {
        let rest = word.strip_prefix(path)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", place.display()))
    });
    found.unwrap_or_else(|| word.to_owned())
}

fn digest(path: &Path) -> Result<Digest, BenchError> {
    let (digest, _) = fs::File::open(path).and_then(hash::sha256_of).map_err(at(path))?;
    Ok(digest)
}

fn digests(record: &StepRecord) -> Digests {
    record.outputs.iter().map(|(name, output)| (name.clone(), output.digest)).collect()
}

/// Refuses outputs that are not those of the home's own build.
fn same(step: &Step, found: &Digests, prepared: &Prepared) -> Result<(), BenchError> {
    let record =
        StepRecord::read(&prepared.home, &step.key).map_err(doing("read what a step gave"))?;
    let expected = record.as_ref().map(digests).unwrap_or_default();
    if *found == expected {
        return Ok(());
    }
    let differs = |name: &&String| found.get(*name) != expected.get(*name);
    let name = found.keys().chain(expected.keys()).find(differs);
    let name = name.map_or_else(String::new, ToString::to_string);
    let show = |digests: &Digests| {
        digests.get(&name).map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    let what = format!("`{name}` of `{}` differs between two builds", step.name);
    Err(BenchError::Different { what, ours: show(&expected), peer: show(found) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_taken_for_folders_of_the_container() {
        let places = [("/go", "/h/toolchain"), ("/go-path", "/h/path"), ("/tmp", "/h/tmp")];
        let places = places.map(|(path, place)| (path, PathBuf::from(place))).into();
        for (inside, outside) in [
            ("/go", "/h/toolchain"),
            ("/go/bin/go", "/h/toolchain/bin/go"),
            ("/go-path", "/h/path"),
            ("/tmp/go-build", "/h/tmp/go-build"),
            ("/gone", "/gone"),
            ("-X /go/x", "-X /go/x"),
            (".", "."),
        ] {
            assert_eq!(on_host(inside, &places), outside);
        }
    }
}
