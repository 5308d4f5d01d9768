//! What really runs on a node, compared with what a release is: a strange byte is an alarm.
//!
//! Judged is what is called as a program or an image of the release. Whoever is root on the node can hide from this; what is
//! found is what was replaced, left over, damaged, or started by mistake.

mod alarms;
mod containers;
mod content;
mod look;
pub(crate) mod processes;
mod programs;
mod report;

use std::{io, path::Path};

use kdistro_devcluster::DevclusterError;
use kdistro_formats::{Digest, Platform, ReleaseName, layout, oci::OciError};
use kdistro_verify::{
    check::{Outcome, TrustSource},
    store::Reader,
};

use self::look::Look;
pub use self::{
    alarms::{Becomes, Covered},
    containers::{Containers, Image, Imageless, containers},
    processes::{Process, Unhashed, processes},
    programs::Programs,
    report::{Finding, Report, Subject, Verdict},
};
use crate::{
    decide::{Proven, Refused, prove},
    limited::LimitedError,
};

/// A node that could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The release cannot be believed, or not be read.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A file of the store that cannot be read.
    #[error("cannot read `{file}` of the store")]
    Unread {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the store that is not what the release says.
    #[error("`{name}` of the store is {found}, but the release has {expected}")]
    Differs {
        /// The file.
        name: String,
        /// What it is.
        found: Digest,
        /// What it should be.
        expected: Digest,
    },
    /// A file of the store that is longer than the release says.
    #[error("`{name}` of the store is longer than the {size} bytes that the release has")]
    Longer {
        /// The file.
        name: String,
        /// How long it should be.
        size: u64,
    },
    /// An image of the store that is none.
    #[error("`{name}` of the store is no image")]
    Image {
        /// The blob.
        name: String,
        /// What is wrong.
        source: OciError,
    },
    /// Something that is not there for this platform.
    #[error("`{name}` of the release has nothing for {platform}")]
    Lacks {
        /// What.
        name: String,
        /// The platform.
        platform: String,
    },
    /// Processes cannot be listed.
    #[error("cannot list processes")]
    Processes(#[source] io::Error),
    /// A program did not come to its end.
    #[error(transparent)]
    Program(#[from] LimitedError),
    /// containerd's client failed.
    #[error("`ctr {what}` failed: {said}")]
    Containerd {
        /// What it was asked.
        what: String,
        /// What it said.
        said: String,
    },
    /// The cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] DevclusterError),
}

impl InspectError {
    /// Tells evidence, [`Outcome::Differs`], from what could not be told, [`Outcome::Unknown`].
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(refused) => refused.outcome(),
            Self::Differs { .. } | Self::Longer { .. } => Outcome::Differs,
            _ => Outcome::Unknown,
        }
    }
}

/// Where releases are, whom to believe, and for which platform.
pub struct Inspector<'a> {
    /// The store.
    pub reader: &'a dyn Reader,
    /// Whom to believe.
    pub source: &'a TrustSource,
    /// The platform of the node.
    pub platform: Platform,
    /// What is not of the release and known to the subscriber.
    pub known: &'a [Digest],
}

/// What runs on a node.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// The process below which all others are judged; none for the whole machine.
    pub below: Option<u32>,
    /// What runs in containers, or why that is not known; none where there are no containers.
    pub containers: Option<Result<&'a Containers, &'a str>>,
}

impl Inspector<'_> {
    /// Compares what runs with a release, which is proven first: the one with this `digest` of its manifest, where it is
    /// given.
    pub fn inspect(
        &self,
        (release, digest): (&ReleaseName, Option<Digest>),
        running: Running<'_>,
    ) -> Result<Report, InspectError> {
        let (Proven { name, digest, .. }, programs) = self.programs(release, digest)?;
        let is_asked = |path: &Path| {
            let start = path.to_str().filter(|name| !name.contains('/'));
            programs.named(path).is_some() || start.is_some_and(|it| programs.begin_with(it))
        };
        let (processes, others) =
            processes(running.below, &is_asked).map_err(InspectError::Processes)?;
        let mut look = Look::at(self, name.clone(), programs);
        let mut findings = Vec::new();
        for process in processes {
            let verdict = look.process(&process);
            findings.push(Finding { subject: Subject::of_process(process), verdict });
        }
        match running.containers {
            Some(Ok(containers)) => findings.extend(contained(containers, &mut look)),
            Some(Err(why)) => {
                let verdict = Verdict::Unread(why.to_owned());
                findings.push(Finding { subject: Subject::Containers, verdict });
            }
            None => {}
        }
        Ok(Report { release: name, manifest: digest, findings, others })
    }

    /// Proves a release, and says which programs it has.
    fn programs(
        &self,
        release: &ReleaseName,
        digest: Option<Digest>,
    ) -> Result<(Proven, Programs<'_>), InspectError> {
        let file = layout::manifest(release);
        let proven = prove(self.reader, self.source, (&file, digest))?;
        let plan = proven.plan(self.reader)?;
        let programs = Programs::of(&proven, &plan, (self.reader, self.platform.clone()));
        Ok((proven, programs))
    }
}

/// What is to be said of containers.
fn contained(containers: &Containers, look: &mut Look<'_>) -> impl Iterator<Item = Finding> {
    let images = containers.images.iter().filter_map(|image| {
        Some(Finding { subject: Subject::of_image(image), verdict: look.image(image)? })
    });
    images.chain(containers.imageless.iter().map(Finding::of_imageless))
}

/// The last part of an image's repository: its name without registry, folders, tag and digest.
fn image_name(reference: &str) -> &str {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    last.split(['@', ':']).next().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_without_registry_tag_and_digest() {
        for reference in [
            "etcd",
            "kdistro.local/etcd:1-20-1",
            "localhost:5000/a/etcd:v3@sha256:00",
            "registry.example/etcd@sha256:00",
        ] {
            assert_eq!(image_name(reference), "etcd", "{reference}");
        }
    }
}
