//! What a subscriber's file says of telling others: a listener for people and Prometheus, notices, reports.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use super::places::listen;
use crate::report::place::file_of;

/// Who may ask how things stand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tell {
    /// Where the status page, `/metrics` and `/status.json` are shown. Whoever reaches it may read them.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
}

/// Who is notified of what happened: kept, rolled back, held, alarms.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Notify {
    /// An address that is posted to, as a distributor posts announcements.
    pub webhook: Option<NotifyWebhook>,
    /// A topic of Amazon SNS.
    pub sns: Option<NotifySns>,
}

/// An address that is posted to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NotifyWebhook {
    /// The address: https, or http on this machine.
    pub address: String,
    /// The file whose content, without white space around it, is the secret that messages are signed with.
    pub secret: PathBuf,
}

/// A topic of Amazon SNS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NotifySns {
    /// Its ARN.
    pub topic: String,
    /// The address of another service than Amazon's.
    pub endpoint: Option<String>,
}

/// Where reports go, or those of others are read: a folder, or a bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reports {
    /// A folder, with one file a cluster.
    pub folder: Option<PathBuf>,
    /// A bucket of Amazon S3, with one object a cluster: `s3://BUCKET/PREFIX`.
    pub bucket: Option<String>,
    /// The bucket's region, where AWS's usual places do not name it.
    pub region: Option<String>,
    /// The address of another service than Amazon's.
    pub endpoint: Option<String>,
    /// The file with the private key that signs them, `report.key` in the folder that remembers where none is given.
    /// It is made with the first report.
    pub key: Option<PathBuf>,
}

impl Reports {
    /// The file of a cluster's newest report, where it is one of this machine.
    pub fn file(&self, cluster: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(file_of(cluster)))
    }
}
