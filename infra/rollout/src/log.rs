//! What the program says while it works, on standard error: lines for people, or one JSON object a line.

use std::io::{self, Write};

use jiff::Timestamp;
use kdistro_formats::terminal::{printable, printable_json};
use kdistro_rollout::history::Event;
use serde::Serialize;

/// Who is told, and how.
pub(crate) struct Log {
    /// Whether a line is a JSON object.
    pub(crate) json: bool,
    /// The cluster that it is about, once that is known.
    pub(crate) cluster: Option<String>,
    /// Tells the time.
    pub(crate) now: fn() -> Timestamp,
}

/// A line as a program reads it.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    cluster: Option<&'a str>,
    release: Option<String>,
    what: String,
    text: &'a str,
}

impl Log {
    /// Says what happened.
    pub(crate) fn event(&self, event: &Event) {
        let Event { at, release, what, text } = event;
        if self.json {
            let what = what.to_string().replace(' ', "-");
            let release = release.as_ref().map(ToString::to_string);
            line(&Line { time: *at, cluster: self.cluster.as_deref(), release, what, text });
        } else {
            let about = release.as_ref().map_or(String::new(), |release| format!("  {release}"));
            write(&format!("{at}{about}  {what}: {}", printable(text)));
        }
    }

    /// Says something in passing.
    pub(crate) fn note(&self, text: &str) {
        self.say("note", text);
    }

    /// Says what could not be done.
    pub(crate) fn error(&self, text: &str) {
        self.say("error", text);
    }

    fn say(&self, what: &str, text: &str) {
        if self.json {
            let (time, cluster) = ((self.now)(), self.cluster.as_deref());
            line(&Line { time, cluster, release: None, what: what.to_owned(), text });
        } else {
            write(&format!("{what}: {text}"));
        }
    }
}

fn line(line: &Line<'_>) {
    write(&printable_json(&serde_json::to_string(line).unwrap_or_default()));
}

fn write(line: &str) {
    // What cannot be shown hinders nothing.
    let _ = writeln!(io::stderr(), "{line}");
}
