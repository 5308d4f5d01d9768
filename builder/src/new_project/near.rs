//! Tags that may have been meant by one that does not exist.

use kdistro_formats::Tag;
use semver::Version;

use crate::config::project::version;

/// How many tags before and after the wanted one are named.
const AROUND: usize = 2;

/// Picks tags near the wanted one, ascending by version: those around it, and the newest release of all. Names that
/// are no versions come only where there is no other.
pub(super) fn near(wanted: &Tag, tags: &[Tag]) -> Vec<Tag> {
    let mut versions: Vec<(Version, &Tag)> =
        tags.iter().filter_map(|tag| Some((version(tag)?, tag))).collect();
    versions.sort();
    let Some(sought) = version(wanted).filter(|_| !versions.is_empty()) else {
        return tags.iter().rev().take(2 * AROUND).rev().cloned().collect();
    };
    let after = versions.partition_point(|(version, _)| *version < sought);
    let from = after.saturating_sub(AROUND);
    let mut found: Vec<Tag> = versions
        .iter()
        .skip(from)
        .take(after - from + AROUND)
        .map(|(_, tag)| (*tag).clone())
        .collect();
    let newest = versions.iter().rev().find(|(version, _)| version.pre.is_empty());
    if let Some((_, newest)) = newest.filter(|(_, newest)| !found.contains(newest)) {
        found.push((*newest).clone());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(wanted: &str, tags: &[&str]) -> Vec<String> {
        let tags: Vec<Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        near(&wanted.parse().unwrap(), &tags).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tags_around_the_wanted_one_and_the_newest_are_named() {
        let tags = [
            "v1.10.0",
            "v1.2.0",
            "v1.2.1",
            "v1.2.10",
            "v1.2.9",
            "v2.0.0-rc.1",
            "v1.0.0",
            "nightly",
        ];
        assert_eq!(found("v1.2.8", &tags), ["v1.2.0", "v1.2.1", "v1.2.9", "v1.2.10", "v1.10.0"]);
        assert_eq!(found("v0.9.0", &tags), ["v1.0.0", "v1.2.0", "v1.10.0"]);
        assert_eq!(found("v3.0.0", &tags), ["v1.10.0", "v2.0.0-rc.1"]);
        // Without the letter: the same version is the nearest of all.
        assert!(found("1.2.1", &tags).contains(&"v1.2.1".to_owned()));
        assert_eq!(found("v1.0.0", &["a", "b"]), ["a", "b"]);
        assert!(found("v1.0.0", &[]).is_empty());
    }
}
