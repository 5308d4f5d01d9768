//! Pushes an image with one layer of 52 MB to a registry, and with crane; then once more, where it is there. Without
//! TLS, and with it and a password, the same for both.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_border::{Content, OciLayouts, Registry, RegistryError};
use kdistro_formats::oci::{CONFIG, Descriptor, LAYER_GZIP, Manifest};
use kdistro_testbed::{PASSWORD, Server, Testbed, USER};
use kdistro_verify::hash;
use serde_json::json;

use crate::{
    error::{BenchError, at, doing},
    figures::{Figure, Limit},
    measure::{Cost, Pair, Pairs, cost_of, in_turn, number},
    peer,
    prepared::Prepared,
    roles::{self, Push, REPOSITORY, TAG},
    servers::{Wire, start},
};

/// The layer.
const BYTES: u64 = 52 << 20;

/// The limits: seconds of user time, and of wall time where the image is there.
const USER_TIME: f64 = 0.2;
const AGAIN: f64 = 0.2;

const PEER: &str = "crane push";
/// Where its version is pinned, and what it is built from.
const MODULE: &str = "infra/border/tests/servers";
const CRANE: &str = "github.com/google/go-containerregistry/cmd/crane";

/// One push, and the same once more.
#[derive(Clone, Copy)]
struct Run {
    first: Cost,
    again: Cost,
}

/// A registry, the image that is pushed to it, and who pushes.
struct Pushing {
    bed: Testbed,
    server: Server,
    crane: PathBuf,
    layouts: PathBuf,
    /// The folder of the credentials, as docker has it.
    docker: PathBuf,
}

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let (scratch, _) = prepared.scratch()?;
    let (layouts, docker) = (scratch.path().join("layouts"), scratch.path().join("docker"));
    make_image(&layouts, &scratch.path().join("layer"))?;
    fs::create_dir(&docker).map_err(at(&docker))?;
    let crane = crane(prepared)?;
    let mut figures = Vec::new();
    for (server, what) in [(Server::PlainRegistry, "http"), (Server::Registry, "TLS, password")] {
        let (crane, layouts, docker) = (crane.clone(), layouts.clone(), docker.clone());
        let pushing = Pushing { bed: start(&[server])?, server, crane, layouts, docker };
        pushing.log_in()?;
        figures.extend(pushing.measure(what, count)?);
        if server == Server::PlainRegistry {
            figures.push(pushing.count()?);
        }
    }
    Ok(figures)
}

impl Pushing {
    fn measure(&self, what: &str, count: usize) -> Result<Vec<Figure>, BenchError> {
        // What every later push finds warm.
        twice(|| self.through_crane("warm"))?;
        let (mut ours, mut theirs) = (names("ours"), names("crane"));
        let runs = in_turn(
            count,
            || {
                let name = ours.next().unwrap_or_default();
                let run = twice(|| self.through_kdistro(&self.url(), &name))?;
                self.same(&name)?;
                Ok(run)
            },
            || {
                let name = theirs.next().unwrap_or_default();
                twice(|| self.through_crane(&name))
            },
        )?;
        let (first, again) = (Pairs::of(&runs, |run| run.first), Pairs::of(&runs, |run| run.again));
        let figure = |clock: &str, pairs: &[Pair], most: Option<f64>| {
            let name = format!("push {} MB, {what}, {clock}", BYTES >> 20);
            Figure::of_pairs((name, PEER), "s", pairs, most.map(Limit::AtMost))
        };
        Ok(vec![
            figure("user time", &first.user(), Some(USER_TIME)),
            figure("CPU", &first.cpu(), None),
            figure("wall", &first.wall(), None),
            figure("again, wall", &again.wall(), Some(AGAIN)),
            figure("again, CPU", &again.cpu(), None),
        ])
    }

    /// Counts what a second push of the image sends.
    fn count(&self) -> Result<Figure, BenchError> {
        let wire = Wire::to(&self.url(), |_| false)?;
        let push = || {
            self.through_kdistro(&wire.url(), "counted")?;
            let requests = wire.requests();
            Ok(requests.iter().filter(|request| is_upload(request)).count() as u64)
        };
        let (first, again) = (push()?, push()?);
        // Layer and configuration.
        if first < 2 {
            let what = format!("{first} requests sent the blobs of an image");
            return Err(BenchError::Unexpected(what));
        }
        let name = "push again, requests that send blobs";
        Ok(Figure::alone(name, "requests", &[number(again)], 0.0))
    }

    fn through_kdistro(&self, url: &str, name: &str) -> Result<Cost, BenchError> {
        let order = Push {
            layouts: self.layouts.clone(),
            registry: url.to_owned(),
            authority: self.has_tls().then(|| self.bed.ca()),
            credentials: self.docker.join("config.json"),
            repository: format!("bench/{name}"),
        };
        let path = self.docker.join("order.json");
        let bytes = serde_json::to_vec(&order).map_err(doing("write an order"))?;
        fs::write(&path, bytes).map_err(at(&path))?;
        Ok(cost_of(|| peer::run(peer::again(roles::PUSH).arg(path)))?.1)
    }

    fn through_crane(&self, name: &str) -> Result<Cost, BenchError> {
        let mut push = self.crane("push");
        push.arg(self.layouts.join(REPOSITORY)).arg(self.reference(name));
        Ok(cost_of(|| peer::run(&mut push))?.1)
    }

    /// Refuses a push of something else than what crane would have pushed.
    fn same(&self, name: &str) -> Result<(), BenchError> {
        let digest = |name: &str| {
            let printed = peer::run(self.crane("digest").arg(self.reference(name)))?;
            Ok(String::from_utf8_lossy(&printed).trim().to_owned())
        };
        let (ours, peer) = (digest(name)?, digest("warm")?);
        if ours == peer {
            return Ok(());
        }
        Err(BenchError::Different { what: "pushed images differ".to_owned(), ours, peer })
    }

    fn crane(&self, command: &str) -> Command {
        let mut crane = peer::program(&self.crane);
        crane.arg(command).env("DOCKER_CONFIG", &self.docker);
        if self.has_tls() {
            crane.env("SSL_CERT_FILE", self.bed.ca());
        }
        crane
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/bench/{name}:{TAG}", self.host())
    }

    fn has_tls(&self) -> bool {
        self.server == Server::Registry
    }

    fn host(&self) -> &str {
        if self.has_tls() { self.bed.registry() } else { self.bed.plain_registry() }
    }

    fn url(&self) -> String {
        let scheme = if self.has_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    /// Writes the password down where both look for it.
    fn log_in(&self) -> Result<(), BenchError> {
        let user = json!({"username": USER, "password": PASSWORD});
        let hosts = if self.has_tls() { json!({self.host(): user}) } else { json!({}) };
        let path = self.docker.join("config.json");
        fs::write(&path, json!({"auths": hosts}).to_string()).map_err(at(&path))
    }
}

fn twice(push: impl Fn() -> Result<Cost, BenchError>) -> Result<Run, BenchError> {
    Ok(Run { first: push()?, again: push()? })
}

/// A repository for each push: in one that has the blobs there is nothing to send.
fn names(who: &str) -> impl Iterator<Item = String> {
    (0_usize..).map(move |number| format!("{who}-{number}"))
}

/// True for a request that begins, continues or ends the upload of a blob.
fn is_upload(request: &str) -> bool {
    let is_sent = ["POST ", "PUT ", "PATCH "].iter().any(|method| request.starts_with(method));
    is_sent && request.contains("/blobs/uploads/")
}

/// Makes an image of one layer that nothing compresses.
fn make_image(layouts: &Path, layer: &Path) -> Result<(), BenchError> {
    let fill = || {
        let mut source = File::open("/dev/urandom")?.take(BYTES);
        io::copy(&mut source, &mut File::create(layer)?)?;
        hash::sha256_of(File::open(layer)?)
    };
    let (digest, size) = fill().map_err(at(layer))?;
    let content = Content::File { path: layer, digest, size };
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    });
    let config = config.to_string().into_bytes();
    let manifest = Manifest {
        config: Descriptor::new(CONFIG, hash::sha256(&config), config.len() as u64),
        layers: vec![Descriptor::new(LAYER_GZIP, digest, size)],
        artifact_type: None,
        subject: None,
        annotations: std::collections::BTreeMap::new(),
    };
    let manifest = manifest.to_vec().map_err(doing("write a manifest"))?;
    let registry = OciLayouts::new(layouts);
    let put = || {
        registry.push_blob(REPOSITORY, content)?;
        registry.push_blob(REPOSITORY, Content::Bytes(&config))?;
        registry.push_manifest(REPOSITORY, &manifest)?;
        registry.tag(REPOSITORY, TAG, &hash::sha256(&manifest))
    };
    put().map(drop).map_err(|error: RegistryError| doing("make an image")(error))
}

/// Builds crane in the home, unless it is there in the version that is pinned.
fn crane(prepared: &Prepared) -> Result<PathBuf, BenchError> {
    let module = prepared.repository.join(MODULE);
    let sums = module.join("go.sum");
    let pinned = hash::sha256(&fs::read(&sums).map_err(at(&sums))?).hex();
    let peers = prepared.home.folder("peers").map_err(doing("make a folder for peers"))?;
    let program = peers.join(format!("crane-{}", pinned.get(..16).unwrap_or(&pinned)));
    if !program.is_file() {
        let mut build = peer::program("go");
        build.args(["build", "-mod=readonly", "-trimpath", "-o"]).arg(&program).arg(CRANE);
        peer::run_visibly(build.current_dir(&module).env("CGO_ENABLED", "0"))?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_sends_a_blob_is_counted() {
        for (request, expected) in [
            ("POST /v2/bench/x/blobs/uploads/", true),
            ("PUT /v2/bench/x/blobs/uploads/7?digest=sha256:0", true),
            ("HEAD /v2/bench/x/blobs/sha256:0", false),
            ("GET /v2/bench/x/blobs/uploads/7", false),
            ("PUT /v2/bench/x/manifests/v1", false),
        ] {
            assert_eq!(is_upload(request), expected, "{request}");
        }
    }
}
