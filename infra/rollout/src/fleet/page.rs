//! The fleet as one HTML document, and as a table for a terminal. Pure.

use std::fmt::Write;

use jiff::Timestamp;
use kdistro_verify::check::Outcome;
use maud::{Markup, html};

use super::{Cluster, Fleet, fixes::Fix};
use crate::{
    html::{Mood, ago, badge, distance, document, text, when},
    report::{Reported, Verdict},
};

/// Writes the fleet as a page; `cve` is what was asked for.
pub fn page(fleet: &Fleet, cve: Option<&str>, now: Timestamp) -> String {
    let body = html! {
        header {
            h1 { "Fleet" }
            @match fleet.outcome() {
                Outcome::Verified => (badge(Mood::Good, "all is well")),
                Outcome::Unknown => (badge(Mood::Wait, "not all could be told")),
                Outcome::Differs => (badge(Mood::Bad, "somebody has to look")),
            }
        }
        main {
            (numbers(fleet, cve))
            @if !fleet.ignored.is_empty() || !fleet.missing.is_empty() { (not_counted(fleet)) }
            section aria-labelledby="clusters" {
                h2 id="clusters" { "Clusters" }
                div class="wide" role="region" aria-label="The table of clusters" tabindex="0" { (rows(&fleet.clusters, cve, now)) }
            }
        }
        footer { "As of " (when(now)) " · kdistro-rollout " (env!("CARGO_PKG_VERSION")) }
    };
    document("Fleet", &body)
}

fn numbers(fleet: &Fleet, cve: Option<&str>) -> Markup {
    let count = |is: fn(&Cluster) -> bool| fleet.clusters.iter().filter(|it| is(it)).count();
    let lacks = cve.map(|cve| (cve, count(|it| it.fix == Some(Fix::Lacks))));
    let unknown = count(|it| matches!(it.fix, Some(Fix::Unknown(_) | Fix::Forged(_))));
    html! {
        section aria-labelledby="numbers" {
            h2 id="numbers" { "In numbers" }
            dl class="numbers" {
                (number("clusters", fleet.clusters.len()))
                @if let Some((cve, lacks)) = lacks {
                    (number(&format!("lack {cve}"), lacks))
                    (number("could not be told", unknown))
                }
                (number("hold a release", count(|it| !it.holds.is_empty())))
                (number("are silent", count(|it| it.silent)))
                (number("do not count", fleet.ignored.len() + fleet.missing.len()))
            }
        }
    }
}

fn number(name: &str, number: usize) -> Markup {
    html! { div { dt { (text(name)) } dd { (number) } } }
}

fn not_counted(fleet: &Fleet) -> Markup {
    html! {
        section class="alarm" aria-labelledby="ignored" {
            h2 id="ignored" { "Not counted" }
            ul class="lines" {
                @for ignored in &fleet.ignored {
                    li { strong { (text(&ignored.file)) } ": " (text(&ignored.why)) }
                }
                @for name in &fleet.missing {
                    li { strong { (text(name)) } ": its key is known, and no report of it counts" }
                }
            }
        }
    }
}

fn rows(clusters: &[Cluster], cve: Option<&str>, now: Timestamp) -> Markup {
    html! {
        table {
            thead {
                tr {
                    @for name in ["Cluster", "Runs", "Since", "Holds"] { th scope="col" { (name) } }
                    @if let Some(cve) = cve { th scope="col" { (text(cve)) } }
                    th scope="col" { "Reported" }
                }
            }
            tbody { @for cluster in clusters { (row(cluster, cve.is_some(), now)) } }
        }
    }
}

fn row(cluster: &Cluster, asked: bool, now: Timestamp) -> Markup {
    html! {
        tr {
            th scope="row" { (text(&cluster.name)) }
            @if let Some(runs) = &cluster.runs {
                td class="name" { (runs.release) }
                td class="time" { (ago(runs.since, now)) }
            } @else {
                td class="soft" { "nothing yet" }
                td {}
            }
            td { @for held in &cluster.holds { p class="row" { (held_badge(held)) span class="time" { (ago(held.since, now)) } } } }
            @if asked { td { @if let Some(fix) = &cluster.fix { (fix_badge(fix)) } } }
            td class="time" {
                @if cluster.silent { (badge(Mood::Bad, "silent")) " " }
                (ago(cluster.reported, now))
            }
        }
    }
}

fn held_badge(held: &Reported) -> Markup {
    let (mood, how) = match held.verdict {
        Verdict::RolledBack => (Mood::Bad, "failed"),
        Verdict::Held | Verdict::Kept => (Mood::Wait, "kept away"),
    };
    badge(mood, &format!("{} {how}", held.release))
}

fn fix_badge(fix: &Fix) -> Markup {
    match fix {
        Fix::Has => badge(Mood::Good, "has it"),
        Fix::Lacks => badge(Mood::Bad, "lacks it"),
        Fix::Unknown(why) | Fix::Forged(why) => {
            html! { (badge(Mood::Wait, "could not tell")) p class="soft" { (text(why)) } }
        }
    }
}

/// Writes the fleet as a table for a terminal.
pub fn table(fleet: &Fleet, now: Timestamp) -> String {
    let width = fleet.clusters.iter().map(|it| it.name.len()).max().unwrap_or_default().max(7);
    let mut lines = format!(
        "{:<width$}  {:<10}  {:<20}  {:<14}  notes\n",
        "cluster", "runs", "since", "reported"
    );
    for cluster in &fleet.clusters {
        let Cluster { name, reported, runs, .. } = cluster;
        let (release, since) = runs.as_ref().map_or_else(
            || ("nothing".to_owned(), String::new()),
            |runs| (runs.release.to_string(), shown(runs.since)),
        );
        let reported = distance(now.duration_since(*reported));
        // Writing into memory cannot fail.
        let _ = writeln!(
            lines,
            "{name:<width$}  {release:<10}  {since:<20}  {reported:<14}  {}",
            notes(cluster).join("; ")
        );
    }
    for name in &fleet.missing {
        let _ = writeln!(lines, "{name:<width$}  no report of it counts");
    }
    for ignored in &fleet.ignored {
        let (file, why) = (text(&ignored.file), text(&ignored.why));
        let _ = writeln!(lines, "not counted: {file}: {why}");
    }
    lines
}

fn notes(cluster: &Cluster) -> Vec<String> {
    let mut notes = Vec::new();
    match &cluster.fix {
        Some(Fix::Lacks) => notes.push("lacks the fix".to_owned()),
        Some(Fix::Has) => notes.push("has the fix".to_owned()),
        Some(Fix::Unknown(why) | Fix::Forged(why)) => {
            notes.push(format!("could not tell: {}", text(why)));
        }
        None => {}
    }
    if cluster.silent {
        notes.push("silent".to_owned());
    }
    for held in &cluster.holds {
        let how = if held.verdict == Verdict::RolledBack { ", where it failed" } else { "" };
        notes.push(format!("holds {} since {}{how}", held.release, shown(held.since)));
    }
    notes
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
