//! A report to the distributor, if the subscriber agrees: which release the cluster runs, which it went back from or holds,
//! and since when. Nothing else of the cluster is in it.
//!
//! One small file a cluster, replaced by the next: a canonical JSON object of the report's text and the Sigstore bundle
//! that signs exactly that text, so that one reading has both and they always fit. Reports are numbered, so that an older
//! one that is put in the place of a newer one is noticed by whoever saw that.

pub(crate) mod place;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use kdistro_border::{KeyFile, SignError, Signer};
use kdistro_formats::{
    Digest, ReleaseName,
    canonical::{self, CanonicalError},
};
use kdistro_verify::{
    bundle::{self, BundleError},
    hash::sha256,
    trust::{PublicKey, TrustError},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::place::{Place, PlaceError};
use crate::{
    decide::Seen,
    history::{History, HistoryError, Standing},
    policy::Subscriber,
};

/// The form of a report.
const SCHEMA: &str = "kdistro.dev/report/v1";
/// How old a report becomes before it is written again though nothing changed, so that silence means something.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);
/// How the key is called where the subscriber's file names none.
const KEY: &str = "report.key";

/// The largest report with its signature, in bytes.
pub const LARGEST: u64 = 1 << 20;

/// What a cluster reports.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Report {
    /// `kdistro.dev/report/v1`.
    pub schema: String,
    /// The cluster's name.
    pub cluster: String,
    /// Its number among the reports of the cluster, from 1 on.
    pub number: u64,
    /// When it was written.
    pub time: Timestamp,
    /// What runs, and what is held.
    pub releases: Vec<Reported>,
}

/// What became of a release.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reported {
    /// Which.
    pub release: ReleaseName,
    /// The digest of its manifest; none where the cluster never saw it offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What.
    pub verdict: Verdict,
    /// Since when.
    pub since: Timestamp,
}

/// What a cluster made of a release.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It runs.
    Kept,
    /// It failed there, and the cluster went back: it is held.
    RolledBack,
    /// Somebody keeps it away.
    Held,
}

/// A report with its signature, as it lies in a file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Signed {
    bundle: Value,
    report: String,
}

/// A report that cannot be written, or not be believed.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The history cannot be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The key cannot be used.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The key is none that anybody believes.
    #[error("the key of the reports")]
    Key(#[from] TrustError),
    /// It cannot be put where it belongs.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It is not a report.
    #[error("not a signed report")]
    Form(#[from] CanonicalError),
    /// It is not signed, or by somebody else.
    #[error("not signed by the cluster's key")]
    Forged(#[from] BundleError),
    /// It is of another form.
    #[error("`schema` is `{found}`, expected `{SCHEMA}`")]
    Schema {
        /// What stands there.
        found: String,
    },
}

impl Report {
    /// What the cluster runs.
    pub fn running(&self) -> Option<&Reported> {
        self.releases.iter().find(|it| it.verdict == Verdict::Kept)
    }

    /// Signs it; returns the content of its file.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, ReportError> {
        let report = canonical::to_vec(self)?;
        let signature = STANDARD.encode(signer.sign(&report)?);
        let key = PublicKey::from_spki_der(signer.public_key())?;
        let hint = STANDARD.encode(key.fingerprint().as_bytes());
        let digest = STANDARD.encode(sha256(&report).as_bytes());
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "messageSignature": {
                "messageDigest": { "algorithm": "SHA2_256", "digest": digest },
                "signature": signature,
            },
            "verificationMaterial": {
                "publicKey": { "hint": hint },
                "timestampVerificationData": { "rfc3161Timestamps": [] },
                "tlogEntries": [],
            },
        });
        let report = String::from_utf8_lossy(&report).into_owned();
        Ok(canonical::to_vec(&Signed { bundle, report })?)
    }

    /// Reads a file that must be signed by this key.
    pub fn open(bytes: &[u8], key: &PublicKey) -> Result<Self, ReportError> {
        let Signed { bundle, report } = canonical::from_slice(bytes)?;
        bundle::verify_unlogged(&canonical::to_vec(&bundle)?, report.as_bytes(), key)?;
        let report: Self = canonical::from_slice(report.as_bytes())?;
        if report.schema != SCHEMA {
            return Err(ReportError::Schema { found: report.schema });
        }
        Ok(report)
    }
}

/// Writes a new report where the subscriber agrees and there is something new to say, or the last one became old.
pub fn report(
    history: &History,
    subscriber: &Subscriber,
    now: Timestamp,
) -> Result<Option<Report>, ReportError> {
    let is_new = |last: &Report, releases: &[Reported]| {
        let age = now.duration_since(last.time);
        last.releases != releases || age > OLDEST || age.is_negative()
    };
    write_where(history, subscriber, now, is_new)
}

/// Writes a report of how things are now, whatever was reported before; none where the subscriber gives none.
pub fn write(
    history: &History,
    subscriber: &Subscriber,
    now: Timestamp,
) -> Result<Option<Report>, ReportError> {
    write_where(history, subscriber, now, |_, _| true)
}

/// Writes a report where there is none yet, or what is to be said after the last one is new.
fn write_where(
    history: &History,
    subscriber: &Subscriber,
    now: Timestamp,
    is_new: impl FnOnce(&Report, &[Reported]) -> bool,
) -> Result<Option<Report>, ReportError> {
    let Some(reports) = &subscriber.report else { return Ok(None) };
    let is_gone = reports.file(&subscriber.cluster).is_some_and(|file| !file.exists());
    let last: Option<Report> = history.reported()?;
    let releases = releases(&history.standing(0)?, history.seen(&subscriber.environment)?.as_ref());
    if !is_gone && last.as_ref().is_some_and(|last| !is_new(last, &releases)) {
        return Ok(None);
    }
    let report = Report {
        schema: SCHEMA.to_owned(),
        cluster: subscriber.cluster.clone(),
        number: last.map_or(1, |last| last.number + 1),
        time: now,
        releases,
    };
    let bytes = report.sign(&key(subscriber)?)?;
    Place::of(reports)?.write(&subscriber.cluster, &bytes)?;
    history.report(&report)?;
    Ok(Some(report))
}

/// Opens the key that signs the reports of a cluster; it is made, for its owner alone, where there is none.
pub fn key(subscriber: &Subscriber) -> Result<KeyFile, SignError> {
    let named = subscriber.report.as_ref().and_then(|report| report.key.clone());
    let path = named.unwrap_or_else(|| subscriber.state.join(KEY));
    if path.exists() { KeyFile::open(&path) } else { KeyFile::generate(&path) }
}

/// What is reported: first what runs, then what is held.
fn releases(standing: &Standing, seen: Option<&Seen>) -> Vec<Reported> {
    let offered = |release: &ReleaseName| seen?.offered(release).map(|it| it.digest);
    let running = standing.running.iter().zip(standing.running_since).map(|(running, since)| {
        let (release, digest) = (running.name.clone(), Some(running.digest));
        Reported { release, digest, verdict: Verdict::Kept, since }
    });
    let held = standing.held.iter().map(|held| {
        let verdict = if held.failed { Verdict::RolledBack } else { Verdict::Held };
        let (release, since) = (held.release.clone(), held.since);
        Reported { digest: offered(&release), release, verdict, since }
    });
    running.chain(held).collect()
}

#[cfg(test)]
mod tests;
