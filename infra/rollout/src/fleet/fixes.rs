//! Which cluster has the fix of a CVE: read out of the verified manifests of the releases that run.
//!
//! A release has a fix when one of its patches says so. One that does not say so though an earlier release of its channel
//! did may have it with the upstream version: that cannot be told here, and is said.

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
    /// What each that could be verified fixes; why the others could not.
    fixes: BTreeMap<u32, Result<BTreeSet<String>, String>>,
}

impl Published<'_> {
    /// Says of each cluster whether it has the fix of this CVE.
    ///
    /// # Errors
    ///
    /// When the index of a channel that a cluster follows is not what was signed. One that cannot be read is told of the
    /// clusters that follow it: a report may name any channel.
    pub fn mark(&self, fleet: &mut Fleet, cve: &str) -> Result<(), Refused> {
        let mut channels: BTreeMap<ChannelName, Result<Channel, String>> = BTreeMap::new();
        for cluster in &mut fleet.clusters {
            let Some(runs) = &cluster.runs else {
                cluster.fix = Some(Fix::Unknown("it runs nothing yet".to_owned()));
                continue;
            };
            let name = &runs.release.channel;
            if !channels.contains_key(name) {
                let channel = match self.channel(name) {
                    Err(forged) if forged.outcome() == Outcome::Differs => return Err(forged),
                    channel => channel.map_err(|error| chain(&error)),
                };
                channels.insert(name.clone(), channel);
            }
            cluster.fix = channels.get(name).map(|channel| match channel {
                Ok(channel) => channel.fix(runs, cve),
                Err(why) => Fix::Unknown(why.clone()),
            });
        }
        Ok(())
    }

    /// Verifies all releases that a channel offers, by their documents.
    fn channel(&self, channel: &ChannelName) -> Result<Channel, Refused> {
        let Self { reader, source, environment } = *self;
        let publication = Publication { reader, source, environment, channel };
        let looked = publication.look(None)?;
        let status = &looked.index.status;
        let offered = status.releases.iter().map(|it| (it.number, it.digest));
        let withheld = status.withheld.iter().filter_map(|it| Some((it.number, it.digest?)));
        let digests = offered.chain(withheld).collect();
        let numbers = status.releases.iter().map(|it| it.number);
        let fixes = numbers.map(|number| (number, fixes(&publication, &looked, number))).collect();
        Ok(Channel { digests, fixes })
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
            None => return Fix::Unknown(format!("{release} is withheld")),
            Some(Err(why)) => return Fix::Unknown(why.clone()),
            Some(Ok(fixes)) if fixes.contains(cve) => return Fix::Has,
            Some(Ok(_)) => {}
        }
        let mut earlier = self.fixes.range(..number);
        let had = |fixes: &Result<BTreeSet<String>, String>| {
            fixes.as_ref().is_ok_and(|fixes| fixes.contains(cve))
        };
        match earlier.find(|(_, fixes)| had(fixes)) {
            Some((earlier, _)) => Fix::Unknown(format!(
                "release {earlier} had a patch for it, and {number} has none: its upstream version may fix it"
            )),
            None => Fix::Lacks,
        }
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

    #[test]
    fn a_fix_is_there_or_lacking_or_cannot_be_told() {
        let fixes = |cves: &[&str]| Ok(cves.iter().map(|&cve| cve.to_owned()).collect());
        let channel = Channel {
            digests: (1..=5).map(|it: u8| (it.into(), Digest::from_bytes([it; 32]))).collect(),
            fixes: BTreeMap::from([
                (1, fixes(&[])),
                (2, fixes(&["CVE-2026-1"])),
                (3, fixes(&["CVE-2026-2"])),
                (4, Err("its bundle is missing".to_owned())),
            ]),
        };
        let fix = |number| channel.fix(&runs(number), "CVE-2026-1");
        assert_eq!((fix(1), fix(2)), (Fix::Lacks, Fix::Has));
        for (number, why) in
            [(3, "release 2 had a patch"), (4, "bundle is missing"), (5, "withheld")]
        {
            let Fix::Unknown(found) = fix(number) else { panic!("{number}") };
            assert!(found.contains(why), "{found}");
        }
        let other = Reported { digest: Some(Digest::from_bytes([9; 32])), ..runs(2) };
        assert!(matches!(channel.fix(&other, "CVE-2026-1"), Fix::Unknown(_)), "other content");
        let none = Reported { digest: None, ..runs(2) };
        assert!(matches!(channel.fix(&none, "CVE-2026-1"), Fix::Unknown(_)), "no content");
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
        published.mark(&mut fleet, "CVE-2026-1").unwrap();
        let whys: Vec<_> = fleet.clusters.iter().map(|it| it.fix.clone().unwrap()).collect();
        let [Fix::Unknown(east), Fix::Unknown(west)] = &whys[..] else { panic!("{whys:?}") };
        assert!(east.contains("is missing"), "{east}");
        assert_eq!(west, "it runs nothing yet");
    }
}
