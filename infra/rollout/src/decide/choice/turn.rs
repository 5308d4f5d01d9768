//! Whether it is this cluster's turn behind those that go before, as their reports say. It reads nothing.

use kdistro_formats::{ReleaseName, release::ReleaseRef};

use super::Situation;
use crate::report::{Reported, Verdict, place};

impl Situation<'_> {
    /// Names every cluster that goes before and has not kept a release, each with the reason; none where all have.
    pub(super) fn lagging(&self, release: &ReleaseRef) -> Option<String> {
        let lag = |cluster: &String| {
            let why = self.lag(cluster, release)?;
            Some(format!("{cluster}, which goes before, {why}"))
        };
        let all: Vec<_> =
            self.wave.behind.iter().filter_map(|before| lag(&before.cluster)).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Why a cluster does not count as one that kept a release, where that is so.
    fn lag(&self, cluster: &str, release: &ReleaseRef) -> Option<String> {
        let Some(report) = self.ahead.clusters.iter().find(|it| it.name == cluster) else {
            let file = place::file_of(cluster);
            let ignored = self.ahead.ignored.iter().find(|it| it.file == file);
            let why = ignored.map_or("none was read", |it| &it.why);
            return Some(format!("has no report that can be believed: {why}"));
        };
        let name = ReleaseName { channel: self.channel.clone(), number: release.number };
        if let Some(held) = report.holds.iter().find(|it| it.release == name) {
            return Some(match held.verdict {
                Verdict::RolledBack => "holds it: it failed there".to_owned(),
                Verdict::Held | Verdict::Kept => "holds it: somebody keeps it away".to_owned(),
            });
        }
        match &report.runs {
            Some(runs) => self.lag_of(runs, release),
            None => Some("runs nothing yet".to_owned()),
        }
    }

    /// Why what a cluster runs is neither the release nor a newer one.
    ///
    /// Of another channel, nothing counts: it says nothing about this one's. A number that the index does not list may be
    /// newer than it; one that it lists is the listed content, or another release.
    fn lag_of(&self, runs: &Reported, release: &ReleaseRef) -> Option<String> {
        let Reported { release: name, digest, .. } = runs;
        if name.channel != *self.channel || name.number < release.number {
            return Some(format!("runs {name}"));
        }
        let listed = self.listed(name.number).filter(|listed| Some(listed) != digest.as_ref())?;
        let found = digest.map_or_else(|| "something".to_owned(), |digest| digest.to_string());
        Some(format!("runs {name} as {found}, but the channel's index lists it as {listed}"))
    }
}
