//! What somebody has to look at after a look, and what is over: only what was looked at is. Pure.

use std::collections::BTreeSet;

use kdistro_verify::check::{Outcome, chain};

use super::{Finding, InspectError, Report, Subject, Verdict};

/// The longest text of an alarm, in bytes.
const LONGEST_TEXT: usize = 4096;

/// What an alarm about programs is about.
const PROGRAMS: &str = "nodes";
/// What an alarm about images is about.
const IMAGES: &str = "images";
/// What an alarm about what the store has, and the release's key did not sign, is about.
const STORE: &str = "store";

/// What a look was about.
#[derive(Clone, Copy, Debug)]
pub struct Covered {
    /// Whether it was about all processes, not only those below one.
    pub processes: bool,
    /// Whether it was about all containers, and they could be listed.
    pub containers: bool,
}

/// What becomes of an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// It is raised, with this text.
    Raised(String),
    /// It is over.
    Over,
    /// What it was: nobody looked, or could.
    Same,
}

impl Report {
    /// What becomes of each alarm, by what it is about.
    pub fn alarms(&self, covered: Covered) -> [(&'static str, Becomes); 3] {
        let is_program = |one: &&Finding| matches!(one.subject, Subject::Process { .. });
        let (programs, images): (Vec<_>, Vec<_>) = self.findings.iter().partition(is_program);
        // Where nothing of the release runs, or may be seen, nothing is known to be well.
        let all_processes = covered.processes && !programs.is_empty();
        let all: Vec<_> = self.findings.iter().collect();
        [
            (PROGRAMS, becomes(&programs, all_processes, strange)),
            (IMAGES, becomes(&images, covered.containers, strange)),
            (STORE, becomes(&all, all_processes, evidence)),
        ]
    }
}

impl InspectError {
    /// The alarm that this is, with what it is about: only evidence is one.
    pub fn alarm(&self) -> Option<(&'static str, String)> {
        (self.outcome() == Outcome::Differs).then(|| (STORE, text([chain(self)])))
    }
}

/// What becomes of an alarm about some findings, of which `line` says what is alarming.
fn becomes(
    findings: &[&Finding],
    is_covered: bool,
    line: fn(&Finding) -> Option<String>,
) -> Becomes {
    let alarming = text(findings.iter().filter_map(|one| line(one)));
    if !alarming.is_empty() {
        return Becomes::Raised(alarming);
    }
    let is_unread =
        |one: &&Finding| matches!(one.verdict, Verdict::Unread(_) | Verdict::StoreDiffers(_));
    if is_covered && !findings.iter().any(is_unread) { Becomes::Over } else { Becomes::Same }
}

fn strange(finding: &Finding) -> Option<String> {
    let is_strange = matches!(finding.verdict, Verdict::Strange | Verdict::OfOther(_));
    is_strange.then(|| finding.to_string())
}

fn evidence(finding: &Finding) -> Option<String> {
    match &finding.verdict {
        Verdict::StoreDiffers(why) => Some(why.clone()),
        _ => None,
    }
}

/// The text of an alarm: each line once, sorted, so that the same is the same text.
fn text(lines: impl IntoIterator<Item = String>) -> String {
    let lines: BTreeSet<_> = lines.into_iter().collect();
    let mut text = lines.into_iter().collect::<Vec<_>>().join("\n");
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    text
}

#[cfg(test)]
mod tests {
    use kdistro_formats::Digest;

    use super::*;

    const WHOLE: Covered = Covered { processes: true, containers: true };

    fn process(verdict: Verdict) -> Finding {
        let digest = Some(Digest::from_bytes([1; 32]));
        let path = "/usr/bin/kubelet".into();
        let subject = Subject::Process { id: 7, path, deleted: false, digest };
        Finding { subject, verdict }
    }

    fn image(verdict: Verdict) -> Finding {
        let digest = Digest::from_bytes([2; 32]);
        let subject = Subject::Image { name: "r/etcd:1".to_owned(), digest, containers: 3 };
        Finding { subject, verdict }
    }

    fn alarms(findings: Vec<Finding>, covered: Covered) -> Vec<Becomes> {
        let (release, manifest) = ("1-20-2".parse().unwrap(), Digest::from_bytes([1; 32]));
        let report = Report { release, manifest, findings, others: 3 };
        report.alarms(covered).into_iter().map(|(_, becomes)| becomes).collect()
    }

    #[test]
    fn an_alarm_is_over_only_where_all_of_it_was_looked_at() {
        use Becomes::{Over, Same};
        let unread = || Verdict::Unread("w".to_owned());
        let well = || vec![process(Verdict::OfRelease), image(Verdict::Known)];
        let imageless =
            Finding { subject: Subject::Container { id: "a".to_owned() }, verdict: unread() };
        let no_ctr = Finding { subject: Subject::Containers, verdict: unread() };
        let partly = Covered { processes: false, containers: false };
        let no_containers = Covered { containers: false, ..WHOLE };
        for (findings, covered, expected) in [
            (well(), WHOLE, [Over, Over, Over]),
            (well(), partly, [Same, Same, Same]),
            (well(), no_containers, [Over, Same, Over]),
            (vec![], WHOLE, [Same, Over, Same]),
            (vec![process(Verdict::OfRelease), process(unread())], WHOLE, [Same, Over, Same]),
            (vec![process(unread()), image(unread())], WHOLE, [Same, Same, Same]),
            (vec![process(Verdict::OfRelease), imageless], WHOLE, [Over, Same, Same]),
            (vec![process(Verdict::OfRelease), no_ctr], no_containers, [Over, Same, Same]),
        ] {
            assert_eq!(alarms(findings.clone(), covered), expected, "{findings:?} {covered:?}");
        }
    }

    #[test]
    fn what_is_strange_is_raised_also_where_not_all_was_looked_at() {
        let partly = Covered { processes: false, containers: false };
        let found = alarms(vec![process(Verdict::Strange), image(Verdict::OfRelease)], partly);
        assert!(matches!(&found[0], Becomes::Raised(text) if text.contains("kubelet")));
        assert_eq!(found[1], Becomes::Same);
    }

    #[test]
    fn what_the_key_did_not_sign_is_an_alarm_about_the_store() {
        let differs = || Verdict::StoreDiffers("`a` of the store is b".to_owned());
        let found = alarms(vec![process(differs()), process(differs())], WHOLE);
        let raised = Becomes::Raised("`a` of the store is b".to_owned());
        assert_eq!(found, [Becomes::Same, Becomes::Over, raised]);
    }
}
