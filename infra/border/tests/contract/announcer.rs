//! The promises of an announcer.

use std::collections::BTreeMap;

use kdistro_border::{AnnounceError, Announced, Announcer, announcer::LARGEST};
use kdistro_verify::hash::sha256;

/// Runs all promises on an announcer that has announced nothing, and remembers what it announced.
pub(crate) fn check(announcer: &dyn Announcer) {
    check_all(announcer, Announced::Repeated);
}

/// Runs all promises on an announcer that has announced nothing. `repeated` is what it answers to a repeat: one that
/// only hands on cannot know, and says [`Announced::New`].
pub(crate) fn check_all(announcer: &dyn Announcer, repeated: Announced) {
    let attributes = BTreeMap::from([("channel".to_owned(), "1-36".to_owned())]);
    let message = r#"{"default":"{\"number\":7}","email":"Release 7"}"#;
    let announce = |id: &[u8], subject: &str, message: &str| {
        announcer.announce(&sha256(id), subject, message, &attributes)
    };
    assert_eq!(announce(b"1", "Release 7", message).unwrap(), Announced::New);
    assert_eq!(announce(b"1", "Release 7", message).unwrap(), repeated);
    assert_eq!(announce(b"2", "Release 7", message).unwrap(), Announced::New);
    for subject in ["", " ", "two\nlines", "\u{e9}", &"x".repeat(101)] {
        let error = announce(b"3", subject, message).unwrap_err();
        assert!(matches!(error, AnnounceError::Subject { .. }), "{subject:?}: {error}");
    }
    for message in ["", "text", "[]", "{}", r#"{"email":"x"}"#, r#"{"default":1}"#] {
        let error = announce(b"3", "Release 7", message).unwrap_err();
        assert!(matches!(error, AnnounceError::Message { .. }), "{message:?}: {error}");
    }
    // Quotes and key take 14 bytes, the attribute 17.
    let text = |size: usize| format!(r#"{{"default":"{}"}}"#, "x".repeat(size - 14 - 17));
    let error = announce(b"3", "Release 7", &text(LARGEST + 1)).unwrap_err();
    assert!(error.to_string().ends_with("has 262145 bytes; expected at most 262144"), "{error}");
    assert_eq!(announce(b"3", "Release 7", &text(LARGEST)).unwrap(), Announced::New);
}
