//! Tests of the patch reader.

use proptest::prelude::*;

use super::*;

const NAME: &str = "0001-fix-it.patch";

fn patch(headers: &str, body: &str) -> String {
    format!(
        "From {} Mon Sep 17 00:00:00 2001\n{headers}\n\n{body}---\n f | 2 +-\n\ndiff --git a/f b/f\n",
        "0".repeat(40)
    )
}

const HEAD: &str =
    "From: A <a@example.org>\nDate: Sat, 21 Nov 2026 09:08:45 +0000\nSubject: [PATCH] Fix it";

fn problems(text: &str) -> Vec<String> {
    let problems = parse(NAME, text.as_bytes()).expect_err("the patch was accepted");
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn reads_trailers_and_subject() {
    let headers = HEAD.replace("Fix it", "=?UTF-8?q?Fix_=C3=A9?=\n =?UTF-8?b?w6Q=?= now");
    let body = "Text.\n\nFixes: CVE-2026-56852\nFixes: CVE-2026-56853\nSeverity: critical\nUpstream: not submitted, because\n it is old\nDrop-when: v1.2.3\nSigned-off-by: A <a@example.org>\n";
    let read = parse(NAME, patch(&headers, body).as_bytes()).unwrap();
    assert_eq!(read.subject, "Fix éä now");
    assert_eq!(read.fixes, ["CVE-2026-56852", "CVE-2026-56853"]);
    assert!(read.critical);
    assert_eq!(read.upstream, Upstream::NotSubmitted("it is old".to_owned()));
    assert_eq!(read.drop_when.unwrap().as_str(), "v1.2.3");
}

#[test]
fn names_what_is_wrong_and_where() {
    let line = |body: &str| problems(&patch(HEAD, body)).join("; ");
    assert_eq!(
        line("Text.\n"),
        format!("{NAME}: has no trailer `Upstream: <url>` or `Upstream: not submitted, because …`")
    );
    for (body, expected) in [
        ("Upstream: soon\n", ":6: `Upstream: soon`; expected `https://…`"),
        ("Upstream: not submitted, because \n", "expected `https://…` or"),
        ("Upstream: https://a/1\nUpstream: https://a/2\n", ":7: a second trailer `Upstream`"),
        ("Upstream: https://a/1\nFixes: CVE-1\n", ":7: fixes `CVE-1`; expected `CVE-…`"),
        ("Upstream: https://a/1\nFixes: CVE-2026-1234\nFixes: CVE-2026-1234\n", "twice"),
        (
            "Upstream: https://a/1\nFixes: CVE-2026-1234\nSeverity: high\n",
            ":8: severity `high`; expected `critical`",
        ),
        (
            "Upstream: https://a/1\nSeverity: critical\n",
            "is critical, and has no trailer `Fixes: CVE-…`",
        ),
        ("Upstream: https://a/1\nDrop-when: a b\n", ":7: `a b` is not a tag"),
        ("Upstream: https://a/1\nWished-by: me\n", ":7: trailer `Wished-by` is not known"),
        ("Upstream: https://a/1\nand more text\n", ":7: `and more text` is not a trailer"),
    ] {
        assert!(line(body).contains(expected), "{body:?} gave {}", line(body));
    }
}

#[test]
fn refuses_what_is_not_one_mail_with_a_diff() {
    let good = patch(HEAD, "Upstream: https://a/1\n");
    assert!(parse(NAME, good.as_bytes()).is_ok());
    assert!(problems(&format!("{good}{good}"))[0].contains("begins a second mail"));
    assert!(problems(&good.replace("diff --git", "dif"))[0].contains("holds no diff"));
    assert!(problems(&good.replace("Subject:", "Topic:"))[0].contains("`Topic` is not one of"));
    assert!(problems(&good.replacen("From ", "Frm ", 1))[0].contains("does not begin with"));
    assert!(
        problems(&good.replace("Text", "Text\r").replace("Date:", "Date:\r\n "))[0]
            .contains("carriage")
    );
    assert!(parse("1-x.patch", good.as_bytes()).unwrap_err()[0].message.contains("not named"));
}

proptest! {
    #[test]
    fn never_panics_and_keeps_what_it_accepts(lines in proptest::collection::vec(prop_oneof![
        Just("Upstream: https://a/1".to_owned()), Just(String::new()), Just("---".to_owned()),
        Just("diff --git a/f b/f".to_owned()), Just("Fixes: CVE-2026-1234".to_owned()),
        Just(" folded".to_owned()), Just("=?UTF-8?q?=C3?=".to_owned()), ".{0,30}",
    ], 0..12)) {
        let text = patch(HEAD, &format!("{}\n", lines.join("\n")));
        if let Ok(read) = parse(NAME, text.as_bytes()) {
            prop_assert_eq!(read.digest, sha256(text.as_bytes()));
            prop_assert!(read.fixes.iter().all(|cve| is_cve(cve)));
        }
    }

    #[test]
    fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(parse(NAME, &bytes).is_err());
    }

    #[test]
    fn decodes_any_word_without_panic(text in "(=\\?|UTF-8|\\?|q|b|=|[0-9A-F]{2}|\\?=|é| ){0,20}") {
        decode_words(&text);
    }
}
