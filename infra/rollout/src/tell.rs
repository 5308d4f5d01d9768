//! Tells others how things stand: a status page, metrics, and notices of what happened.

pub mod metrics;
pub mod notify;
pub mod page;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::{
    history::{History, HistoryError, Standing},
    receive::http::{Desk, Document, Method, Request, Taken},
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
    show: Show,
}

/// What is shown of a history, by its path: `/`, `/metrics` and `/status.json`. `clock` tells the page how long ago things
/// were.
pub fn desks(history: &Arc<History>, clock: fn() -> Timestamp) -> BTreeMap<String, Box<dyn Desk>> {
    let paths = [("/", Show::Page), ("/metrics", Show::Metrics), ("/status.json", Show::Status)];
    let desk = |(path, show): (&str, Show)| {
        let desk: Box<dyn Desk> = Box::new(Shower { history: Arc::clone(history), clock, show });
        (path.to_owned(), desk)
    };
    paths.into_iter().map(desk).collect()
}

impl Shower {
    fn standing(&self) -> Result<Standing, HistoryError> {
        self.history.standing(EVENTS)
    }

    fn document(&self) -> Result<Document, HistoryError> {
        let standing = self.standing()?;
        let (kind, content) = match self.show {
            Show::Page => ("text/html; charset=utf-8", page::page(&standing, (self.clock)())),
            Show::Metrics => (metrics::KIND, metrics::metrics(&standing)),
            Show::Status => ("application/json", serde_json::to_string_pretty(&standing)?),
        };
        Ok(Document { kind, content })
    }
}

impl Desk for Shower {
    fn take(&self, _: &Request) -> Taken {
        self.document().map_or(Taken::Failed, Taken::Shown)
    }

    fn method(&self) -> Method {
        Method::Get
    }
}
