//! Which cluster has the fix of a CVE: read out of the verified manifests of the releases that run.
//!
//! A release has a fix when one of its patches says so, and lacks it when it has none and a later release of its channel has
//! one: upstream versions only go up. One without a patch may have the fix with the upstream version though, where an
//! earlier release had a patch, or may have had one: that cannot be told here, and is said.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{ChannelName, Digest};
use kdistro_verify::{
    check::{Outcome, TrustSource, chain},
    store::Reader,
};
use serde::Serialize;

use super::Fleet;
use crate::{
    decide::{Publication, Refused, VerifiedChannel},
    report::Reported,
};

/// Why nobody knows what a release fixes that was never offered.
const WITHHELD: &str = "it is withheld";

/// Whether a cluster has a fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fix {
    /// The release that it runs has a patch for it.
    Has,
    /// It does not.
    Lacks,
    /// It cannot be told: why.
    Unknown(String),
    /// It cannot be told, as what would tell it is not what was signed: why.
    Forged(String),
}

impl Fix {
    /// What is to be said where a channel cannot be read or believed.
    fn of(refused: &Refused) -> Self {
        let why = chain(refused);
        if refused.outcome() == Outcome::Differs { Self::Forged(why) } else { Self::Unknown(why) }
    }
}

/// Where releases are published.
pub struct Published<'a> {
    /// The store.
    pub reader: &'a dyn Reader,
    /// Whom to believe.
    pub source: &'a TrustSource,
    /// The environment that clusters take releases of.
    pub environment: &'a str,
}

/// What the releases of a channel fix, by number.
struct Channel {
    /// The digest of each release that the channel offers, or offered.
    digests: BTreeMap<u32, Digest>,
    /// What each that could be verified fixes; why that of the others is not known.
    fixes: BTreeMap<u32, Result<BTreeSet<String>, String>>,
}

impl Published<'_> {
    /// Says of each cluster whether it has the fix of this CVE.
    ///
    /// What is wrong with a channel is told of the clusters that follow it, and hides none of the others: a report may name
    /// any channel.
    pub fn mark(&self, fleet: &mut Fleet, cve: &str) {
        let mut channels: BTreeMap<ChannelName, Result<Channel, Fix>> = BTreeMap::new();
        for cluster in &mut fleet.clusters {
            let Some(runs) = &cluster.runs else {
                cluster.fix = Some(Fix::Unknown("it runs nothing yet".to_owned()));
                continue;
            };
            let name = &runs.release.channel;
            let channel = channels.entry(name.clone());
            let channel = channel.or_insert_with(|| self.channel(name).map_err(|it| Fix::of(&it)));
            cluster.fix = Some(match channel {
                Ok(channel) => channel.fix(runs, cve),
                Err(why) => why.clone(),
            });
        }
    }

    /// Verifies all releases that a channel offers, by their documents.
    fn channel(&self, channel: &ChannelName) -> Result<Channel, Refused> {
        let Self { reader, source, environment } = *self;
        let publication = Publication { reader, source, environment, channel };
        let looked = publication.look(None)?;
        let status = &looked.index.status;
        let offered = status.releases.iter().map(|it| (it.number, it.digest));
        let withheld = status.withheld.iter();
        let known = withheld.clone().filter_map(|it| Some((it.number, it.digest?)));
        let digests = offered.chain(known).collect();
        let withheld = withheld.map(|it| (it.number, Err(WITHHELD.to_owned())));
        let numbers = status.releases.iter().map(|it| it.number);
        let fixes = numbers.map(|number| (number, fixes(&publication, &looked, number)));
        Ok(Channel { digests, fixes: withheld.chain(fixes).collect() })
    }
}

fn fixes(
    publication: &Publication<'_>,
    looked: &VerifiedChannel,
    number: u32,
) -> Result<BTreeSet<String>, String> {
    let release = publication.release(looked, number, &[]);
    release.map(|release| release.fixes()).map_err(|error| chain(&error))
}

impl Channel {
    fn fix(&self, runs: &Reported, cve: &str) -> Fix {
        let Reported { release, digest, .. } = runs;
        let number = release.number;
        if *digest != self.digests.get(&number).copied() {
            return Fix::Unknown(format!("it runs another {release} than the channel has"));
        }
        match self.fixes.get(&number) {
            Some(Ok(fixes)) if fixes.contains(cve) => return Fix::Has,
            Some(Ok(_)) => {}
            Some(Err(why)) => return Fix::Unknown(why.clone()),
            None => return Fix::Unknown(format!("the channel has no {release}")),
        }
        let had = |(_, fixes): &(&u32, &Result<BTreeSet<String>, String>)| {
            fixes.as_ref().is_ok_and(|fixes| fixes.contains(cve))
        };
        if self.fixes.range(number..).any(|it| had(&it)) {
            return Fix::Lacks;
        }
        let mut earlier = self.fixes.range(..number);
        if let Some((earlier, _)) = earlier.clone().find(had) {
            return Fix::Unknown(format!(
                "release {earlier} had a patch for it, and {number} has none: its upstream version may fix it"
            ));
        }
        let unknown = earlier.find_map(|(earlier, fixes)| Some((earlier, fixes.as_ref().err()?)));
        unknown.map_or(Fix::Lacks, |(earlier, why)| {
            Fix::Unknown(format!(
                "whether release {earlier} had a patch for it is not known: {why}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use kdistro_verify::{store::Directory, trust::PublicKey};

    use super::*;
    use crate::{fleet::Cluster, report::Verdict};

    fn runs(number: u8) -> Reported {
        Reported {
            release: format!("1-20-{number}").parse().unwrap(),
            digest: Some(Digest::from_bytes([number; 32])),
            verdict: Verdict::Kept,
            since: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    /// A channel of which each release fixes these, could not be verified, or is withheld.
    fn channel(releases: &[Result<&[&str], &str>]) -> Channel {
        let fixes = |cves: &&[&str]| cves.iter().map(|&cve| cve.to_owned()).collect();
        let fixes = releases.iter().map(|it| it.as_ref().map(fixes).map_err(|&why| why.to_owned()));
        let digests = (1..=releases.len()).map(|it| u8::try_from(it).unwrap());
        Channel {
            digests: digests.map(|it| (it.into(), Digest::from_bytes([it; 32]))).collect(),
            fixes: (1..).zip(fixes).collect(),
        }
    }

    #[test]
    fn a_fix_is_there_or_lacking_or_cannot_be_told() {
        let unread = Err("its bundle is missing");
        let channel = channel(&[
            Ok(&[]),
            Ok(&["CVE-2026-1"]),
            Ok(&["CVE-2026-2"]),
            unread,
            Err(WITHHELD),
            Ok(&["CVE-2026-3"]),
            Ok(&[]),
        ]);
        for (number, cve, expected) in [
            (1, 1, Ok(Fix::Lacks)),
            (2, 1, Ok(Fix::Has)),
            (3, 1, Err("release 2 had a patch for it, and 3 has none")),
            (4, 1, Err("its bundle is missing")),
            (5, 1, Err("it is withheld")),
            (3, 4, Ok(Fix::Lacks)),
            (6, 4, Err("whether release 4 had a patch for it is not known: its bundle is missing")),
            (7, 3, Err("release 6 had a patch for it, and 7 has none")),
            (1, 3, Ok(Fix::Lacks)),
        ] {
            let (found, about) =
                (channel.fix(&runs(number), &format!("CVE-2026-{cve}")), (number, cve));
            match (&found, expected) {
                (found, Ok(expected)) => assert_eq!(*found, expected, "{about:?}"),
                (Fix::Unknown(why), Err(expected)) => {
                    assert!(why.contains(expected), "{about:?}: {why}");
                }
                _ => panic!("{about:?}: {found:?}"),
            }
        }
        let other = Reported { digest: Some(Digest::from_bytes([9; 32])), ..runs(2) };
        assert!(matches!(channel.fix(&other, "CVE-2026-1"), Fix::Unknown(_)), "other content");
        let none = Reported { digest: None, ..runs(2) };
        assert!(matches!(channel.fix(&none, "CVE-2026-1"), Fix::Unknown(_)), "no content");
    }

    #[test]
    fn a_release_before_a_later_patch_lacks_it_whatever_is_known_of_those_before() {
        let fix = |first, second| {
            let channel = channel(&[first, Ok(&[]), second]);
            channel.fix(&runs(2), "CVE-2026-1")
        };
        let (had, has_not): (Result<&[&str], _>, Result<&[&str], _>) =
            (Ok(&["CVE-2026-1"]), Ok(&[]));
        for first in [had, has_not, Err(WITHHELD)] {
            assert_eq!(fix(first, had), Fix::Lacks, "{first:?}");
        }
        assert_eq!(fix(has_not, has_not), Fix::Lacks);
        for (first, why) in [(had, "had a patch"), (Err(WITHHELD), "is not known: it is withheld")]
        {
            let Fix::Unknown(found) = fix(first, has_not) else { panic!("{first:?}") };
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn a_channel_that_cannot_be_read_is_told_of_its_clusters() {
        let folder = tempfile::tempdir().unwrap();
        let key = kdistro_border::KeyFile::generate(&folder.path().join("key")).unwrap();
        let key = PublicKey::from_pem(&key.public_key_pem().unwrap()).unwrap();
        let source = TrustSource { key, trusted_root: None };
        let cluster = |name: &str, runs| Cluster {
            name: name.to_owned(),
            number: 1,
            reported: jiff::Timestamp::UNIX_EPOCH,
            silent: false,
            runs,
            holds: Vec::new(),
            fix: None,
        };
        let clusters = vec![cluster("east", Some(runs(1))), cluster("west", None)];
        let mut fleet = Fleet { clusters, ..Fleet::default() };
        let reader = Directory::new(folder.path());
        let published = Published { reader: &reader, source: &source, environment: "local" };
        published.mark(&mut fleet, "CVE-2026-1");
        let whys: Vec<_> = fleet.clusters.iter().map(|it| it.fix.clone().unwrap()).collect();
        let [Fix::Unknown(east), Fix::Unknown(west)] = &whys[..] else { panic!("{whys:?}") };
        assert!(east.contains("is missing"), "{east}");
        assert_eq!(west, "it runs nothing yet");
    }
}
