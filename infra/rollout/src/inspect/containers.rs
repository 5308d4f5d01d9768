//! The images of the containers that run on a node, as containerd says by its own client.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Duration,
};

use kdistro_formats::Digest;

use super::InspectError;
use crate::limited::{self, Limits};

/// Where Kubernetes has its containers.
///
/// Source: containerd, `docs/cri/architecture.md`.
const NAMESPACE: &str = "k8s.io";
/// What a call may take, and how much it may say.
const LIMITS: Limits = Limits { time: Duration::from_secs(30), bytes: 8 << 20, is_part: false };

/// An image that containers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The names that it has, sorted.
    pub names: Vec<String>,
    /// The digest of its index or manifest.
    pub digest: Digest,
    /// How many containers run it.
    pub containers: usize,
}

/// Lists the images that run; `ctr` makes the client, which knows where containerd listens.
pub fn images(ctr: &dyn Fn() -> Result<Command, InspectError>) -> Result<Vec<Image>, InspectError> {
    let say = |arguments: &[&str]| {
        let mut command = ctr()?;
        command.args(["--namespace", NAMESPACE]).args(arguments);
        let ended = limited::run(&mut command, b"", LIMITS)?;
        if ended.status.success() && ended.out.is_whole {
            return Ok(String::from_utf8_lossy(&ended.out.bytes).into_owned());
        }
        Err(InspectError::Containerd { what: arguments.join(" "), said: ended.text() })
    };
    let (tasks, containers) = (say(&["tasks", "list"])?, say(&["containers", "list"])?);
    used(&tasks, &containers, &say(&["images", "list"])?)
}

/// Reads the three tables. Source: containerd 1.6, `cmd/ctr/commands/{tasks,containers,images}`.
fn used(tasks: &str, containers: &str, images: &str) -> Result<Vec<Image>, InspectError> {
    let running: BTreeSet<&str> = rows(tasks)
        .filter_map(|row| (row.get(2) == Some(&"RUNNING")).then(|| row.first().copied())?)
        .collect();
    let mut digests = BTreeMap::new();
    for row in rows(images) {
        let digest = row.get(2).and_then(|digest| digest.parse::<Digest>().ok());
        digests.extend(row.first().copied().zip(digest));
    }
    let mut counted: BTreeMap<Digest, usize> = BTreeMap::new();
    for row in rows(containers).filter(|row| row.first().is_some_and(|id| running.contains(id))) {
        let name = row.get(1).copied().unwrap_or_default();
        let digest = digests.get(name).ok_or_else(|| InspectError::Gone(name.to_owned()))?;
        *counted.entry(*digest).or_default() += 1;
    }
    let image = |(digest, containers)| {
        let names = digests.iter().filter(|(_, other)| **other == digest);
        let names = names.map(|(name, _)| (*name).to_owned()).collect();
        Image { names, digest, containers }
    };
    Ok(counted.into_iter().map(image).collect())
}

/// The rows of a table below its head, in words.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().skip(1).map(|row| row.split_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASKS: &str =
        "TASK    PID     STATUS\na1    12    RUNNING\nb2    13    RUNNING\nc3    14    STOPPED\n";
    const CONTAINERS: &str = "CONTAINER    IMAGE    RUNTIME\na1    r/pause:1    io.containerd.runc.v2\n\
                              b2    r/pause:1    io.containerd.runc.v2\nc3    r/other:1    io.containerd.runc.v2\n";

    fn images_list() -> String {
        let digest = Digest::from_bytes([1; 32]);
        format!(
            "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
             r/pause:1 application/vnd.oci.image.manifest.v1+json {digest} 330.6 KiB linux/amd64 -\n\
             sha256:0b application/vnd.oci.image.manifest.v1+json {digest} 330.6 KiB linux/amd64 -\n"
        )
    }

    #[test]
    fn images_of_running_containers_are_counted_under_all_their_names() {
        let expected = Image {
            names: vec!["r/pause:1".to_owned(), "sha256:0b".to_owned()],
            digest: Digest::from_bytes([1; 32]),
            containers: 2,
        };
        assert_eq!(used(TASKS, CONTAINERS, &images_list()).unwrap(), [expected]);
    }

    #[test]
    fn a_container_whose_image_is_gone_is_told() {
        let tasks = TASKS.replace("STOPPED", "RUNNING");
        let error = used(&tasks, CONTAINERS, &images_list()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a container runs image `r/other:1`, which containerd does not have any more"
        );
    }
}
