//! The images of the containers that run on a node, as containerd says by its own client.

mod own;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Duration,
};

use kdistro_formats::Digest;

use self::own::Own;
use super::InspectError;
use crate::limited::{self, Limits};

/// Where Kubernetes has its containers.
///
/// Source: containerd, `docs/cri/architecture.md`.
const NAMESPACE: &str = "k8s.io";
/// What the client says of a container that was begun without an image.
const NO_IMAGE: &str = "-";
/// What the client says of a task that has ended. One that is halted goes on whenever somebody lets it.
const STOPPED: &str = "STOPPED";
/// What the client says of a container that has ended meanwhile.
const GONE: &str = "not found";
/// What a call may take, and how much it may say.
const LIMITS: Limits = Limits { time: Duration::from_secs(30), bytes: 8 << 20, is_part: false };

/// What runs in containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Containers {
    /// The images that they run, by digest.
    pub images: Vec<Image>,
    /// Those whose image is not known.
    pub imageless: Vec<Imageless>,
}

/// A container whose image is not known: it was begun without one, or its image was removed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imageless {
    /// Its id.
    pub id: String,
    /// What its image was called; none where it was begun without one.
    pub image: Option<String>,
}

/// An image that containers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The names that it has, and those by which its containers were begun, sorted.
    pub names: Vec<String>,
    /// The digest of its index or manifest.
    pub digest: Digest,
    /// How many containers run it.
    pub containers: usize,
}

/// Lists what runs in containers; `ctr` makes the client, which knows where containerd listens.
pub fn containers(
    ctr: &dyn Fn() -> Result<Command, InspectError>,
) -> Result<Containers, InspectError> {
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
    let mut owns = BTreeMap::new();
    for id in running(&tasks) {
        match say(&["containers", "info", id]) {
            Ok(info) => owns.insert(id, Own::read(&info)),
            Err(InspectError::Containerd { said, .. }) if said.contains(GONE) => None,
            Err(error) => return Err(error),
        };
    }
    Ok(used(&owns, &containers, &say(&["images", "list"])?))
}

/// The ids of what runs. Source: containerd 1.6, `cmd/ctr/commands/tasks`.
fn running(tasks: &str) -> BTreeSet<&str> {
    let tasks = rows(tasks).filter(|row| row.get(2) != Some(&STOPPED));
    tasks.filter_map(|row| row.first().copied()).collect()
}

/// Reads two tables, for the containers of which this is said. Source: containerd 1.6, `cmd/ctr/commands/{containers,images}`.
fn used(owns: &BTreeMap<&str, Own>, containers: &str, images: &str) -> Containers {
    let mut digests = BTreeMap::new();
    for row in rows(images) {
        let digest = row.get(2).and_then(|digest| digest.parse::<Digest>().ok());
        digests.extend(row.first().copied().zip(digest));
    }
    let (mut found, mut imageless) = (BTreeMap::<Digest, Image>::new(), Vec::new());
    for row in rows(containers) {
        let Some((id, own)) = row.first().and_then(|id| owns.get_key_value(id)) else { continue };
        let name = row.get(1).copied().filter(|name| *name != NO_IMAGE);
        let reference = match own {
            Own::Named => name,
            Own::Id(image) => Some(image.as_str()),
            Own::Unread => None,
        };
        let Some(digest) = reference.and_then(|reference| digests.get(reference)) else {
            let image = name.map(str::to_owned);
            imageless.push(Imageless { id: (*id).to_owned(), image });
            continue;
        };
        let image = found.entry(*digest).or_insert_with(|| image(*digest, &digests));
        image.containers += 1;
        image.names.extend(name.map(str::to_owned));
    }
    let mut images: Vec<_> = found.into_values().collect();
    for image in &mut images {
        image.names.sort();
        image.names.dedup();
    }
    Containers { images, imageless }
}

/// An image with its names, in no container so far.
fn image(digest: Digest, digests: &BTreeMap<&str, Digest>) -> Image {
    let names = digests.iter().filter(|(_, other)| **other == digest);
    let names = names.map(|(name, _)| (*name).to_owned()).collect();
    Image { names, digest, containers: 0 }
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

    /// What runs, none of which says more than its image's name.
    fn named(tasks: &str) -> BTreeMap<&str, Own> {
        running(tasks).into_iter().map(|id| (id, Own::Named)).collect()
    }

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
        let found = used(&named(TASKS), CONTAINERS, &images_list());
        assert_eq!(found, Containers { images: vec![expected], imageless: Vec::new() });
    }

    #[test]
    fn a_container_that_is_halted_runs_its_image_too() {
        for status in ["PAUSED", "PAUSING", "CREATED", "UNKNOWN"] {
            let tasks = TASKS.replacen("RUNNING", status, 1);
            assert_eq!(used(&named(&tasks), CONTAINERS, &images_list()).images[0].containers, 2);
        }
    }

    #[test]
    fn a_container_whose_image_is_not_known_is_told_beside_the_others() {
        let tasks = TASKS.replace("STOPPED", "RUNNING") + "d4    15    RUNNING\n";
        let containers = format!("{CONTAINERS}d4    -    io.containerd.runc.v2\n");
        let found = used(&named(&tasks), &containers, &images_list());
        assert_eq!(found.images[0].containers, 2);
        let imageless = |id: &str, image: Option<&str>| Imageless {
            id: id.to_owned(),
            image: image.map(str::to_owned),
        };
        assert_eq!(found.imageless, [imageless("c3", Some("r/other:1")), imageless("d4", None)]);
    }

    #[test]
    fn a_container_has_the_image_that_it_was_made_of_also_when_the_name_has_another_one() {
        let strange = Digest::from_bytes([2; 32]);
        let images = images_list() + &format!("sha256:0c type {strange} 1 B linux/amd64 -\n");
        let owns = BTreeMap::from([
            ("a1", Own::Id("sha256:0c".to_owned())),
            ("b2", Own::Id("sha256:0d".to_owned())),
            ("c3", Own::Unread),
        ]);
        let found = used(&owns, CONTAINERS, &images);
        let names = vec!["r/pause:1".to_owned(), "sha256:0c".to_owned()];
        assert_eq!(found.images, [Image { names, digest: strange, containers: 1 }]);
        let ids: Vec<_> = found.imageless.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["b2", "c3"]);
    }
}
