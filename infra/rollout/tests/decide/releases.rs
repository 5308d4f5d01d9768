//! A release that the index lists: authentic, in its chain, and as the subscriber demands it.

use std::time::Instant;

use kdistro_formats::{
    Digest, layout,
    release::ReleaseRef,
    statement::{STATEMENT, Statement, Subject, TEST_RESULT},
};
use kdistro_rollout::{
    decide::{
        Publication, Refused, VerifiedRelease,
        demand::{Attested, Demand, NotOlderThan, demands},
        prove,
    },
    policy::{Attestation, Policy},
};
use kdistro_verify::{check::Outcome, hash, store::Reader as _};

use crate::{Watched, channel, content::name, publisher::Publisher, refused};

fn take(
    reader: &Watched,
    publisher: &Publisher,
    number: u32,
    demands: &[Box<dyn Demand>],
) -> Result<VerifiedRelease, Refused> {
    let (source, channel) = (publisher.source(), channel());
    let asked = Publication { reader, source: &source, environment: "test", channel: &channel };
    asked.release(&asked.look(None)?, number, demands)
}

fn taken(publisher: &Publisher, number: u32) -> Result<VerifiedRelease, Refused> {
    take(&Watched::new(publisher), publisher, number, &[])
}

fn demanded(
    publisher: &Publisher,
    demand: impl Demand + 'static,
) -> Result<VerifiedRelease, Refused> {
    take(&Watched::new(publisher), publisher, 3, &[Box::new(demand)])
}

#[test]
fn a_release_is_verified_quickly_and_nothing_large_is_read() {
    let publisher = Publisher::with_releases();
    let reader = Watched::new(&publisher);
    let begun = Instant::now();
    let release = take(&reader, &publisher, 3, &[]).unwrap();
    assert!(begun.elapsed().as_secs_f64() < 1.0, "{:?}", begun.elapsed());
    assert_eq!((release.name.to_string().as_str(), release.name.number), ("1-20-3", 3));
    assert_eq!(release.date.to_string(), "2026-08-01T00:00:00Z");
    assert_eq!(release.manifest.spec.previous.as_ref().unwrap().number, 1);
    assert!(release.fixes().is_empty());
    let opened = reader.opened.into_inner().unwrap();
    let large = ["/artifacts/", "containers/images/", "inputs/"];
    let is_large = |file: &String| large.iter().any(|part| file.contains(part));
    // The provenance of an image lies in the registry, too: it is a signed document.
    let read: Vec<_> = opened.iter().filter(|file| is_large(file)).collect();
    assert!(read.is_empty(), "{read:?}");
}

#[test]
fn a_manifest_with_one_byte_changed_is_refused() {
    let publisher = Publisher::with_releases();
    let file = layout::manifest(&name(3));
    let right = publisher.read(&file);
    for at in (0..right.len()).step_by(right.len() / 7) {
        let mut wrong = right.clone();
        wrong[at] ^= 1;
        publisher.write(&file, &wrong);
        let (error, text) = refused(taken(&publisher, 3));
        assert!(matches!(error, Refused::Release { .. }) && text.contains(&file), "{text}");
        assert_eq!(error.outcome(), Outcome::Differs);
    }
}

#[test]
fn another_manifest_that_is_signed_is_not_the_listed_one() {
    let mut publisher = Publisher::with_releases();
    let file = layout::manifest(&name(3));
    let text = String::from_utf8(publisher.read(&file)).unwrap();
    publisher.write_signed(&file, text + "# signed by the key, and not what the index lists\n");
    let (error, text) = refused(taken(&publisher, 3));
    assert_eq!(error.outcome(), Outcome::Differs);
    assert!(text.contains("lists 3 as sha256:"), "{text}");
}

#[test]
fn a_number_that_is_not_listed_is_refused_withheld_or_not() {
    let publisher = Publisher::with_releases();
    for number in [2, 4] {
        let (error, text) = refused(taken(&publisher, number));
        assert!(matches!(error, Refused::Other { field: "status.releases", .. }), "{text}");
    }
}

#[test]
fn a_release_that_names_another_one_before_it_is_refused() {
    let mut publisher = Publisher::with_releases();
    let wrong = ReleaseRef { number: 1, digest: Digest::from_bytes([1; 32]) };
    publisher.release(4, Some(wrong));
    publisher.write_index();
    let (error, text) = refused(taken(&publisher, 4));
    assert_eq!(error.outcome(), Outcome::Differs);
    assert!(text.contains("does not list 1 as"), "{text}");
}

#[test]
fn a_store_that_shows_other_documents_the_next_time_gains_nothing() {
    let mut publisher = Publisher::with_releases();
    let manifest = layout::manifest(&name(3));
    let other = publisher.read(&layout::manifest(&name(1)));
    // The first two readings are verified; the third is what is taken.
    let later = Some((manifest, 3, other));
    let reader = Watched { later, ..Watched::new(&publisher) };
    let (error, text) = refused(take(&reader, &publisher, 3, &[]));
    assert!(matches!(error, Refused::Other { field: "sha256", .. }), "{text}");
    // An index in which a release fits that does not fit into the one that was looked at.
    let wrong = ReleaseRef { number: 1, digest: Digest::from_bytes([1; 32]) };
    publisher.release(4, Some(wrong.clone()));
    let right = publisher.index.clone();
    publisher.index.status.releases[0] = wrong;
    publisher.write_index();
    let index = layout::channel_index(&channel());
    let other = publisher.read(&index);
    publisher.index = right;
    publisher.write_index();
    let later = Some((index, 2, other));
    let reader = Watched { later, ..Watched::new(&publisher) };
    let (error, text) = refused(take(&reader, &publisher, 4, &[]));
    assert!(matches!(error, Refused::Other { field: "spec.previous", .. }), "{text}");
}

#[test]
fn a_release_whose_date_is_none_is_refused() {
    let mut publisher = Publisher::with_releases();
    let file = layout::manifest(&name(3));
    let text = String::from_utf8(publisher.read(&file)).unwrap();
    assert!(text.contains("2026-08-01T00:00:00Z"));
    let text = text.replace("2026-08-01T00:00:00Z", "the day after tomorrow");
    publisher.write_signed(&file, &text);
    refused(taken(&publisher, 3));
}

#[test]
fn a_store_that_goes_away_half_way_looks_like_no_forgery() {
    let publisher = Publisher::with_releases();
    for file in
        [layout::manifest(&name(3)), layout::plan(&name(3)), layout::provenance(&name(3), "etcd")]
    {
        let reader = Watched { broken: Some(file.clone()), ..Watched::new(&publisher) };
        let (error, text) = refused(take(&reader, &publisher, 3, &[]));
        assert_eq!(error.outcome(), Outcome::Unknown, "{text}");
        assert!(text.contains(&file) && text.contains("503"), "{text}");
    }
}

#[test]
fn no_older_release_than_the_running_one_passes() {
    let publisher = Publisher::with_releases();
    let release = taken(&publisher, 3).unwrap();
    let running = |number, digest| NotOlderThan(ReleaseRef { number, digest });
    let (mine, other) = (release.digest, Digest::from_bytes([1; 32]));
    for passes in [running(3, mine), running(2, other)] {
        demanded(&publisher, passes).unwrap();
    }
    for fails in [running(4, other), running(3, other)] {
        let (error, text) = refused(demanded(&publisher, fails));
        assert_eq!(error.outcome(), Outcome::Differs);
        assert!(text.starts_with("release 1-20-3 does not meet `no downgrade`: "), "{text}");
    }
}

#[test]
fn attestations_that_are_demanded_must_be_there_and_about_the_release() {
    let mut publisher = Publisher::with_releases();
    let of_kind = |kind: &str| Attested(Attestation::Predicate(kind.to_owned()));
    let in_file = |file: &str| Attested(Attestation::File(file.to_owned()));
    for there in [
        of_kind("https://slsa.dev/provenance/v1"),
        of_kind("https://kdistro.dev/rebuild/v1"),
        in_file("rebuild.sigstore.json"),
        in_file("etcd.provenance.sigstore.json"),
    ] {
        demanded(&publisher, there).unwrap();
    }
    for (absent, said) in [
        (of_kind("https://kdistro.dev/gate/v1"), "there is none"),
        (in_file("gate.sigstore.json"), "gate.sigstore.json` is missing"),
    ] {
        let (error, text) = refused(demanded(&publisher, absent));
        assert_eq!(error.outcome(), Outcome::Differs);
        assert!(text.contains(said), "{text}");
    }
    // Another release's, under this one's name, where the store cannot be listed and no one sees it lie there.
    let folder = layout::attestations(&name(3));
    let theirs =
        publisher.read(&format!("{}/rebuild.sigstore.json", layout::attestations(&name(1))));
    publisher.write(&format!("{folder}/rebuild.sigstore.json"), theirs);
    let reader = Watched { lists: false, ..Watched::new(&publisher) };
    let demand = |demand: Attested| -> [Box<dyn Demand>; 1] { [Box::new(demand)] };
    let (_, text) =
        refused(take(&reader, &publisher, 3, &demand(in_file("rebuild.sigstore.json"))));
    assert!(text.contains("is not about 1-20-3 alone"), "{text}");
    let rebuild = demand(of_kind("https://kdistro.dev/rebuild/v1"));
    let (error, text) = refused(take(&reader, &publisher, 3, &rebuild));
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(text.contains("cannot be listed"), "{text}");
    // Somebody else's.
    let other = publisher.attest(Subject::new("x", &Digest::from_bytes([1; 32])));
    let other = kdistro_formats::canonical::to_vec(&other).unwrap();
    publisher.write(&format!("{folder}/rebuild.sigstore.json"), other);
    refused(take(&reader, &publisher, 3, &demand(in_file("rebuild.sigstore.json"))));
}

#[test]
fn tests_that_are_demanded_must_have_passed_and_are_found_without_a_list() {
    let mut publisher = Publisher::with_releases();
    let demand = |attestation| -> [Box<dyn Demand>; 1] { [Box::new(Attested(attestation))] };
    let of_kind = || demand(Attestation::Predicate(TEST_RESULT.to_owned()));
    let in_file = || demand(Attestation::File("test-result.sigstore.json".to_owned()));
    let unlisted = |publisher: &Publisher, demands: &[Box<dyn Demand>]| {
        let reader = Watched { lists: false, ..Watched::new(publisher) };
        take(&reader, publisher, 3, demands)
    };
    let (_, text) = refused(unlisted(&publisher, &of_kind()));
    assert!(text.ends_with("test-result.sigstore.json` is missing"), "{text}");
    let manifest = hash::sha256(&publisher.read(&layout::manifest(&name(3))));
    for (result, passes) in [("FAILED", false), ("WARNED", false), ("PASSED", true)] {
        let bundle = publisher.attest_statement(&Statement {
            kind: STATEMENT.to_owned(),
            subject: vec![Subject::new("1-20-3", &manifest)],
            predicate_type: TEST_RESULT.to_owned(),
            predicate: serde_json::json!({"result": result, "configuration": []}),
        });
        let bundle = kdistro_formats::canonical::to_vec(&bundle).unwrap();
        publisher.write(&layout::test_result(&name(3)), bundle);
        for demands in [of_kind(), in_file()] {
            let taken = unlisted(&publisher, &demands);
            if passes {
                taken.unwrap();
                continue;
            }
            let (error, text) = refused(taken);
            assert_eq!(error.outcome(), Outcome::Differs);
            assert!(text.ends_with(&format!("says {result}, not PASSED")), "{text}");
        }
    }
    // Whoever has the store can lay a statement of the same key under another name.
    let test_result = publisher.read(&layout::test_result(&name(3)));
    let folder = layout::attestations(&name(3));
    publisher.write(&format!("{folder}/rebuild.sigstore.json"), test_result);
    let rebuild = demand(Attestation::File("rebuild.sigstore.json".to_owned()));
    let (_, text) = refused(unlisted(&publisher, &rebuild));
    assert!(text.contains("which stands under another name"), "{text}");
    let provenance = Watched::new(&publisher).list(&folder).unwrap().unwrap();
    let provenance = provenance.iter().find(|it| it.ends_with(layout::PROVENANCE)).unwrap();
    publisher.write(&layout::test_result(&name(3)), publisher.read(provenance));
    for demands in [of_kind(), in_file()] {
        let (error, text) = refused(unlisted(&publisher, &demands));
        assert_eq!(error.outcome(), Outcome::Differs);
        assert!(text.contains("which stands under another name"), "{text}");
    }
}

#[test]
fn a_policy_demands_what_it_names_and_no_downgrade_in_any_case() {
    let publisher = Publisher::with_releases();
    let reader = Watched::new(&publisher);
    let mut policy = Policy::default();
    let newer = ReleaseRef { number: 4, digest: Digest::from_bytes([1; 32]) };
    assert!(demands(&policy, None).is_empty());
    let (_, text) = refused(take(&reader, &publisher, 3, &demands(&policy, Some(&newer))));
    assert!(text.contains("`no downgrade`: 4 runs, which is newer"), "{text}");
    policy.required_attestations = vec![Attestation::File("gate.sigstore.json".to_owned())];
    let (_, text) = refused(take(&reader, &publisher, 3, &demands(&policy, None)));
    assert!(text.contains("`attested by gate.sigstore.json`"), "{text}");
}

#[test]
fn a_release_that_is_known_is_proven_by_itself_and_is_no_other_of_its_name() {
    let publisher = Publisher::with_releases();
    let (source, file) = (publisher.source(), layout::manifest(&name(3)));
    let proven = prove(&Watched::new(&publisher), &source, (&file, None)).unwrap();
    let again = (&*file, Some(proven.digest));
    assert_eq!(prove(&Watched::new(&publisher), &source, again).unwrap().name, proven.name);
    let other = Digest::from_bytes([7; 32]);
    let (error, said) = refused(prove(&Watched::new(&publisher), &source, (&file, Some(other))));
    assert!(said.starts_with("`sha256` of `kubernetes-1-20/"), "{said}");
    assert_eq!(error.outcome(), Outcome::Differs);
    // What is read again after it was verified is not believed for that.
    let mut changing = Watched::new(&publisher);
    changing.later = Some((file.clone(), 3, b"kind: Release".to_vec()));
    assert!(matches!(prove(&changing, &source, (&file, None)), Err(Refused::Other { .. })));
    let mut changing = Watched::new(&publisher);
    changing.later = Some((layout::plan(&proven.name), 1, b"{}".to_vec()));
    assert!(matches!(proven.plan(&changing), Err(Refused::Other { .. })));
    assert!(proven.plan(&Watched::new(&publisher)).is_ok());
}
