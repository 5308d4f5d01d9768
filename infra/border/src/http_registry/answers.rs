//! The readers of what registries answer, apart from any request: so that they can be tried on any bytes.

use std::{collections::BTreeSet, sync::Arc};

use kdistro_formats::Digest;
use ureq::{
    Body,
    http::{Response, StatusCode},
};

use super::{
    access::State,
    connection::{self, Connection},
    referrers,
};
use crate::{
    credentials::Anonymous,
    http::{Client, Reach, Site},
    manifest,
};

/// What a registry reads of a manifest or index.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// True for an index.
    pub is_index: bool,
    /// What it names and must be there.
    pub parts: BTreeSet<Digest>,
    /// What it is about.
    pub subject: Option<Digest>,
}

/// Reads a manifest or index, as one that is pushed, pulled or tagged; says what is wrong with it.
pub fn manifest(bytes: &[u8]) -> Result<Manifest, String> {
    let manifest::Manifest { is_index, parts, subject, .. } = manifest::Manifest::read(bytes)?;
    let parts = parts.into_iter().map(|part| part.digest).collect();
    Ok(Manifest { is_index, parts, subject })
}

/// Reads a page of a list of referrers: their digests, `None` for one without; `None` when it is no list.
pub fn referrers(bytes: &[u8]) -> Option<Vec<Option<Digest>>> {
    let entries = referrers::entries("any", bytes).ok()?;
    Some(entries.iter().map(referrers::digest).collect())
}

/// Reads of a `Link` where the next page is.
pub fn next_page(link: &str) -> Option<String> {
    referrers::next_page(link)
}

/// Resolves a `Location` or page that the registry at `url` answers to a request for `path`; `None` when it leads to
/// another site.
pub fn resolve(url: &str, path: &str, reference: &str) -> Option<String> {
    let (site, _) = Site::split(url).ok()?;
    let client = Client::new(&Reach::default()).ok()?;
    Connection::new(site, client, Arc::new(Anonymous)).own("GET", path, reference).ok()
}

/// Reads what a token server answers; what is wrong with it is said without what it holds.
pub fn token(bytes: &[u8]) -> Result<(), String> {
    let answer = Response::new(Body::builder().data(bytes));
    let read = State::default().token("GET a token", answer);
    read.map(drop).map_err(|error| error.to_string())
}

/// Tells what is shown of a refusal.
pub fn refusal(bytes: &[u8]) -> String {
    let mut answer = Response::new(Body::builder().data(bytes));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    connection::refused("GET it", answer, str::to_owned).to_string()
}
