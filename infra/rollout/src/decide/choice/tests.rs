use kdistro_formats::{
    Digest,
    channel::{ChannelSpec, Withheld, Yanked},
    release::{API_VERSION, Metadata},
};
use proptest::prelude::*;

use super::*;
use crate::{
    fleet::{Cluster, Ignored},
    policy::{Forerunner, Window},
    report::{Reported, Verdict},
};

/// A Friday, at noon.
const NOW: &str = "2026-11-20T12:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn reference(number: u32) -> ReleaseRef {
    let digest = Digest::from_bytes([u8::try_from(number).unwrap(); 32]);
    ReleaseRef { number, digest }
}

fn index(offered: &[u32], yanked: &[u32], withheld: &[u32]) -> ReleaseChannel {
    let reason = || "loses keys".to_owned();
    ReleaseChannel {
        api_version: API_VERSION.to_owned(),
        kind: "ReleaseChannel".to_owned(),
        metadata: Metadata { creation_timestamp: None, name: "1-20".to_owned() },
        spec: ChannelSpec { channel: None, environment: None, sns_topic_arn: None },
        status: ChannelStatus {
            active: true,
            latest_release: offered.iter().copied().max().unwrap_or_default(),
            releases: offered.iter().map(|number| reference(*number)).collect(),
            supported_until: None,
            withheld: withheld
                .iter()
                .map(|number| Withheld { number: *number, digest: None, reason: reason() })
                .collect(),
            yanked: yanked
                .iter()
                .map(|number| Yanked { number: *number, reason: reason() })
                .collect(),
        },
    }
}

/// A situation in which 5 is rolled out after 3, and what a test changes of it.
#[derive(Debug)]
struct Case {
    channel: ChannelName,
    index: ReleaseChannel,
    running: Option<ReleaseRef>,
    left: Option<ReleaseName>,
    held: Vec<Held>,
    approved: Vec<ReleaseRef>,
    paused: Option<String>,
    facts: Option<Facts>,
    policy: Policy,
    wave: Wave,
    ahead: Fleet,
    now: Timestamp,
}

impl Case {
    fn new() -> Self {
        let date = time("2026-11-20T00:00:00Z");
        Self {
            channel: "1-20".parse().unwrap(),
            index: index(&[1, 3, 4, 5], &[], &[2]),
            running: Some(reference(3)),
            left: None,
            held: Vec::new(),
            approved: Vec::new(),
            paused: None,
            facts: Some(Facts { release: reference(5), date, severity: Severity::Security }),
            policy: Policy::default(),
            wave: Wave::default(),
            ahead: Fleet::default(),
            now: time(NOW),
        }
    }

    fn choose(&self) -> Decision {
        choose(&Situation {
            channel: &self.channel,
            index: &self.index,
            running: self.running.as_ref(),
            left: self.left.as_ref(),
            held: &self.held,
            approved: &self.approved,
            paused: self.paused.as_deref(),
            facts: self.facts.as_ref(),
            policy: &self.policy,
            wave: &self.wave,
            ahead: &self.ahead,
            now: self.now,
        })
    }

    fn of_severity(mut self, severity: Severity) -> Self {
        self.facts.as_mut().unwrap().severity = severity;
        self
    }
}

/// What a cluster says of releases of the channel.
fn said(releases: &[(&str, Verdict)]) -> Cluster {
    let reported = |(name, verdict): &(&str, Verdict)| {
        let release: ReleaseName = name.parse().unwrap();
        let digest = Some(reference(release.number).digest);
        Reported { release, digest, verdict: *verdict, since: time(NOW) }
    };
    let (runs, holds) = releases
        .iter()
        .map(reported)
        .partition::<Vec<_>, _>(|reported| reported.verdict == Verdict::Kept);
    Cluster {
        name: "first".to_owned(),
        number: 1,
        reported: time(NOW),
        silent: false,
        runs: runs.into_iter().next(),
        holds,
        fix: None,
    }
}

/// Lets the cluster wait for others.
fn behind(case: &mut Case, clusters: &[&str]) {
    let forerunner =
        |name: &&str| Forerunner { cluster: (*name).to_owned(), key: "first.pub".into() };
    case.wave.behind = clusters.iter().map(forerunner).collect();
}

/// The kind of a decision, the number it is about, and when to decide again.
fn short(decision: &Decision) -> String {
    match decision {
        Decision::Nothing { .. } => "nothing".to_owned(),
        Decision::Alarm { .. } => "alarm".to_owned(),
        Decision::RollOut { release, .. } => format!("roll out {}", release.number),
        Decision::Approve { release, .. } => format!("approve {}", release.number),
        Decision::Wait { release, until: Some(until), .. } => {
            format!("wait {} until {until}", release.number)
        }
        Decision::Wait { release, until: None, .. } => format!("wait {}", release.number),
    }
}

fn expect(change: impl Fn(&mut Case), decision: &str, why: &str) {
    let mut case = Case::new();
    change(&mut case);
    let found = case.choose();
    assert_eq!(short(&found), decision, "{}", found.why());
    assert!(found.why().contains(why), "{}", found.why());
}

#[test]
fn a_channel_is_left_for_the_next_and_for_no_other() {
    let left = |name: &'static str| {
        move |case: &mut Case| {
            (case.running, case.left) = (None, Some(name.parse().unwrap()));
        }
    };
    expect(left("1-19-40"), "roll out 5", "1-20-5 is rolled out: channel 1-20 follows on 1-19-40");
    expect(left("1-21-1"), "alarm", "1-21-1 runs, and channel 1-20 is an older one");
    for far in ["1-18-4", "1-9-4", "2-19-4"] {
        let decision = if far.starts_with('2') { "an older one" } else { "in turn" };
        expect(left(far), "alarm", decision);
    }
}

#[test]
fn the_newest_release_that_can_be_used_is_rolled_out() {
    expect(|_| {}, "roll out 5", "1-20-5 is rolled out: it is newer than 1-20-3");
    expect(|case| case.running = None, "roll out 5", "it is the first here");
    expect(
        |case| case.running = Some(reference(5)),
        "nothing",
        "1-20-5 runs, which is the newest of channel 1-20",
    );
    expect(|case| case.facts = None, "nothing", "1-20-5 is not verified yet");
    let older = |case: &mut Case| case.facts.as_mut().unwrap().release = reference(4);
    expect(older, "nothing", "1-20-5 is not verified yet");
    let other = |case: &mut Case| {
        case.facts.as_mut().unwrap().release.digest = Digest::from_bytes([9; 32]);
    };
    expect(other, "nothing", "1-20-5 is not verified yet");
    expect(|case| case.index.status.releases.clear(), "alarm", "1-20-3 runs, but the channel's");
    let empty = |case: &mut Case| {
        case.index = index(&[], &[], &[2]);
        case.running = None;
    };
    expect(empty, "nothing", "channel 1-20 offers no release that can be used");
}

#[test]
fn what_is_yanked_withheld_or_held_is_passed_over() {
    let with = |offered: &'static [u32], yanked: &'static [u32], withheld: &'static [u32]| {
        move |case: &mut Case| {
            case.index = index(offered, yanked, withheld);
            case.facts.as_mut().unwrap().release = reference(4);
        }
    };
    expect(with(&[3, 4, 5], &[5], &[]), "roll out 4", "newer than 1-20-3");
    expect(with(&[3, 4], &[], &[5]), "roll out 4", "newer than 1-20-3");
    expect(
        with(&[3, 4, 5], &[4, 5], &[]),
        "nothing",
        "1-20-3 runs, and nothing newer can be used; 1-20-4 was yanked: loses keys; 1-20-5 was yanked: loses keys",
    );
    let held = |case: &mut Case| {
        case.held.push(Held { number: 5, reason: "its API server did not answer".to_owned() });
        case.facts.as_mut().unwrap().release = reference(4);
    };
    expect(held, "roll out 4", "newer than 1-20-3");
    let all = |case: &mut Case| {
        held(case);
        case.held.push(Held { number: 4, reason: "said so".to_owned() });
    };
    expect(
        all,
        "nothing",
        "1-20-4 is held: said so; 1-20-5 is held: its API server did not answer",
    );
}

#[test]
fn a_running_release_that_was_yanked_is_left_forwards_and_never_backwards() {
    let yanked = |case: &mut Case| case.index.status.yanked = index(&[], &[3], &[]).status.yanked;
    expect(
        yanked,
        "roll out 5",
        "1-20-5 is rolled out: 1-20-3, which runs, was yanked: loses keys",
    );
    // Whatever is newer will do, however small.
    let small = |case: &mut Case| {
        yanked(case);
        case.policy.severity = Severity::Critical;
    };
    expect(small, "roll out 5", "was yanked");
    let newest = |case: &mut Case| {
        case.running = Some(reference(5));
        case.index.status.yanked = index(&[], &[5], &[]).status.yanked;
    };
    expect(
        newest,
        "alarm",
        "1-20-5, which runs, was yanked: loses keys; there is nothing newer to go to",
    );
    // It waits for a window as any other.
    let later = |case: &mut Case| {
        yanked(case);
        case.policy.windows = vec![Window::parse("weekdays 02:00 to 05:00").unwrap()];
    };
    expect(later, "wait 5 until 2026-11-23T02:00:00Z", "next window");
}

#[test]
fn a_running_release_that_the_index_knows_otherwise_is_an_alarm() {
    let other =
        |case: &mut Case| case.running.as_mut().unwrap().digest = Digest::from_bytes([9; 32]);
    expect(other, "alarm", "1-20-3 runs as sha256:0909");
    expect(
        |case| case.running = Some(reference(9)),
        "alarm",
        "1-20-9 runs, but the channel's index does not",
    );
    // A number that was withdrawn after it ran is left.
    let withdrawn = |case: &mut Case| case.index = index(&[4, 5], &[], &[3]);
    expect(withdrawn, "roll out 5", "1-20-3, which runs, is withheld: loses keys");
}

#[test]
fn the_policy_says_what_is_wanted_and_when() {
    expect(
        |case| case.policy.severity = Severity::Critical,
        "nothing",
        "1-20-5 is security; the policy asks for critical at least",
    );
    let first = |case: &mut Case| {
        case.policy.severity = Severity::Critical;
        case.running = None;
    };
    expect(first, "roll out 5", "it is the first here");
    let hours = |hours: u32| Length::from_secs(hours * 3600);
    expect(|case| case.policy.maximum_age = Some(hours(12)), "roll out 5", "");
    expect(
        |case| case.policy.maximum_age = Some(hours(11)),
        "alarm",
        "is of 2026-11-20T00:00:00Z, more than 11h ago: newer ones may be kept from this cluster",
    );
    expect(|case| case.wave.after = hours(12), "roll out 5", "");
    expect(
        |case| case.wave.after = hours(24),
        "wait 5 until 2026-11-21T00:00:00Z",
        "1-20-5 is rolled out here 24h after its date, 2026-11-20T00:00:00Z",
    );
    expect(
        |case| case.paused = Some("freeze".to_owned()),
        "wait 5",
        "roll-outs are paused: freeze",
    );
    let window = |case: &mut Case| {
        case.policy.windows = vec![Window::parse("weekdays 02:00 to 05:00").unwrap()];
    };
    expect(window, "wait 5 until 2026-11-23T02:00:00Z", "which opens at 2026-11-23T02:00:00Z");
    let inside = |case: &mut Case| {
        window(case);
        case.now = time("2026-11-23T02:00:00Z");
    };
    expect(inside, "roll out 5", "newer than");
}

#[test]
fn an_emergency_waits_for_no_window_and_for_all_else() {
    let emergency = || {
        let mut case = Case::new().of_severity(Severity::Critical);
        case.policy.windows = vec![Window::parse("weekdays 02:00 to 05:00").unwrap()];
        case.policy.emergency = Some(Severity::Critical);
        case
    };
    let decision = emergency().choose();
    assert_eq!(short(&decision), "roll out 5");
    assert!(
        decision.why().ends_with("and critical releases wait for no window"),
        "{}",
        decision.why()
    );
    assert!(
        short(&emergency().of_severity(Severity::Security).choose()).starts_with("wait 5 until")
    );
    let none = Case { policy: Policy { emergency: None, ..emergency().policy }, ..emergency() };
    assert!(short(&none.choose()).starts_with("wait 5 until"));
    let paused = Case { paused: Some("freeze".to_owned()), ..emergency() };
    assert_eq!(short(&paused.choose()), "wait 5");
    let wave =
        Case { wave: Wave { after: Length::from_secs(86_400), ..Wave::default() }, ..emergency() };
    assert_eq!(short(&wave.choose()), "wait 5 until 2026-11-21T00:00:00Z");
}

#[test]
fn a_release_waits_until_every_cluster_that_goes_before_has_kept_it() {
    use Verdict::{Held, Kept, RolledBack};
    let before = "1-20-5 waits: first, which goes before, ";
    for (releases, waits) in [
        (&[("1-20-5", Kept)][..], None),
        (&[("1-20-6", Kept)], None),
        (&[("1-20-5", Kept), ("1-20-4", RolledBack)], None),
        (&[("1-20-5", Kept), ("1-20-6", RolledBack)], None),
        (&[], Some("runs nothing yet")),
        (&[("1-20-4", Kept)], Some("runs 1-20-4")),
        (&[("1-19-40", Kept)], Some("runs 1-19-40")),
        (&[("1-21-7", Kept)], Some("runs 1-21-7")),
        (&[("1-20-3", Kept), ("1-20-5", RolledBack)], Some("holds it: it failed there")),
        (&[("1-20-5", RolledBack)], Some("holds it: it failed there")),
        (&[("1-20-6", Kept), ("1-20-5", RolledBack)], Some("holds it: it failed there")),
        (&[("1-20-5", Kept), ("1-20-5", Held)], Some("holds it: somebody keeps it away")),
    ] {
        let change = |case: &mut Case| {
            behind(case, &["first"]);
            case.ahead.clusters.push(said(releases));
        };
        let expected = waits.map(|why| format!("{before}{why}"));
        let decision = if waits.is_some() { "wait 5" } else { "roll out 5" };
        expect(change, decision, expected.as_deref().unwrap_or("is rolled out"));
    }
}

#[test]
fn who_goes_before_is_believed_of_the_listed_content_and_of_its_own_report() {
    let kept = || said(&[("1-20-5", Verdict::Kept)]);
    let with = |clusters: Vec<Cluster>| {
        move |case: &mut Case| {
            behind(case, &["first"]);
            case.ahead.clusters = clusters.clone();
        }
    };
    let other = |digest| {
        let mut cluster = kept();
        cluster.runs.as_mut().unwrap().digest = digest;
        cluster
    };
    let mixed = "first, which goes before, runs 1-20-5 as sha256:0909";
    expect(with(vec![other(Some(Digest::from_bytes([9; 32])))]), "wait 5", mixed);
    expect(with(vec![other(None)]), "wait 5", "runs 1-20-5 as something, but the channel's index");
    let another = Cluster { name: "second".to_owned(), ..kept() };
    let unread = "first, which goes before, has no report that can be believed: none was read";
    expect(with(vec![another.clone()]), "wait 5", unread);
    let forged = |case: &mut Case| {
        with(vec![another.clone()])(case);
        let (file, why) = ("first.json".to_owned(), "not signed by the cluster's key".to_owned());
        case.ahead.ignored.push(Ignored { file, why });
    };
    let why = "has no report that can be believed: not signed by the cluster's key";
    expect(forged, "wait 5", why);
    // Each one that is waited for is named, and no other.
    let several = |case: &mut Case| {
        behind(case, &["first", "second", "third"]);
        case.ahead.clusters = vec![said(&[("1-20-4", Verdict::Kept)]), another.clone()];
    };
    let why = "1-20-5 waits: first, which goes before, runs 1-20-4; third, which goes before, has";
    expect(several, "wait 5", why);
}

#[test]
fn other_clusters_are_waited_for_after_the_delay_and_before_the_window_emergency_or_not() {
    let waits = |severity| {
        let mut case = Case::new().of_severity(severity);
        behind(&mut case, &["first"]);
        case.policy.windows = vec![Window::parse("weekdays 02:00 to 05:00").unwrap()];
        case.policy.emergency = Some(Severity::Critical);
        case
    };
    for severity in [Severity::Security, Severity::Critical] {
        assert_eq!(short(&waits(severity).choose()), "wait 5");
        let mut delayed = waits(severity);
        delayed.wave.after = Length::from_secs(86_400);
        assert_eq!(short(&delayed.choose()), "wait 5 until 2026-11-21T00:00:00Z");
    }
    let mut kept = waits(Severity::Critical);
    kept.ahead.clusters.push(said(&[("1-20-5", Verdict::Kept)]));
    assert_eq!(short(&kept.choose()), "roll out 5");
    assert!(short(&kept.of_severity(Severity::Security).choose()).starts_with("wait 5 until"));
    // A yanked release is left behind others, too.
    let mut yanked = waits(Severity::Critical);
    yanked.index.status.yanked = index(&[], &[3], &[]).status.yanked;
    assert_eq!(short(&yanked.choose()), "wait 5");
}

#[test]
fn an_approval_is_of_one_content_and_asked_for_before_the_window() {
    let manual = |case: &mut Case| {
        case.policy.approval = Approval::Manual;
        case.policy.windows = vec![Window::parse("weekdays 02:00 to 05:00").unwrap()];
    };
    expect(manual, "approve 5", "1-20-5 is verified, and waits for somebody to approve it");
    let approved = |release: ReleaseRef| {
        move |case: &mut Case| {
            manual(case);
            case.approved.push(release.clone());
        }
    };
    expect(approved(reference(5)), "wait 5 until 2026-11-23T02:00:00Z", "next window");
    expect(approved(reference(4)), "approve 5", "");
    let other = ReleaseRef { number: 5, digest: Digest::from_bytes([9; 32]) };
    expect(approved(other), "approve 5", "");
}

#[test]
fn a_release_is_as_urgent_as_what_it_fixes_here() {
    use Severity::{Critical, Routine, Security};
    let set = |fixes: &[&str]| fixes.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let patch = |(fix, critical): (&str, bool)| {
        let (fixes, digest) = (vec![fix.to_owned()], Digest::from_bytes([1; 32]));
        AppliedPatch { name: "0001-a.patch".to_owned(), digest, fixes, critical }
    };
    let (none, first) = (set(&[]), set(&["CVE-2026-1"]));
    let one = vec![patch(("CVE-2026-1", false))];
    let two = [("CVE-2026-1", true), ("CVE-2026-2", false)].map(patch).to_vec();
    for (patches, fixed, expected) in [
        (&vec![], Some(&none), Routine),
        (&vec![], None, Routine),
        (&one, Some(&none), Security),
        (&one, Some(&first), Routine),
        (&one, None, Security),
        (&two, Some(&none), Critical),
        (&two, Some(&first), Security),
        (&two, None, Critical),
    ] {
        assert_eq!(severity(patches.iter(), fixed), expected, "{patches:?} {fixed:?}");
    }
}

fn any_severity() -> impl Strategy<Value = Severity> {
    prop_oneof![Just(Severity::Routine), Just(Severity::Security), Just(Severity::Critical)]
}

prop_compose! {
    /// Any channel of numbers up to 8 with any of them withheld, yanked or held, and facts of the candidate or another.
    fn any_case()(
        kinds in proptest::collection::vec(0..4_u8, 8),
        yanked in proptest::collection::vec(any::<bool>(), 8),
        held in proptest::collection::vec(any::<bool>(), 8),
        running in proptest::option::of(1..9_u32),
        (about, age) in (proptest::option::weighted(0.2, 1..9_u32), 0..4000_i64),
        (severity, smallest) in (any_severity(), any_severity()),
        (emergency, maximum) in (proptest::option::of(any_severity()), proptest::option::of(0..4000_u32)),
        (windows, manual, paused) in (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.2)),
        (after, later) in (0..4000_u32, 0..20_000_i64),
        (waits, ahead) in (any::<bool>(), proptest::option::of((1..9_u32, proptest::option::of(1..9_u32)))),
    ) -> Case {
        let numbers = |flags: Vec<bool>| (1..9_u32).zip(flags).filter(|(_, flag)| *flag).map(|(number, _)| number).collect::<Vec<_>>();
        let of_kind = |wanted: fn(u8) -> bool| numbers(kinds.iter().map(|kind| wanted(*kind)).collect());
        let index = index(&of_kind(|kind| kind > 1), &numbers(yanked), &of_kind(|kind| kind == 1));
        let running = running.map(reference);
        let held: Vec<_> = numbers(held).into_iter().map(|number| Held { number, reason: "held".to_owned() }).collect();
        let newest = candidate(&index, running.as_ref(), &held).map(|it| it.number);
        let now = time(NOW) + jiff::SignedDuration::from_mins(later);
        let facts = about.or(newest).map(|number| Facts {
            release: reference(number), date: now - jiff::SignedDuration::from_mins(age), severity,
        });
        let minutes = |minutes: u32| Length::from_secs(minutes * 60);
        Case {
            index, running, held, facts, now,
            approved: if later % 2 == 0 { vec![reference(1 + u32::try_from(later % 8).unwrap())] } else { Vec::new() },
            paused: paused.then(|| "paused".to_owned()),
            policy: Policy {
                severity: smallest,
                maximum_age: maximum.map(minutes),
                windows: if windows { vec![Window::parse("weekdays 22:00 to 05:00").unwrap()] } else { Vec::new() },
                emergency,
                approval: if manual { Approval::Manual } else { Approval::Automatic },
                ..Policy::default()
            },
            wave: Wave {
                after: minutes(after),
                behind: if waits { vec![Forerunner { cluster: "first".to_owned(), key: "first.pub".into() }] } else { Vec::new() },
                reports: None,
            },
            ahead: Fleet {
                clusters: ahead.map(|(runs, holds)| {
                    let runs = (format!("1-20-{runs}"), Verdict::Kept);
                    let all: Vec<_> = holds.map(|held| (format!("1-20-{held}"), Verdict::RolledBack)).into_iter().chain([runs]).collect();
                    said(&all.iter().map(|(name, verdict)| (name.as_str(), *verdict)).collect::<Vec<_>>())
                }).into_iter().collect(),
                ..Fleet::default()
            },
            ..Case::new()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn what_is_rolled_out_may_be(case in any_case()) {
        let decision = case.choose();
        prop_assert!(!decision.why().is_empty());
        let (Decision::RollOut { release, .. } | Decision::Approve { release, .. } | Decision::Wait { release, .. }) = &decision else {
            return Ok(());
        };
        let (status, number) = (&case.index.status, release.number);
        prop_assert!(case.running.as_ref().is_none_or(|running| number > running.number), "a downgrade");
        prop_assert!(status.releases.contains(release), "not offered");
        prop_assert!(!status.yanked.iter().any(|it| it.number == number), "yanked");
        prop_assert!(!status.withheld.iter().any(|it| it.number == number), "withheld");
        prop_assert!(!case.held.iter().any(|it| it.number == number), "held");
        let facts = case.facts.as_ref().unwrap();
        prop_assert_eq!(&facts.release, release, "not verified");
        let age = case.now.duration_since(facts.date);
        prop_assert!(case.policy.maximum_age.is_none_or(|most| age <= most.as_duration()) || case.paused.is_some(), "too old");
        if let Decision::RollOut { .. } = &decision {
            let is_open = case.policy.opens(case.now) == Some(case.now);
            prop_assert!(is_open || case.policy.is_emergency(facts.severity), "outside of windows");
            prop_assert!(case.paused.is_none(), "paused");
            prop_assert!(age >= case.wave.after.as_duration(), "before its turn");
            let kept = |it: &Cluster| it.runs.as_ref().is_some_and(|runs| runs.release.number >= number) && !it.holds.iter().any(|held| held.release.number == number);
            prop_assert!(case.wave.behind.is_empty() || case.ahead.clusters.iter().any(kept), "before who goes before");
            prop_assert!(case.policy.approval == Approval::Automatic || case.approved.contains(release), "not approved");
        }
        if let Decision::Wait { until: Some(until), .. } = &decision {
            prop_assert!(*until > case.now, "it would wait for nothing");
        }
    }

    #[test]
    fn who_waits_long_enough_gets_on(case in any_case()) {
        let Decision::Wait { until: Some(until), .. } = case.choose() else { return Ok(()) };
        // At most a turn, and then a window; for others one may wait for ever.
        let wave = Wave { behind: Vec::new(), ..case.wave };
        let mut case = Case { wave, now: until, policy: Policy { maximum_age: None, ..case.policy }, ..case };
        if let Decision::Wait { until: Some(until), .. } = case.choose() {
            case.now = until;
        }
        prop_assert_eq!(short(&case.choose()), format!("roll out {}", case.facts.as_ref().unwrap().release.number));
    }
}
