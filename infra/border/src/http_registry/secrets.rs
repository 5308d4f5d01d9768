//! What no error may show, whoever says it.

use std::{cmp::Reverse, collections::BTreeSet};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// What stands in the place of a secret.
const HIDDEN: &str = "***";
/// How many ways to write a text are taken off one another: a JSON text within one, percent-encoded.
const LAYERS: usize = 3;
/// Reads base64 as generously as anybody might.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Passwords and tokens that were shown to somebody, who may repeat them.
#[derive(Default)]
pub(super) struct Secrets(BTreeSet<String>);

impl Secrets {
    pub(super) fn insert(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.0.insert(secret.to_owned());
        }
    }

    /// Takes everything secret out of a text that somebody else wrote; of one that holds it in other writing (escaped
    /// as in JSON or addresses, or base64) nothing is left.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut secrets: Vec<_> = self.0.iter().collect();
        // The longest first: one may be a part of another.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        let text = secrets.into_iter().fold(text.to_owned(), |text, secret| cut(&text, secret));
        if self.are_in(text.as_bytes(), LAYERS) { HIDDEN.to_owned() } else { text }
    }

    fn are_in(&self, text: &[u8], layers: usize) -> bool {
        if self.are_plain_in(text) || self.are_base64_in(text) {
            return true;
        }
        let Some(layers) = layers.checked_sub(1) else { return false };
        let readings = [without_escapes(text), without_percents(text)];
        readings.iter().any(|reading| reading != text && self.are_in(reading, layers))
    }

    fn are_plain_in(&self, text: &[u8]) -> bool {
        let has = |secret: &[u8]| {
            text.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret))
        };
        self.0.iter().any(|secret| has(secret.as_bytes()))
    }

    /// Looks into all that may be base64, also where something else stands before it that may be.
    fn are_base64_in(&self, text: &[u8]) -> bool {
        // Those of addresses are read as those of mail.
        let standard = |byte: u8| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
        let is_of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let text: Vec<u8> = text.iter().copied().map(standard).collect();
        let runs = text.split(|byte| !is_of_base64(*byte)).filter(|run| run.len() >= 2);
        let mut parts = runs.flat_map(|run| (0..4).filter_map(move |begin| run.get(begin..)));
        parts.any(|part| {
            // One digit alone says nothing.
            let length = part.len() - usize::from(part.len() % 4 == 1);
            let read = BASE64.decode(part.get(..length).unwrap_or_default());
            read.is_ok_and(|bytes| self.are_plain_in(&bytes))
        })
    }
}

/// Replaces a secret in any case: servers read some of what they are sent in lower case.
fn cut(text: &str, secret: &str) -> String {
    // Of the same length as the text: only ASCII changes.
    let (lower, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let (mut left, mut end) = (String::new(), 0);
    for (begin, found) in lower.match_indices(&secret) {
        left.push_str(text.get(end..begin).unwrap_or_default());
        left.push_str(HIDDEN);
        end = begin + found.len();
    }
    left + text.get(end..).unwrap_or_default()
}

/// Reads the escapes of JSON; what is none stays.
///
/// Source: RFC 8259, section 7.
fn without_escapes(text: &[u8]) -> Vec<u8> {
    let (mut read, mut rest) = (Vec::with_capacity(text.len()), text);
    loop {
        rest = match rest {
            [] => return read,
            [b'\\', b'u', after @ ..] => match number(after, 4).map(char::from_u32) {
                Some(character) => {
                    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                    read.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    after.get(4..).unwrap_or_default()
                }
                None => after,
            },
            [b'\\', escaped, after @ ..] => {
                read.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'f' => 12,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                read.push(*byte);
                after
            }
        }
    }
}

/// Reads percent-encoding; what is none stays.
///
/// Source: RFC 3986, section 2.1.
fn without_percents(text: &[u8]) -> Vec<u8> {
    let (mut read, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [byte, after @ ..] = rest {
        let encoded = number(after, 2).filter(|_| *byte == b'%').and_then(|n| u8::try_from(n).ok());
        read.push(encoded.unwrap_or(*byte));
        rest = if encoded.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    read
}

/// Reads so many hexadecimal digits.
fn number(text: &[u8], digits: usize) -> Option<u32> {
    let digits = text.get(..digits).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn of(secrets: &[&str]) -> Secrets {
        let mut known = Secrets::default();
        for secret in secrets {
            known.insert(secret);
        }
        known
    }

    #[test]
    fn what_is_a_part_of_another_secret_leaves_nothing_of_it() {
        assert_eq!(of(&["", "abc", "abcdef"]).hide("xabcdefx abc ab"), "x***x *** ab");
        assert_eq!(of(&["Abc"]).hide("\u{e9}aBC\u{e9}"), "\u{e9}***\u{e9}");
    }

    #[test]
    fn a_secret_in_other_writing_leaves_nothing_of_the_text() {
        let secret = "pa/ss\"wo+rd\u{e9}%~";
        let secrets = of(&[secret]);
        let percent =
            |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<Vec<_>>().concat();
        let json = serde_json::to_string(secret).unwrap();
        let json = json.trim_matches('"');
        let unicode = secret.chars().map(|c| format!("\\u{:04X}", u32::from(c)));
        let unicode = unicode.collect::<Vec<_>>().concat();
        for written in [
            json.to_owned(),
            json.replace('/', "\\/"),
            unicode.clone(),
            percent(secret),
            "pa%2Fss%22wo%2Brd%C3%A9%25~".to_owned(),
            percent(&unicode),
            percent(&percent(secret)),
            BASE64_STANDARD.encode(secret),
            BASE64_STANDARD.encode(format!("u:{secret}")),
            BASE64_URL_SAFE_NO_PAD.encode(format!("user:{secret}:x")),
            percent(&BASE64_STANDARD.encode(secret)),
            BASE64_STANDARD.encode(secret).replace('/', "\\/"),
        ] {
            for before in ["", "/", "a/", "ab/", "abc/", "said: "] {
                assert_eq!(secrets.hide(&format!("{before}{written} x")), "***", "{written}");
            }
        }
        let harmless = "GET /v2/a%20b/manifests/sha256:00 said {\"x\":\"\\u00e9\\\\\"} % \\u00";
        assert_eq!(secrets.hide(harmless), harmless);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".{0,80}", secret in "[a-zA-Z\u{e9}]{0,4}") {
            let hidden = of(&[&secret]).hide(&text);
            prop_assert!(secret.is_empty() || !hidden.to_ascii_lowercase().contains(&secret.to_ascii_lowercase()));
        }
    }
}
