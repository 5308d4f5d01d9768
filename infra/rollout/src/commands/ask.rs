//! `status`, `history` and `why`: how things stand, and how they came to be so.

use std::{fmt::Write, process::ExitCode};

use kdistro_formats::{ReleaseName, terminal::printable};
use kdistro_rollout::history::{Direction, Event, Standing};

use super::{Failure, Program};
use crate::cli::Of;

impl Program {
    /// Says what runs, what is under way, and what is held.
    pub(super) fn status(&self, of: &Of) -> Result<ExitCode, Failure> {
        let standing = self.standing(of, 0)?;
        self.print(&standing, &status(&standing))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Lists everything that happened.
    pub(super) fn list(&self, of: &Of) -> Result<ExitCode, Failure> {
        let events = self.events(of)?;
        self.print(&events, &lines(&events, false))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Says what happened to a release, with all that was said of it.
    pub(super) fn why(&self, release: &ReleaseName, of: &Of) -> Result<ExitCode, Failure> {
        let mut events = self.events(of)?;
        events.retain(|event| event.release.as_ref() == Some(release));
        if events.is_empty() {
            self.log().note(&format!("nothing is known of release {release}"));
            return Ok(ExitCode::from(1));
        }
        self.print(&events, &lines(&events, true))?;
        Ok(ExitCode::SUCCESS)
    }

    fn events(&self, of: &Of) -> Result<Vec<Event>, Failure> {
        Ok(self.find(of)?.map_or_else(|| Ok(Vec::new()), |history| history.events())?)
    }
}

fn status(standing: &Standing) -> String {
    let running = standing.running.as_ref();
    let running = running.map_or("nothing yet".to_owned(), |target| target.name.to_string());
    let mut text = format!("runs       {running}\n");
    // Writing into memory cannot fail.
    if let Some(under_way) = &standing.under_way {
        let (done, all) = (under_way.done, under_way.steps.len());
        let way = match &under_way.direction {
            Direction::Forward => format!("{done} of {all} steps are done"),
            Direction::Back(why) => format!("going back, because {}", first_line(why)),
        };
        let _ = writeln!(text, "under way  {}: {way}", under_way.to.name);
    }
    if let Some(why) = &standing.paused {
        let _ = writeln!(text, "paused     {}", printable(why));
    }
    for held in &standing.held {
        let why = first_line(&held.why);
        let _ = writeln!(text, "held       {} since {}: {why}", held.release, held.since);
    }
    if let Some(decided) = &standing.decided {
        let _ = writeln!(text, "decided    {}", printable(&decided.why));
    }
    if let Some(look) = standing.looks.last.last() {
        let what = if look.succeeded { "" } else { ", in vain" };
        let _ = writeln!(text, "looked     {}{what}", look.at);
    }
    for (about, alarm) in &standing.alarms {
        let said = first_line(&alarm.text);
        let _ = writeln!(text, "alarm      {about} since {}: {said}", alarm.since);
    }
    text
}

/// A line for each event; with all that was said below it, where that is wanted.
fn lines(events: &[Event], whole: bool) -> String {
    let mut lines = String::new();
    for Event { at, release, what, text } in events {
        let (what, release) =
            (what.to_string(), release.as_ref().map_or(String::new(), ToString::to_string));
        let _ = writeln!(lines, "{at}  {release:<10} {what:<12} {}", first_line(text));
        for more in text.lines().skip(1).filter(|_| whole) {
            let _ = writeln!(lines, "    {}", printable(more));
        }
    }
    lines
}

/// The first line of what was said; the rest may be a log.
fn first_line(text: &str) -> String {
    printable(text.lines().next().unwrap_or_default())
}
