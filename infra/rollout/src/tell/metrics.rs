//! Metrics of a cluster in Prometheus' text format. Pure: how things stand goes in, a text comes out.
//!
//! The crates that write this format keep counters of their own; here all is known already, and a text of a dozen
//! metrics is less than their registers.
//!
//! Source: Prometheus, "Exposition formats", "Text-based format"; "Metric and label naming".

use std::{collections::BTreeMap, fmt::Write};

use jiff::Timestamp;

use crate::history::{Direction, Event, Intent, Standing, UnderWay, What};

/// The media type of the format.
pub const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How every metric's name begins.
const PREFIX: &str = "kdistro_rollout_";

/// What can be decided, and its label.
const DECISIONS: [(Intent, &str); 5] = [
    (Intent::Nothing, "nothing"),
    (Intent::Wait, "wait"),
    (Intent::Approve, "approve"),
    (Intent::RollOut, "roll_out"),
    (Intent::Alarm, "alarm"),
];

/// A text that grows by one metric after the other.
#[derive(Default)]
struct Metrics(String);

/// Writes the metrics.
pub fn metrics(standing: &Standing) -> String {
    let mut all = Metrics::default();
    let version = env!("CARGO_PKG_VERSION");
    all.gauge("build_info", "The program.", [(&[("version", version)][..], 1.0)]);
    running(&mut all, standing);
    under_way(&mut all, standing);
    held(&mut all, standing);
    looks(&mut all, standing);
    outcomes(&mut all, standing);
    steps(&mut all, standing);
    all.0
}

fn running(all: &mut Metrics, standing: &Standing) {
    if let (Some(running), Some(follows)) = (&standing.running, &standing.follows) {
        let (release, digest) = (running.name.to_string(), running.digest.to_string());
        let labels = [
            ("cluster", follows.cluster.as_str()),
            ("environment", &follows.environment),
            ("channel", follows.channel.as_str()),
            ("release", &release),
            ("digest", &digest),
        ];
        all.gauge("running_info", "The release that the cluster runs.", [(&labels[..], 1.0)]);
    }
    let since = standing.running_since.map(|since| (&[][..], seconds(since)));
    all.gauge("running_since_timestamp_seconds", "Since when the cluster runs it.", since);
}

fn under_way(all: &mut Metrics, standing: &Standing) {
    let under_way = standing.under_way.as_ref();
    let (steps, done, is_back) = under_way
        .map_or((0, 0, false), |it| (it.steps.len(), it.done, it.direction != Direction::Forward));
    let names = under_way.map(|it| (it.from.name.to_string(), it.to.name.to_string()));
    if let Some((from, to)) = &names {
        let labels = [("from", from.as_str()), ("to", to)];
        all.gauge("under_way_info", "The roll-out that is under way.", [(&labels[..], 1.0)]);
    }
    for (name, help, value) in [
        ("under_way", "Whether a roll-out is under way.", usize::from(under_way.is_some())),
        ("going_back", "Whether it goes back to the release before.", usize::from(is_back)),
        ("steps", "How many steps the roll-out that is under way has.", steps),
        ("steps_done", "How many of them are done; going back, are left to be undone.", done),
    ] {
        all.one(name, help, count(value));
    }
}

fn held(all: &mut Metrics, standing: &Standing) {
    let names: Vec<_> = standing.held.iter().map(|held| held.release.to_string()).collect();
    let labels: Vec<_> = names.iter().map(|name| [("release", name.as_str())]).collect();
    let since = standing.held.iter().map(|held| seconds(held.since));
    let samples = labels.iter().map(|labels| &labels[..]).zip(since);
    all.gauge("held_since_timestamp_seconds", "Since when a release is held.", samples);
    all.one("held_releases", "How many releases are held.", count(names.len()));
    let paused = usize::from(standing.paused.is_some());
    all.one("paused", "Whether somebody paused all roll-outs.", count(paused));
    let labels: Vec<_> = standing.alarms.keys().map(|about| [("about", about.as_str())]).collect();
    let since = standing.alarms.values().map(|alarm| seconds(alarm.since));
    let samples = labels.iter().map(|labels| &labels[..]).zip(since);
    all.gauge("alarm_since_timestamp_seconds", "Since when somebody has to look.", samples);
    all.one("alarms", "How many things somebody has to look at.", count(labels.len()));
    let help = "How many notices wait for somebody who is to be notified.";
    all.one("notices_waiting", help, count(standing.notices_waiting));
}

fn looks(all: &mut Metrics, standing: &Standing) {
    let last = standing.looks.last.last().map(|look| (&[][..], seconds(look.at)));
    let help = "When the channel was looked at last.";
    all.gauge("last_look_timestamp_seconds", help, last);
    let last = standing.looks.succeeded.map(|at| (&[][..], seconds(at)));
    let help = "When it was looked at last and all went well.";
    all.gauge("last_successful_look_timestamp_seconds", help, last);
    if let Some(decided) = &standing.decided {
        let labels = DECISIONS.map(|(verdict, name)| (verdict, [("decision", name)]));
        let samples = labels
            .iter()
            .map(|(verdict, labels)| (&labels[..], count(usize::from(*verdict == decided.what))));
        all.gauge("decision", "What was decided at the last look.", samples);
    }
}

fn outcomes(all: &mut Metrics, standing: &Standing) {
    let end = |name, what| {
        let times = standing.counts.get(&what).copied().unwrap_or_default();
        ([("outcome", name)], times, duration(&standing.events, what))
    };
    let failed = ([("outcome", "failed")], left(standing), None);
    let ends = [end("kept", What::Kept), end("rolled_back", What::RolledBack), failed];
    let counted = ends.iter().map(|(labels, times, _)| {
        (&labels[..], count(usize::try_from(*times).unwrap_or(usize::MAX)))
    });
    all.write("outcomes_total", "How many roll-outs ended how.", "counter", counted);
    let took = ends.iter().filter_map(|(labels, _, took)| Some((&labels[..], (*took)?)));
    let help = "How long the last roll-out took that ended like this.";
    all.gauge("last_duration_seconds", help, took);
}

/// How many roll-outs failed that had no release before to go back to: all that failed, less those that went back to it, and
/// the one that still does.
fn left(standing: &Standing) -> u64 {
    let times = |what| standing.counts.get(&what).copied().unwrap_or_default();
    let is_back = |it: &UnderWay| it.direction != Direction::Forward;
    let goes_back = u64::from(standing.under_way.as_ref().is_some_and(is_back));
    times(What::Failed).saturating_sub(times(What::RolledBack) + goes_back)
}

/// How long each step of the last roll-out took: from the step before it on, or from when that began or was gone on with.
fn steps(all: &mut Metrics, standing: &Standing) {
    let events = &standing.events;
    let began = events.iter().rposition(|event| event.what == What::Began).unwrap_or(0);
    let last = events.get(began..).unwrap_or_default().iter();
    // Meanwhile somebody may hold or approve releases.
    let is_of_it = |event: &&Event| matches!(event.what, What::Began | What::Resumed | What::Step);
    let last: Vec<_> = last.filter(is_of_it).collect();
    let mut took = BTreeMap::new();
    for pair in last.windows(2) {
        let [before, step] = pair else { continue };
        // Source: `Roller`, which writes `etcd (2 of 5)`; one that is undone is another sentence.
        if let Some((name, count)) = step.text.split_once(" (").filter(|_| step.what == What::Step)
            && count.contains(" of ")
        {
            took.insert(name, step.at.duration_since(before.at).as_secs_f64());
        }
    }
    let labels: Vec<_> = took.keys().map(|name| [("step", *name)]).collect();
    let samples = labels.iter().map(|labels| &labels[..]).zip(took.into_values());
    all.gauge("step_seconds", "How long each step of the last roll-out took.", samples);
}

/// How many seconds the last roll-out took that ended like this.
fn duration(events: &[Event], end: What) -> Option<f64> {
    let end = events.iter().rposition(|event| event.what == end)?;
    let before = events.get(..=end)?;
    let ended = before.last()?;
    let began = before.iter().rfind(|it| it.what == What::Began && it.release == ended.release)?;
    Some(ended.at.duration_since(began.at).as_secs_f64())
}

impl Metrics {
    /// A gauge without labels.
    fn one(&mut self, name: &str, help: &str, value: f64) {
        self.gauge(name, help, [(&[][..], value)]);
    }

    fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'a [(&'a str, &'a str)], f64)>,
    ) {
        self.write(name, help, "gauge", samples);
    }

    /// Writes a metric, where it has any sample.
    fn write<'a>(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        samples: impl IntoIterator<Item = (&'a [(&'a str, &'a str)], f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // Writing into memory cannot fail.
        let _ = writeln!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<_> =
                labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
            let labels = labels.join(",");
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(self.0, "{PREFIX}{name}{labels} {value}");
        }
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Seconds since 1970; the milliseconds are exact in a float for longer than this program lives.
fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// A count, which is exact in a float up to 2^53.
fn count(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use kdistro_formats::Digest;
    use proptest::prelude::*;

    use super::*;
    use crate::history::{Alarm, Follows, Look, Looks, Target};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn standing(about: &str) -> Standing {
        let event = |(second, what, text): (i64, What, &str)| {
            let (release, text) = (Some("1-20-2".parse().unwrap()), text.to_owned());
            Event { at: at(second), release, what, text }
        };
        let look =
            Look { since: at(1), at: at(50), times: 2, succeeded: true, text: String::new() };
        Standing {
            follows: Some(Follows {
                cluster: "dev".to_owned(),
                environment: "local".to_owned(),
                channel: "1-20".parse().unwrap(),
            }),
            running: Some(Target {
                name: "1-20-2".parse().unwrap(),
                digest: Digest::from_bytes([0; 32]),
            }),
            running_since: Some(at(42)),
            looks: Looks { succeeded: Some(at(50)), last: vec![look] },
            alarms: [(about.to_owned(), Alarm { since: at(3), text: String::new() })].into(),
            counts: [(What::Kept, 2)].into(),
            events: [
                (1, What::Began, ""),
                (5, What::Step, "cordon (1 of 1)"),
                (9, What::Kept, ""),
                (30, What::Began, ""),
                (32, What::Step, "snapshot of etcd (1 of 2)"),
                (38, What::Held, "of another release"),
                (39, What::Step, "etcd (2 of 2)"),
                (40, What::Step, "etcd is back (1 left)"),
                (42, What::Kept, ""),
            ]
            .map(event)
            .to_vec(),
            ..Standing::default()
        }
    }

    #[test]
    fn the_metrics_say_how_things_stand() {
        let text = metrics(&standing("channel"));
        for line in [
            "kdistro_rollout_running_since_timestamp_seconds 42",
            "kdistro_rollout_under_way 0",
            "kdistro_rollout_alarm_since_timestamp_seconds{about=\"channel\"} 3",
            "kdistro_rollout_outcomes_total{outcome=\"kept\"} 2",
            "kdistro_rollout_outcomes_total{outcome=\"rolled_back\"} 0",
            "kdistro_rollout_last_duration_seconds{outcome=\"kept\"} 12",
            "kdistro_rollout_step_seconds{step=\"etcd\"} 7",
            "kdistro_rollout_step_seconds{step=\"snapshot of etcd\"} 2",
            "kdistro_rollout_last_successful_look_timestamp_seconds 50",
            "# TYPE kdistro_rollout_outcomes_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("step_seconds{").count(), 2, "of the last roll-out alone: {text}");
        assert!(!metrics(&Standing::default()).contains("running"), "nothing runs yet");
    }

    #[test]
    fn a_first_release_that_failed_is_an_outcome_and_one_that_still_goes_back_is_none() {
        let target =
            Target { name: "1-20-2".parse().unwrap(), digest: Digest::from_bytes([0; 32]) };
        let back = UnderWay {
            from: target.clone(),
            to: target,
            steps: Vec::new(),
            done: 0,
            direction: Direction::Back("it ended".to_owned()),
        };
        for (failed, rolled_back, under_way, expected) in [
            (0, 0, None, 0),
            (1, 0, None, 1),
            (2, 2, None, 0),
            (3, 1, Some(back.clone()), 1),
            (3, 1, Some(UnderWay { direction: Direction::Forward, ..back }), 2),
        ] {
            let counts = [(What::Failed, failed), (What::RolledBack, rolled_back)].into();
            let text = metrics(&Standing { under_way, counts, ..Standing::default() });
            for (outcome, times) in [("failed", expected), ("rolled_back", rolled_back)] {
                let line =
                    format!("kdistro_rollout_outcomes_total{{outcome=\"{outcome}\"}} {times}");
                assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_text_of_others_is_one_label_and_makes_no_other_line(about in "\\PC{0,9}|[\"\\\\\n{} =]{0,9}") {
            let (plain, hostile) = (metrics(&standing("x")), metrics(&standing(&about)));
            prop_assert_eq!(plain.lines().count(), hostile.lines().count());
            let begin = "kdistro_rollout_alarm_since_timestamp_seconds{about=";
            let line = hostile.lines().find_map(|line| line.strip_prefix(begin)).unwrap();
            // The format escapes as JSON does, and no control character but the end of a line.
            let mut label = serde_json::Deserializer::from_str(line).into_iter::<String>();
            prop_assert_eq!(label.next().unwrap().unwrap(), about);
            prop_assert_eq!(&line[label.byte_offset()..], "} 3");
        }
    }
}
