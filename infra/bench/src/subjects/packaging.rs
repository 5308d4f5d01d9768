//! Makes the images, and writes the SBOMs, of every component that was built in the home: anew, while what they are made
//! of is kept; and the images also from nothing but content. Every run must make the same.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kdistro::{home::Home, plan::BUILD_PLATFORM};
use kdistro_formats::{
    canonical,
    plan::{Content, Plan, PlannedAsset},
};
use serde_json::Value;

use crate::{
    error::{BenchError, at, doing},
    figures::Figure,
    measure::{Cost, cost_of, megabytes},
    peer,
    prepared::{Prepared, remove},
    roles::{self, Packed},
};

/// The limits: seconds and megabytes for the images, seconds for the SBOMs.
const IMAGES: f64 = 3.0;
const MEMORY: f64 = 200.0;
const SBOMS: f64 = 2.0;

/// What was fetched and built need not be there twice.
const SHARED: [&str; 2] = ["content/sha256", "steps"];

pub(super) fn images(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let mut plan = prepared.built(&[BUILD_PLATFORM])?;
    for component in &mut plan.components {
        component.assets.retain(|asset| matches!(asset.content, Content::Image(_)));
    }
    let packaging = Packaging::new(prepared, &plan)?;
    let cold = packaging.measure(count, || remove(&packaging.home.assemblies()))?;
    let warm = packaging.measure(count, || {
        // Their records say what they consist of; those of layers and licence texts stay.
        packaging.forget(|record| record.get("image").is_some())
    })?;
    same(&cold.made, &warm.made)?;
    let what = format!("{} images of {}", assets(&plan).count(), names(&plan));
    Ok([
        warm.figures(&format!("{what}, layers kept"), Some(IMAGES), Some(MEMORY)),
        cold.figures(&format!("{what}, from content"), None, Some(MEMORY)),
    ]
    .concat())
}

pub(super) fn sboms(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let plan = prepared.built(&[BUILD_PLATFORM])?;
    let is_sbom = |asset: &&PlannedAsset| matches!(asset.content, Content::Sbom { .. });
    let paths: BTreeSet<_> = assets(&plan).filter(is_sbom).map(|asset| &asset.path).collect();
    let packaging = Packaging::new(prepared, &plan)?;
    packaging.bring(&prepared.home.assemblies())?;
    // Everything else is made here where the home has not made it, and kept.
    let (made, _) = packaging.run()?;
    let digests = made.assets.iter().filter(|(path, _)| paths.contains(path));
    let digests: BTreeSet<_> = digests.map(|(_, digest)| digest.to_string()).collect();
    let is_one = |record: &Value| {
        let digest = record.get("sha256").and_then(Value::as_str);
        digest.is_some_and(|digest| digests.contains(digest))
    };
    let measured = packaging.measure(count, || packaging.forget(is_one))?;
    same(std::slice::from_ref(&made), &measured.made)?;
    let what = format!("{} SBOMs and that of all, of {}", paths.len(), names(&plan));
    Ok(measured.figures(&what, Some(SBOMS), None).to_vec())
}

fn names(plan: &Plan) -> String {
    plan.components.iter().map(|component| component.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn assets(plan: &Plan) -> impl Iterator<Item = &PlannedAsset> {
    plan.components.iter().flat_map(|component| &component.assets)
}

/// A plan that is packaged again and again, in a home of its own.
struct Packaging {
    plan: PathBuf,
    home: Home,
    _scratch: tempfile::TempDir,
}

/// What runs took and made.
#[derive(Default)]
struct Measured {
    walls: Vec<f64>,
    cpus: Vec<f64>,
    megabytes: Vec<f64>,
    made: Vec<Packed>,
}

impl Packaging {
    fn new(prepared: &Prepared, plan: &Plan) -> Result<Self, BenchError> {
        let (scratch, home) = prepared.scratch()?;
        prepared.share(&SHARED, &home)?;
        let path = scratch.path().join("plan.json");
        let bytes = canonical::to_vec(plan).map_err(doing("write the plan"))?;
        fs::write(&path, bytes).map_err(at(&path))?;
        Ok(Self { plan: path, home, _scratch: scratch })
    }

    /// Copies the records of what another home has made: archives take long, and are not what is measured.
    fn bring(&self, from: &Path) -> Result<(), BenchError> {
        let into = self.home.assemblies();
        fs::create_dir_all(&into).map_err(at(&into))?;
        for entry in fs::read_dir(from).into_iter().flatten() {
            let path = entry.map_err(at(from))?.path();
            let copy = into.join(path.file_name().unwrap_or_default());
            fs::copy(&path, copy).map_err(at(&path))?;
        }
        Ok(())
    }

    fn run(&self) -> Result<(Packed, Cost), BenchError> {
        let mut package = peer::again(roles::PACKAGE);
        package.arg(&self.plan).arg(self.home.path());
        let (printed, cost) = cost_of(|| peer::run(&mut package))?;
        let packed = serde_json::from_slice(&printed).map_err(doing("read what was made"))?;
        Ok((packed, cost))
    }

    /// Packages `count` times, each time after `forget` has removed what is to be made anew.
    fn measure(
        &self,
        count: usize,
        forget: impl Fn() -> Result<(), BenchError>,
    ) -> Result<Measured, BenchError> {
        let mut measured = Measured::default();
        for _ in 0..count {
            forget()?;
            let (made, cost) = self.run()?;
            measured.walls.push(cost.wall);
            measured.cpus.push(cost.cpu);
            measured.megabytes.push(megabytes(made.peak_bytes));
            measured.made.push(made);
        }
        Ok(measured)
    }

    /// Removes the records of what is to be made anew; there must be some, or nothing would be measured.
    fn forget(&self, is_one: impl Fn(&Value) -> bool) -> Result<(), BenchError> {
        let folder = self.home.assemblies();
        let mut forgotten = 0;
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            let bytes = fs::read(&path).map_err(at(&path))?;
            let record = serde_json::from_slice(&bytes).map_err(doing("read a record"))?;
            if is_one(&record) {
                fs::remove_file(&path).map_err(at(&path))?;
                forgotten += 1;
            }
        }
        if forgotten > 0 {
            return Ok(());
        }
        Err(BenchError::Unexpected("there is nothing to be made anew".to_owned()))
    }
}

impl Measured {
    fn figures(&self, what: &str, seconds: Option<f64>, megabytes: Option<f64>) -> [Figure; 3] {
        [
            Figure::alone(format!("{what}, wall"), "s", &self.walls, seconds),
            Figure::alone(format!("{what}, CPU"), "s", &self.cpus, None),
            Figure::alone(format!("{what}, most memory"), "MB", &self.megabytes, megabytes),
        ]
    }
}

/// Refuses runs that made different things.
fn same(some: &[Packed], others: &[Packed]) -> Result<(), BenchError> {
    let Some(first) = some.first() else { return Ok(()) };
    for other in some.iter().chain(others) {
        for (path, ours) in &first.assets {
            let theirs = other.assets.get(path);
            if theirs != Some(ours) {
                let (ours, peer) = (ours.to_string(), format!("{theirs:?}"));
                return Err(BenchError::Different { what: path.clone(), ours, peer });
            }
        }
        if first.sbom != other.sbom {
            let (ours, peer) = (format!("{:?}", first.sbom), format!("{:?}", other.sbom));
            return Err(BenchError::Different {
                what: "the release's SBOM".to_owned(),
                ours,
                peer,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kdistro_verify::hash;

    use super::*;

    fn packed(image: &[u8], sbom: &[u8]) -> Packed {
        let assets = BTreeMap::from([("etcd-io/etcd".to_owned(), hash::sha256(image))]);
        Packed { assets, sbom: Some(hash::sha256(sbom)), peak_bytes: 1 }
    }

    #[test]
    fn runs_that_make_other_images_or_sboms_are_refused() {
        let first = [packed(b"a", b"a")];
        same(&first, &[packed(b"a", b"a")]).unwrap();
        let image = same(&first, &[packed(b"a", b"a"), packed(b"b", b"a")]).unwrap_err();
        assert!(image.to_string().starts_with("etcd-io/etcd: sha256:ca978112"), "{image}");
        let sbom = same(&[packed(b"a", b"a"), packed(b"a", b"b")], &first).unwrap_err();
        assert!(sbom.to_string().starts_with("the release's SBOM"), "{sbom}");
    }

    #[test]
    fn only_what_is_to_be_made_anew_is_forgotten() {
        let scratch = tempfile::tempdir().unwrap();
        let home = Home::open(scratch.path()).unwrap();
        let folder = home.folder("assemblies").unwrap();
        fs::write(folder.join("layer.json"), r#"{"diffId": "x"}"#).unwrap();
        fs::write(folder.join("texts.json"), "[]").unwrap();
        fs::write(folder.join("image.json"), r#"{"sha256": "x", "image": {}}"#).unwrap();
        let packaging = Packaging { plan: PathBuf::new(), home, _scratch: scratch };
        let forget = || packaging.forget(|record| record.get("image").is_some());
        forget().unwrap();
        let mut left = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(left.by_ref().all(|name| name != "image.json"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        forget().unwrap_err();
    }
}
