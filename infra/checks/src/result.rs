//! What checks came to, and what changed from one run to the next.

use std::fmt::Write as _;

use kdistro_formats::terminal::{printable, printable_lines};
use serde::{Deserialize, Serialize};

/// Why checks with pods are not tried.
pub(crate) const NO_NODE: &str = "the cluster has no node";
/// Why checks of names are not tried.
pub(crate) const NO_DNS: &str = "the cluster has no resolver (`k8s-app=kube-dns`)";
/// How much of what a check wrote is kept, in bytes: the end.
pub(crate) const LONGEST_OUTPUT: usize = 64 * 1024;
/// How long a reason may be, in bytes.
const LONGEST_REASON: usize = 4 * 1024;

/// What a check came to.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold: why.
    Failed(String),
    /// It was not tried: why.
    Skipped(String),
}

/// A check that was run, or not.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CheckResult {
    /// The check's name, the same in every run.
    pub name: String,
    /// What it came to.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// The end of what it wrote, where it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

impl CheckResult {
    /// A result whose reason and output are not longer than is kept.
    pub(crate) fn new(name: &str, outcome: Outcome, seconds: f64, output: &str) -> Self {
        let outcome = match outcome {
            Outcome::Failed(why) => Outcome::Failed(beginning(&why, LONGEST_REASON).to_owned()),
            other => other,
        };
        let output = end(output, LONGEST_OUTPUT).to_owned();
        Self { name: name.to_owned(), outcome, seconds, output }
    }

    /// A check that was not tried.
    pub(crate) fn skipped(name: &str, why: &str) -> Self {
        Self::new(name, Outcome::Skipped(why.to_owned()), 0.0, "")
    }

    /// One line, harmless for a terminal.
    pub fn line(&self) -> String {
        let (word, why) = match &self.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Failed(why) => ("failed", why.as_str()),
            Outcome::Skipped(why) => ("skipped", why.as_str()),
        };
        let line = format!("{word:<8}{:6.1} s  {}", self.seconds, printable(&self.name));
        if why.is_empty() { line } else { format!("{line}: {}", printable(why)) }
    }

    /// Its line, and below it what it wrote, where it failed.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.line());
        for line in printable_lines(&self.output).lines() {
            let _ = writeln!(text, "    {line}");
        }
        text
    }
}

/// The first bytes of a text, up to a border of characters.
fn beginning(text: &str, length: usize) -> &str {
    text.get(..text.floor_char_boundary(length)).unwrap_or_default()
}

/// The last bytes of a text, from a border of characters.
fn end(text: &str, length: usize) -> &str {
    text.get(text.ceil_char_boundary(text.len().saturating_sub(length))..).unwrap_or_default()
}

/// Every check of a run, in the order in which they were asked for.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Report {
    /// The cluster's version of Kubernetes.
    pub kubernetes: String,
    /// What each check came to.
    pub results: Vec<CheckResult>,
}

impl Report {
    /// The checks that failed.
    pub fn failed(&self) -> Vec<&CheckResult> {
        let failed = |one: &&CheckResult| matches!(one.outcome, Outcome::Failed(_));
        self.results.iter().filter(failed).collect()
    }

    /// A line for each check, what failing ones wrote below theirs, and a count; harmless for a terminal.
    pub fn text(&self) -> String {
        let results: String = self.results.iter().map(CheckResult::text).collect();
        results + &self.sum()
    }

    /// The last line of the text: how many checks came to what.
    pub fn sum(&self) -> String {
        let ([passed, failed, skipped], version) = (self.counts(), printable(&self.kubernetes));
        format!("{passed} passed, {failed} failed, {skipped} skipped on {version}\n")
    }

    /// How many checks passed, failed and were skipped.
    pub fn counts(&self) -> [usize; 3] {
        let skipped = |one: &&CheckResult| matches!(one.outcome, Outcome::Skipped(_));
        let (failed, skipped) = (self.failed().len(), self.results.iter().filter(skipped).count());
        let passed = self.results.len() - failed - skipped;
        [passed, failed, skipped]
    }
}

/// What a roll-out changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// What the roll-out broke: it passes no longer, or fails without having failed before.
    pub broken: Vec<CheckResult>,
    /// What fails as it did before.
    pub failed_before: Vec<CheckResult>,
    /// The names of what failed before and passes now.
    pub mended: Vec<String>,
}

impl Comparison {
    /// Why the roll-out failed, a sentence for each check that it broke; none where it broke nothing.
    pub fn why(&self) -> Option<String> {
        let why = |one: &CheckResult| match &one.outcome {
            Outcome::Failed(why) => format!("{} failed: {why}", one.name),
            Outcome::Skipped(why) => format!("{} passed before, and cannot now: {why}", one.name),
            Outcome::Passed => one.name.clone(),
        };
        let whys: Vec<_> = self.broken.iter().map(why).collect();
        (!whys.is_empty()).then(|| whys.join("; "))
    }
}

/// Tells what a roll-out broke from what was broken before it.
///
/// What passed before must pass after: a check that is skipped now, as the node is gone, is broken too.
pub fn compare(before: &Report, after: &Report) -> Comparison {
    let mut comparison = Comparison::default();
    let find = |report: &Report, name: &str| {
        report.results.iter().find(|one| one.name == name).map(|one| one.outcome.clone())
    };
    for result in &after.results {
        match (find(before, &result.name), &result.outcome) {
            (Some(Outcome::Failed(_)), Outcome::Failed(_)) => {
                comparison.failed_before.push(result.clone());
            }
            (Some(Outcome::Failed(_)), Outcome::Passed) => {
                comparison.mended.push(result.name.clone());
            }
            (_, Outcome::Failed(_)) | (Some(Outcome::Passed), Outcome::Skipped(_)) => {
                comparison.broken.push(result.clone());
            }
            _ => {}
        }
    }
    for result in before.results.iter().filter(|one| one.outcome == Outcome::Passed) {
        if find(after, &result.name).is_none() {
            comparison.broken.push(CheckResult::skipped(&result.name, "it was not run"));
        }
    }
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(results: &[(&str, Outcome)]) -> Report {
        let result =
            |(name, outcome): &(&str, Outcome)| CheckResult::new(name, outcome.clone(), 0.5, "");
        let results = results.iter().map(result).collect();
        Report { kubernetes: "v1.20.2".to_owned(), results }
    }

    fn failed() -> Outcome {
        Outcome::Failed("why".to_owned())
    }

    fn skipped() -> Outcome {
        Outcome::Skipped("the cluster has no node".to_owned())
    }

    #[test]
    fn only_what_did_not_fail_before_counts_against_a_roll_out() {
        let before = report(&[
            ("kept", Outcome::Passed),
            ("broken", Outcome::Passed),
            ("old", failed()),
            ("mended", failed()),
            ("untried", skipped()),
        ]);
        let after = report(&[
            ("kept", Outcome::Passed),
            ("broken", failed()),
            ("old", failed()),
            ("mended", Outcome::Passed),
            ("untried", skipped()),
            ("new", failed()),
        ]);
        let compared = compare(&before, &after);
        let names =
            |all: &[CheckResult]| all.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&compared.broken), ["broken", "new"]);
        assert_eq!(names(&compared.failed_before), ["old"]);
        assert_eq!(compared.mended, ["mended"]);
        assert_eq!(compared.why().unwrap(), "broken failed: why; new failed: why");
        assert_eq!(compare(&before, &before).why(), None);
    }

    #[test]
    fn what_passed_and_is_not_tried_any_more_is_broken() {
        let before = report(&[("pods", Outcome::Passed), ("gone", Outcome::Passed)]);
        let compared = compare(&before, &report(&[("pods", skipped())]));
        let why = compared.why().unwrap();
        assert_eq!(
            why,
            "pods passed before, and cannot now: the cluster has no node; gone passed before, and cannot now: it was not run"
        );
    }

    #[test]
    fn texts_are_bounded_and_harmless_for_a_terminal() {
        let output = format!("é{}\u{1b}[31mend", "x".repeat(LONGEST_OUTPUT));
        let why = Outcome::Failed("ü".repeat(LONGEST_REASON));
        let result = CheckResult::new("a\u{1b}b", why, 1.0, &output);
        assert!(result.output.len() <= LONGEST_OUTPUT && result.output.ends_with("end"));
        let report = Report { kubernetes: "v1\u{1b}".to_owned(), results: vec![result] };
        let text = report.text();
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(text.ends_with("0 passed, 1 failed, 0 skipped on v1\\u{1b}\n"), "{text}");
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = report(&[("a", Outcome::Passed), ("b", failed()), ("c", skipped())]);
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains(r#""outcome":{"failed":"why"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
