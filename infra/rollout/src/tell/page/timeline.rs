//! The history as a timeline: what belongs to one release together, the newest first.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::{
    history::{Event, What},
    html::{Mood, ago, badge, length, reason, when},
};

/// Events of one release that follow on each other, up to the end of a roll-out.
struct Chapter<'a> {
    events: &'a [Event],
}

impl Chapter<'_> {
    /// What it came to.
    fn end(&self) -> Option<&Event> {
        let told = self.events.iter().rev().find(|event| event.what != What::Decided);
        told.or(self.events.last())
    }

    /// How long the roll-out took that ended in it.
    fn took(&self) -> Option<String> {
        let began = self.events.iter().find(|event| event.what == What::Began)?;
        let ended = self.events.iter().find(|event| is_end(event.what))?;
        Some(length(ended.at.duration_since(began.at)))
    }
}

fn is_end(what: What) -> bool {
    matches!(what, What::Kept | What::RolledBack)
}

fn chapters(events: &[Event]) -> Vec<Chapter<'_>> {
    let together = |one: &Event, next: &Event| one.release == next.release && !is_end(one.what);
    events.chunk_by(together).map(|events| Chapter { events }).collect()
}

/// Writes the timeline.
pub(super) fn timeline(events: &[Event], now: Timestamp) -> Markup {
    html! {
        @if events.is_empty() { p class="soft" { "Nothing happened yet." } }
        ol class="timeline" {
            @for chapter in chapters(events).iter().rev() {
                @if let Some(end) = chapter.end() { (written(chapter, end, now)) }
            }
        }
    }
}

fn written(chapter: &Chapter<'_>, end: &Event, now: Timestamp) -> Markup {
    let mood = mood(end.what);
    html! {
        li class=(mood.class()) {
            p class="row" {
                strong { @match &end.release { Some(release) => (release), None => "Roll-outs" } }
                (badge(mood, &end.what.to_string()))
                span class="soft" {
                    (when(end.at)) ", " (ago(end.at, now))
                    @if let Some(took) = chapter.took() { " · took " (took) }
                }
            }
            (reason(said(chapter, end)))
            @if chapter.events.len() > 1 {
                details {
                    summary { (chapter.events.len()) " events" }
                    (list(chapter.events))
                }
            }
        }
    }
}

/// What is worth reading of a chapter: why it failed, where it did.
fn said<'a>(chapter: &Chapter<'a>, end: &'a Event) -> &'a str {
    let failed = chapter.events.iter().find(|event| event.what == What::Failed);
    let failed =
        failed.filter(|_| matches!(end.what, What::Failed | What::RolledBack | What::Held));
    failed.map_or(&end.text, |failed| &failed.text)
}

fn list(events: &[Event]) -> Markup {
    html! {
        ol class="events" {
            @for Event { at, what, text: said, .. } in events {
                li { span class="time" { (when(*at)) } strong { (what) } div { (reason(said)) } }
            }
        }
    }
}

fn mood(what: What) -> Mood {
    match what {
        What::Kept => Mood::Good,
        What::Checking | What::Began | What::Step | What::Resumed => Mood::Busy,
        What::Failed | What::RolledBack => Mood::Bad,
        What::Held | What::Paused => Mood::Wait,
        What::Released | What::Decided | What::Approved | What::Unpaused => Mood::Plain,
    }
}
