//! The announcement of a release, which nothing signs: it may be missing, and must not say other than what is signed.

use kdistro_formats::{
    announcement::{Announcement, Document, SCHEMA, Severity},
    canonical, layout,
    release::Release,
};
use kdistro_verify::{
    check::{Outcome, Scope},
    hash,
};

use crate::{
    content::name,
    defects::{assert_differs, the_manifest},
    publisher::Publisher,
};

/// The announcement of release 3 as it is published.
fn announcement(publisher: &Publisher) -> Announcement {
    let document = |name: &str| {
        let content = String::from_utf8(publisher.read(name)).unwrap();
        let sha256 = hash::sha256(content.as_bytes());
        Document { uri: format!("https://releases.example/{name}"), sha256, content: Some(content) }
    };
    let manifest = document(&the_manifest());
    let release = Release::from_yaml(manifest.content.as_ref().unwrap()).unwrap();
    Announcement {
        schema: SCHEMA.to_owned(),
        environment: "test".to_owned(),
        channel: name(3).channel,
        number: 3,
        bundle: document(&layout::bundle(&the_manifest())),
        manifest,
        previous: release.spec.previous,
        severity: Severity::Routine,
        fixes: Vec::new(),
        yanked: None,
    }
}

#[test]
fn an_announcement_that_says_what_is_signed_is_verified() {
    let publisher = Publisher::with_releases();
    let file = layout::announcement(&name(3));
    let whole = announcement(&publisher);
    let mut short = whole.clone();
    (short.manifest.content, short.bundle.content) = (None, None);
    for announcement in [whole, short] {
        publisher.write(&file, canonical::to_vec(&announcement).unwrap());
        let report = publisher.check(3, Scope::All);
        assert_eq!(report.outcome, Outcome::Verified, "{report}");
    }
}

#[test]
fn an_announcement_of_something_else_differs() {
    let publisher = Publisher::with_releases();
    let file = layout::announcement(&name(3));
    let good = announcement(&publisher);
    let changes: [fn(&mut Announcement); 11] = [
        |said| said.schema.push('2'),
        |said| said.number = 2,
        |said| said.channel = "1-21".parse().unwrap(),
        |said| said.manifest.sha256 = hash::sha256(b"other"),
        |said| said.bundle.sha256 = hash::sha256(b"other"),
        |said| said.manifest.content = Some("other".to_owned()),
        |said| said.bundle.content = Some("other".to_owned()),
        |said| said.previous = None,
        |said| said.yanked = Some("it bites".to_owned()),
        |said| said.manifest.uri.push('x'),
        |said| said.bundle.uri = "https://elsewhere.example/bundle".to_owned(),
    ];
    for change in changes {
        let mut said = good.clone();
        change(&mut said);
        assert_ne!(said, good);
        publisher.write(&file, canonical::to_vec(&said).unwrap());
        assert_differs(&publisher.check(3, Scope::Release), &file, "announces something else");
    }
    publisher.write(&file, "{}");
    assert_differs(&publisher.check(3, Scope::Release), &file, "");
}

#[test]
fn an_announcement_of_a_yank_says_that_it_is_one() {
    let publisher = Publisher::with_releases();
    let file = layout::yank_announcement(&name(3));
    let mut said = announcement(&publisher);
    publisher.write(&file, canonical::to_vec(&said).unwrap());
    assert_differs(&publisher.check(3, Scope::Release), &file, "announces something else");
    said.yanked = Some("it bites".to_owned());
    publisher.write(&file, canonical::to_vec(&said).unwrap());
    assert_eq!(publisher.check(3, Scope::All).outcome, Outcome::Verified);
}
