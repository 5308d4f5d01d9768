//! Tells others how things stand: a status page, metrics, and notices of what happened.

pub mod metrics;
pub mod notify;
pub mod page;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    history::{History, HistoryError},
    receive::http::{Desk, Document, Method, Request, Status, Taken},
};

/// How many of the last events the page shows.
pub const EVENTS: usize = 300;

/// What is shown of a history at an address.
#[derive(Clone, Copy)]
enum Show {
    Page,
    Metrics,
    Status,
}

/// Shows one thing of a history to whoever asks.
struct Shower {
    history: Arc<History>,
    clock: fn() -> Timestamp,
    is_local: bool,
    show: Show,
}

/// What is shown of a history at an address, by its path: `/`, `/metrics` and `/status.json`. `clock` tells the page how
/// long ago things were.
pub fn desks(
    history: &Arc<History>,
    address: SocketAddr,
    clock: fn() -> Timestamp,
) -> BTreeMap<String, Box<dyn Desk>> {
    let paths = [("/", Show::Page), ("/metrics", Show::Metrics), ("/status.json", Show::Status)];
    let is_local = address.ip().is_loopback();
    let desk = |(path, show): (&str, Show)| {
        let shower = Shower { history: Arc::clone(history), clock, is_local, show };
        let desk: Box<dyn Desk> = Box::new(shower);
        (path.to_owned(), desk)
    };
    paths.into_iter().map(desk).collect()
}

impl Shower {
    fn document(&self) -> Result<Document, HistoryError> {
        let standing = self.history.standing(EVENTS)?;
        let (kind, content) = match self.show {
            Show::Page => ("text/html; charset=utf-8", page::page(&standing, (self.clock)())),
            Show::Metrics => (metrics::KIND, metrics::metrics(&standing)),
            Show::Status => ("application/json", serde_json::to_string_pretty(&standing)?),
        };
        Ok(Document { kind, content })
    }
}

impl Desk for Shower {
    fn take(&self, request: &Request) -> Taken {
        // A page of somebody else can give its own name this machine's address, and then read what is shown to people
        // here only: the name tells.
        if self.is_local && !request.header("host").is_some_and(is_here) {
            return Taken::Failed(Status::MisdirectedRequest);
        }
        let document = self.document();
        document.map_or(Taken::Failed(Status::ServiceUnavailable), Taken::Shown)
    }

    fn method(&self) -> Method {
        Method::Get
    }
}

/// True for names that are nobody else's: an address, or `localhost`, with a port or without.
fn is_here(host: &str) -> bool {
    let is_address = host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    is_address || bracketed.is_some_and(|it| it.parse::<IpAddr>().is_ok()) || name == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_nobody_elses_are_here() {
        for host in ["127.0.0.1", "127.0.0.1:9464", "[::1]", "[::1]:9464", "localhost:9464"] {
            assert!(is_here(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:9464", "localhost.evil.example", "[evil]"] {
            assert!(!is_here(host), "{host}");
        }
    }
}
