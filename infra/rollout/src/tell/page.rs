//! The status page of a cluster. Pure: how things stand goes in, one HTML document comes out.

mod timeline;

use jiff::Timestamp;
use kdistro_formats::ReleaseName;
use maud::{Markup, html};

use crate::{
    history::{Decided, Direction, Held, Intent, Look, Standing, UnderWay},
    html::{Mood, ago, badge, document, length, reason, text, when},
};

/// Writes the page.
pub fn page(standing: &Standing, now: Timestamp) -> String {
    let cluster = standing.follows.as_ref().map_or("a cluster", |it| it.cluster.as_str());
    let (mood, word) = mood(standing);
    let body = html! {
        (header(standing, cluster, (mood, &word)))
        main {
            @if !standing.alarms.is_empty() { (alarms(standing, now)) }
            @if let Some(under_way) = &standing.under_way { (under_way_now(under_way)) }
            (runs(standing, now))
            (next(standing, now))
            @if !standing.held.is_empty() { (held(&standing.held, now)) }
            (looks(&standing.looks.last, standing.held.is_empty(), now))
            section aria-labelledby="history" {
                h2 id="history" { "History" }
                (timeline::timeline(&standing.events, now))
            }
        }
        footer { "As of " (when(now)) " · kdistro-rollout " (env!("CARGO_PKG_VERSION")) }
    };
    document(&format!("{cluster}: {word}"), &body)
}

/// The whole in one word.
fn mood(standing: &Standing) -> (Mood, String) {
    if !standing.alarms.is_empty() {
        return (Mood::Bad, "needs somebody to look".to_owned());
    }
    if let Some(UnderWay { from, to, direction, .. }) = &standing.under_way {
        return match direction {
            Direction::Forward => (Mood::Busy, format!("rolls out {}", to.name)),
            Direction::Back(_) => (Mood::Bad, format!("goes back to {}", from.name)),
        };
    }
    if let Some(look) = standing.looks.last.last().filter(|look| !look.succeeded) {
        let word = if look.times == 1 { "the last look failed" } else { "the last looks failed" };
        return (Mood::Wait, word.to_owned());
    }
    if standing.paused.is_some() {
        return (Mood::Wait, "is paused".to_owned());
    }
    if let Some(release) = prepares(standing) {
        return (Mood::Busy, format!("prepares {release}"));
    }
    match standing.decided.as_ref().map(|decided| decided.what) {
        Some(Intent::Approve) => (Mood::Wait, "waits for somebody's approval".to_owned()),
        Some(Intent::Wait) => (Mood::Wait, "waits for its time".to_owned()),
        _ if standing.running.is_none() => (Mood::Plain, "nothing rolled out yet".to_owned()),
        _ => (Mood::Good, "all is well".to_owned()),
    }
}

/// The release that was decided for, until its roll-out begins.
fn prepares(standing: &Standing) -> Option<&ReleaseName> {
    let decided = standing.decided.as_ref().filter(|decided| decided.what == Intent::RollOut)?;
    let release = decided.release.as_ref()?;
    let runs = standing.running.as_ref().is_some_and(|running| running.name == *release);
    let failed = standing.held.iter().any(|held| held.release == *release);
    (!runs && !failed).then_some(release)
}

fn header(standing: &Standing, cluster: &str, (mood, word): (Mood, &str)) -> Markup {
    html! {
        header {
            h1 { (text(cluster)) }
            (badge(mood, word))
            @if let Some(follows) = &standing.follows {
                p {
                    "follows channel " strong { (follows.channel) }
                    " of " strong { (text(&follows.environment)) }
                }
            }
        }
    }
}

fn alarms(standing: &Standing, now: Timestamp) -> Markup {
    html! {
        section class="alarm" role="alert" aria-labelledby="alarms" {
            h2 id="alarms" { "Somebody has to look" }
            ul class="lines" {
                @for (about, alarm) in &standing.alarms {
                    li {
                        p { strong { (text(about)) } ": " (text(&alarm.text)) }
                        p class="soft" { "since " (when(alarm.since)) ", " (ago(alarm.since, now)) }
                    }
                }
            }
        }
    }
}

fn under_way_now(under_way: &UnderWay) -> Markup {
    let UnderWay { from, to, steps, done, direction } = under_way;
    let is_back = matches!(direction, Direction::Back(_));
    let (here, there) = if is_back { (to, from) } else { (from, to) };
    html! {
        section aria-labelledby="under-way" {
            h2 id="under-way" { "Under way" }
            p class="big" { (here.name) " → " (there.name) }
            @match direction {
                Direction::Forward => p { (done) " of " (steps.len()) " steps are done" },
                Direction::Back(why) => {
                    p { (badge(Mood::Bad, "goes back")) " " (done) " of " (steps.len()) " steps are left to be undone" }
                    (reason(why))
                }
            }
            progress class=[is_back.then_some("bad")] max=(steps.len()) value=(done) aria-label="steps" {}
            ol class="steps" {
                @for (number, step) in steps.iter().enumerate() {
                    @let (class, mark) = stage(number, *done, is_back);
                    @let is_now = matches!(class, Some("now" | "undo"));
                    li class=[class] aria-current=[is_now.then_some("step")] {
                        (text(&step.to_string())) (mark)
                    }
                }
            }
        }
    }
}

/// How far a step is: its class, and its mark.
fn stage(number: usize, done: usize, is_back: bool) -> (Option<&'static str>, &'static str) {
    let now = if is_back { done.checked_sub(1) } else { Some(done) };
    if Some(number) == now {
        return (Some(if is_back { "undo" } else { "now" }), "");
    }
    if Some(number) < now {
        (Some("done"), " ✓")
    } else {
        (None, if is_back { " ↩" } else { "" })
    }
}

fn runs(standing: &Standing, now: Timestamp) -> Markup {
    html! {
        section class="half" aria-labelledby="runs" {
            h2 id="runs" { "Runs" }
            @if let Some(running) = &standing.running {
                p class="big" { (running.name) }
                @if let Some(since) = standing.running_since {
                    p { "since " (when(since)) ", " (ago(since, now)) }
                }
                p class="mono soft" { (running.digest) }
            } @else {
                p class="soft" { "Nothing was rolled out here yet." }
            }
            @if standing.held.is_empty() { p class="soft" { "No release is held." } }
        }
    }
}

fn next(standing: &Standing, now: Timestamp) -> Markup {
    let busy = standing.under_way.is_some();
    html! {
        section class="half" aria-labelledby="next" {
            h2 id="next" { "Next" }
            @if let Some(why) = &standing.paused {
                p { (badge(Mood::Wait, "paused")) " Nothing is rolled out for now: " (text(why)) }
            }
            @match &standing.decided {
                Some(decided) if !busy && decided.what != Intent::RollOut => (decision(decided, now)),
                Some(decided) if !busy && prepares(standing).is_some() => {
                    p { (badge(Mood::Busy, "prepares")) }
                    p { (text(&decided.why)) }
                }
                _ if busy => p class="soft" { "Decided again once what is under way has ended." },
                _ => p class="soft" { "Decided at the next look." },
            }
        }
    }
}

fn decision(decided: &Decided, now: Timestamp) -> Markup {
    let (mood, word) = match decided.what {
        Intent::Nothing | Intent::RollOut => (Mood::Good, "nothing to do"),
        Intent::Wait => (Mood::Wait, "waits"),
        Intent::Approve => (Mood::Wait, "waits for approval"),
        Intent::Alarm => (Mood::Bad, "alarm"),
    };
    html! {
        p { (badge(mood, word)) }
        p { (text(&decided.why)) }
        @if let Some(until) = decided.until {
            p { "until " (when(until)) ", " (ago(until, now)) }
        }
        @if let (Intent::Approve, Some(release)) = (decided.what, &decided.release) {
            p class="mono soft" { "kdistro-rollout approve " (release) }
        }
        p class="soft" { "so since " (when(decided.since)) }
    }
}

fn held(held: &[Held], now: Timestamp) -> Markup {
    html! {
        section class="half" aria-labelledby="held" {
            h2 id="held" { "Held" }
            ul class="lines" {
                @for Held { release, since, why, failed } in held {
                    li {
                        p class="row" {
                            strong { (release) }
                            @if *failed { (badge(Mood::Bad, "failed here")) }
                            @else { (badge(Mood::Wait, "kept away")) }
                            span class="soft" { (ago(*since, now)) }
                        }
                        (reason(why))
                    }
                }
            }
        }
    }
}

fn looks(looks: &[Look], is_alone: bool, now: Timestamp) -> Markup {
    html! {
        section class=[(!is_alone).then_some("half")] aria-labelledby="looks" {
            h2 id="looks" { "Last looks" }
            @if looks.is_empty() { p class="soft" { "The channel was not looked at yet." } }
            ul class="lines" {
                @for Look { since, at, times, succeeded, text: said } in looks.iter().rev().take(4) {
                    li {
                        p class="row" {
                            @if *succeeded { (badge(Mood::Good, "looked")) }
                            @else { (badge(Mood::Bad, "failed")) }
                            span class="soft" {
                                (ago(*at, now))
                                @if *times > 1 { ", " (times) " times in " (length(at.duration_since(*since))) }
                            }
                        }
                        (reason(said))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
