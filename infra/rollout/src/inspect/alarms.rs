//! What somebody has to look at after a look, and what is over: only what was looked at is. Pure.

use std::collections::BTreeSet;

use kdistro_formats::terminal::printable;
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

/// A line that is the same again when a program is begun again, and does not count.
fn strange(finding: &Finding) -> Option<String> {
    let verdict = &finding.verdict;
    if !matches!(verdict, Verdict::Strange | Verdict::TooLarge(_) | Verdict::OfOther(_)) {
        return None;
    }
    match &finding.subject {
        Subject::Process { path, digest, .. } => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let digest = digest.map(|digest| format!("{digest} ")).unwrap_or_default();
            let (name, path) = (printable(&name), printable(&path.to_string_lossy()));
            Some(format!("{name} {verdict}: {digest}{path}"))
        }
        Subject::Image { name, digest, .. } => {
            Some(format!("image {} {verdict}: {digest}", printable(name)))
        }
        Subject::Container { .. } | Subject::Containers => None,
    }
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
        for verdict in [Verdict::Strange, Verdict::TooLarge(1 << 40)] {
            let found = alarms(vec![process(verdict), image(Verdict::OfRelease)], partly);
            assert!(matches!(&found[0], Becomes::Raised(text) if text.contains("kubelet")));
            assert_eq!(found[1], Becomes::Same);
        }
    }

    #[test]
    fn what_the_key_did_not_sign_is_an_alarm_about_the_store() {
        let differs = || Verdict::StoreDiffers("`a` of the store is b".to_owned());
        let found = alarms(vec![process(differs()), process(differs())], WHOLE);
        let raised = Becomes::Raised("`a` of the store is b".to_owned());
        assert_eq!(found, [Becomes::Same, Becomes::Over, raised]);
    }

    #[test]
    fn the_text_of_an_alarm_is_the_same_for_the_same_and_has_an_end() {
        let with_id = |id, path: &str| {
            let digest = Some(Digest::from_bytes([1; 32]));
            let subject = Subject::Process { id, path: path.into(), deleted: id == 9, digest };
            Finding { subject, verdict: Verdict::Strange }
        };
        let raised = |findings| match alarms(findings, WHOLE) {
            found if matches!(found[0], Becomes::Raised(_)) => found[0].clone(),
            found => panic!("{found:?}"),
        };
        let first = raised(vec![with_id(7, "/b"), with_id(8, "/a"), with_id(9, "/a")]);
        assert_eq!(first, raised(vec![with_id(9, "/a"), with_id(10, "/b")]));
        let digest = Digest::from_bytes([1; 32]);
        let lines = format!("a STRANGE: {digest} /a\nb STRANGE: {digest} /b");
        assert_eq!(first, Becomes::Raised(lines));
        let many = (0..500).map(|id| with_id(id, &format!("/é{id}"))).collect();
        let Becomes::Raised(text) = raised(many) else { panic!() };
        assert!((4090..=4096).contains(&text.len()), "{}", text.len());
        let images = |containers| {
            let mut one = image(Verdict::OfOther("1-20-1".parse().unwrap()));
            if let Subject::Image { containers: count, .. } = &mut one.subject {
                *count = containers;
            }
            alarms(vec![one], WHOLE)[1].clone()
        };
        assert_eq!(images(1), images(2), "how many containers there are is of one moment");
    }
}
