//! Compiles each component through kdistro and bare: the same go, arguments, environment, source and modules, from an
//! empty build cache. Both must give the same bytes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use kdistro::{
    build::{Builder, StepRecord},
    content::ContentStore,
    home::Home,
    plan::BUILD_PLATFORM,
    report::Reporter,
};
use kdistro_formats::{Digest, plan::Step};
use kdistro_verify::hash;

use crate::{
    error::{BenchError, at, doing},
    figures::{Figure, Limit},
    measure::{Cost, cost_of, pairs},
    peer,
    prepared::{Prepared, remove},
};

/// Source: the figures that the project set itself.
const LIMIT: Limit = Limit::OfPeer { times: 1.02, plus: 1.0 };

type Digests = BTreeMap<String, Digest>;

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    prepared.steps().into_iter().map(|step| measure_step(prepared, step, count)).collect()
}

fn measure_step(prepared: &Prepared, step: &Step, count: usize) -> Result<Figure, BenchError> {
    let (_scratch, home) = prepared.scratch()?;
    prepared.lay_out(step, &home)?;
    let compiled = pairs(
        count,
        || {
            let (outputs, cost) = through_kdistro(prepared, step, &home)?;
            same(step, &outputs, prepared)?;
            Ok(cost)
        },
        || {
            let (outputs, cost) = bare(step, &home)?;
            same(step, &outputs, prepared)?;
            Ok(cost)
        },
    )?;
    let name = format!("build {}, CPU", step.name);
    Ok(Figure::of_pairs((name, "go build, bare"), "s", &compiled.cpu(), Some(LIMIT)))
}

/// Builds the step as a cut does: container, checks of the programs, and taking them into the content store.
fn through_kdistro(
    prepared: &Prepared,
    step: &Step,
    home: &Home,
) -> Result<(Digests, Cost), BenchError> {
    for folder in [home.content(), home.steps()] {
        remove(&folder)?;
    }
    let builder = Builder {
        plan: &prepared.plan,
        home,
        content: &ContentStore::new(home.content()),
        reporter: &Reporter::new(false, true),
        jobs: 1,
        host: BUILD_PLATFORM,
    };
    let (records, cost) = cost_of(|| builder.build(&[step]).map_err(doing("build")))?;
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
