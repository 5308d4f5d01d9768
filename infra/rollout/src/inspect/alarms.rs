//! What somebody has to look at after a look, and what is over: only what was looked at is. Pure.

use super::{Finding, Report, Subject, Verdict};

/// What an alarm about programs is about.
const PROGRAMS: &str = "nodes";
/// What an alarm about images is about.
const IMAGES: &str = "images";

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
    pub fn alarms(&self, covered: Covered) -> [(&'static str, Becomes); 2] {
        let is_program = |one: &&Finding| matches!(one.subject, Subject::Process { .. });
        let (programs, images): (Vec<_>, Vec<_>) = self.findings.iter().partition(is_program);
        // Where nothing of the release runs, or may be seen, nothing is known to be well.
        let all_processes = covered.processes && !programs.is_empty();
        [
            (PROGRAMS, becomes(&programs, all_processes)),
            (IMAGES, becomes(&images, covered.containers)),
        ]
    }
}

fn becomes(findings: &[&Finding], is_covered: bool) -> Becomes {
    let alarming = findings.iter().filter(|one| one.verdict.is_alarm());
    let lines: Vec<_> = alarming.map(ToString::to_string).collect();
    if !lines.is_empty() {
        return Becomes::Raised(lines.join("\n"));
    }
    let is_unread = findings.iter().any(|one| matches!(one.verdict, Verdict::Unread(_)));
    if is_covered && !is_unread { Becomes::Over } else { Becomes::Same }
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
            (well(), WHOLE, [Over, Over]),
            (well(), partly, [Same, Same]),
            (well(), no_containers, [Over, Same]),
            (vec![], WHOLE, [Same, Over]),
            (vec![process(Verdict::OfRelease), process(unread())], WHOLE, [Same, Over]),
            (vec![process(unread()), image(unread())], WHOLE, [Same, Same]),
            (vec![process(Verdict::OfRelease), imageless], WHOLE, [Over, Same]),
            (vec![process(Verdict::OfRelease), no_ctr], no_containers, [Over, Same]),
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
}
