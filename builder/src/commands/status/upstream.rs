//! How far a channel is behind its upstreams.

use std::{collections::BTreeMap, fmt};

use kdistro_formats::Tag;
use semver::Version;
use serde::Serialize;

use super::super::output::count;
use crate::{
    config::{Workspace, channel::Channel, project::version},
    context::Context,
};

/// How far one component is behind; pre-releases do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Behind {
    /// Newer tags of the same minor version, ascending.
    pub(super) newer: Vec<Tag>,
    /// The newest tag of all, where its minor version is newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) newest_minor: Option<Tag>,
    /// Why upstream could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) silent: Option<String>,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.silent {
            return write!(f, "could not be asked: {why}");
        }
        match (self.newer.last(), &self.newest_minor) {
            (None, None) => write!(f, "nothing newer"),
            (Some(newest), None) => write!(f, "{newest} is newer ({})", tags(self.newer.len())),
            (None, Some(minor)) => write!(f, "newest of its minor; newest of all is {minor}"),
            (Some(newest), Some(minor)) => {
                let tags = tags(self.newer.len());
                write!(f, "{newest} is newer ({tags}); newest of all is {minor}")
            }
        }
    }
}

fn tags(number: usize) -> String {
    count(number, "tag")
}

/// What upstreams said, each asked once a run.
#[derive(Default)]
pub(super) struct Upstreams(BTreeMap<String, Result<Vec<Tag>, String>>);

impl Upstreams {
    /// Says how far each component of a channel is behind, by project.
    pub(super) fn behind(
        &mut self,
        context: &Context,
        workspace: &Workspace,
        channel: &Channel,
    ) -> BTreeMap<String, Behind> {
        let mut found = BTreeMap::new();
        for component in &channel.components {
            let Some(project) = workspace.projects.get(&component.project) else { continue };
            let url = &project.repository;
            let tags = self.0.entry(url.clone()).or_insert_with(|| {
                context.reporter.progress(format!("asking {url} for tags"));
                let tags = kdistro_source::checkout::remote_tags(url, &context.environment);
                tags.map_err(|error| error.to_string().replace('\n', " "))
            });
            let behind = match tags {
                Ok(tags) => behind(&component.tag, tags),
                Err(why) => Behind { silent: Some(why.clone()), ..Behind::default() },
            };
            found.insert(component.project.to_string(), behind);
        }
        found
    }
}

/// Compares a tag with all tags of its upstream.
fn behind(shipped: &Tag, tags: &[Tag]) -> Behind {
    let Some(now) = version(shipped) else { return Behind::default() };
    // `v` or no `v`: a project keeps to one of them, and other tags are of other things.
    let prefix = |tag: &Tag| tag.as_str().starts_with('v');
    let same_kind = tags.iter().filter(|tag| prefix(tag) == prefix(shipped));
    let versions = same_kind.filter_map(|tag| Some((version(tag)?, tag)));
    let mut newer: Vec<_> =
        versions.filter(|(version, _)| version.pre.is_empty() && *version > now).collect();
    newer.sort();
    let minor = |version: &Version| (version.major, version.minor);
    let newest = newer.last().filter(|(version, _)| minor(version) != minor(&now));
    let newest_minor = newest.map(|(_, tag)| (*tag).clone());
    let same = newer.iter().filter(|(version, _)| minor(version) == minor(&now));
    Behind { newer: same.map(|(_, tag)| (*tag).clone()).collect(), newest_minor, silent: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_tags_of_the_minor_and_the_newest_of_all_are_found() {
        let tag = |text: &str| text.parse::<Tag>().unwrap();
        let tags: Vec<_> = [
            "v1.36.10",
            "v1.36.2",
            "v1.36.9",
            "v1.37.0-rc.0",
            "v1.35.9",
            "1.36.11",
            "v2",
            "chart-1.36.12",
        ]
        .map(tag)
        .to_vec();
        let found = behind(&tag("v1.36.2"), &tags);
        assert_eq!(found.newer, [tag("v1.36.9"), tag("v1.36.10")]);
        assert_eq!(found.newest_minor, None);
        assert_eq!(found.to_string(), "v1.36.10 is newer (2 tags)");
        let found = behind(&tag("v1.35.9"), &tags);
        assert_eq!((found.newer.len(), found.newest_minor), (0, Some(tag("v1.36.10"))));
        assert_eq!(behind(&tag("v1.36.10"), &tags).to_string(), "nothing newer");
    }
}
