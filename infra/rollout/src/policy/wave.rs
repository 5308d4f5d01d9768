//! When it is a cluster's turn among others: some time after a release's date, and behind other clusters.

use std::path::PathBuf;

use serde::Deserialize;

use super::{
    Length, Reports,
    names::{Wrong, check_path, check_reports, named, wrong},
};

/// When it is this cluster's turn: others that follow the same channel go before it.
///
/// It counts for every release: an emergency waits for no window, and for its turn as any other.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Wave {
    /// How long after a release's date.
    pub after: Length,
    /// The clusters that go before. Each must have kept the release or a newer one of the channel, as its signed report
    /// says; until then the release waits, however long that is.
    pub behind: Vec<Forerunner>,
    /// Where their reports are read. It names no key: each cluster has its own.
    pub reports: Option<Reports>,
}

/// A cluster that goes before.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Forerunner {
    /// Its name, as it stands in its reports.
    pub cluster: String,
    /// The file with the public key, PEM, that its reports are believed by.
    pub key: PathBuf,
}

impl Wave {
    /// Every path in it.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let folder = self.reports.as_mut().and_then(|reports| reports.folder.as_mut());
        self.behind.iter_mut().map(|it| &mut it.key).chain(folder)
    }
}

/// Says what is wrong with the wave of a cluster.
pub(super) fn check(wave: &Wave, cluster: &str) -> Result<(), Wrong> {
    let Wave { behind, reports, .. } = wave;
    let Some(reports) = reports else {
        return if behind.is_empty() {
            Ok(())
        } else {
            wrong("wave.behind", "has no reports", "`reports` beside it: where they are read")
        };
    };
    if behind.is_empty() {
        let expected = "`behind` beside it: the clusters that go before";
        return wrong("wave.reports", "are of nobody", expected);
    }
    check_reports("wave.reports", reports)?;
    if let Some(folder) = &reports.folder {
        check_path("wave.reports.folder", folder)?;
    }
    if reports.key.is_some() {
        return wrong("wave.reports.key", "signs nothing", "no key: `behind` has the public ones");
    }
    for (number, one) in behind.iter().enumerate() {
        let field = |name| format!("wave.behind[{number}].{name}");
        named(&field("cluster"), &one.cluster)?;
        check_path(&field("key"), &one.key)?;
        if one.cluster == cluster {
            return wrong(field("cluster"), "is this cluster", "one that goes before it");
        }
        if behind.iter().take(number).any(|other| other.cluster == one.cluster) {
            return wrong(field("cluster"), "is named twice", "each cluster once");
        }
    }
    Ok(())
}
