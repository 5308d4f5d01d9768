//! Makes text from outside harmless for a terminal: nothing in it moves the cursor, hides, or turns its order round.

use std::{fmt::Write, ops::RangeInclusive};

/// Characters without a shape of their own, and those that order or break lines.
///
/// Source: Unicode 17, `DerivedCoreProperties.txt`, `Default_Ignorable_Code_Point`; with the line and paragraph
/// separators, and the marks of annotations between lines.
const SHAPELESS: [RangeInclusive<char>; 17] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    // The separators of lines and paragraphs, and what embeds and overrides the direction.
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Writes a text on one line: every character that a terminal obeys or does not show is spelled out, as `\u{202e}`.
pub fn printable(text: &str) -> String {
    spelled_out(text, "")
}

/// Writes a text that has lines and tabs of our own, with everything else spelled out as [`printable`] does.
pub fn printable_lines(text: &str) -> String {
    spelled_out(text, "\n\t")
}

/// Spells out in JSON what [`printable`] does, as `\u202e`: the document stays the same one.
pub fn printable_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_harmless(c) || c == '\n' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into memory cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

fn spelled_out(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmless(c) || kept.contains(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out
}

fn is_harmless(c: char) -> bool {
    !c.is_control() && !SHAPELESS.iter().any(|range| range.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character that may do something else than be seen.
    fn hostile() -> impl Iterator<Item = char> {
        let ranges = [
            '\0'..='\u{1f}',
            '\u{7f}'..='\u{9f}',
            '\u{200b}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
            '\u{2060}'..='\u{2069}',
            '\u{e0001}'..='\u{e007f}',
        ];
        ranges.into_iter().flatten().chain(['\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}'])
    }

    #[test]
    fn spells_out_what_a_terminal_obeys_or_hides() {
        for c in hostile() {
            let text = format!("a{c}b");
            let found = printable(&text);
            assert!(found.starts_with("a\\") && found.ends_with('b'), "{c:?}: {found:?}");
            assert!(!found.contains(c), "{c:?}: {found:?}");
            let kept = printable_lines(&text);
            assert_eq!(kept == text, "\n\t".contains(c), "{c:?}: {kept:?}");
        }
        assert_eq!(printable("\x1b[2Jv\u{202e}1"), "\\u{1b}[2Jv\\u{202e}1");
        assert_eq!(printable("one\ntwo"), "one\\ntwo");
    }

    #[test]
    fn leaves_what_people_write() {
        for text in ["/usr/bin/etcd 3.4", "größer", "中文", "مرحبا", "🙂", "\\n `x` \"y\""]
        {
            assert_eq!(printable(text), text);
            assert_eq!(printable_json(text), text);
        }
    }

    #[test]
    fn json_stays_the_same_document() {
        let value: String = hostile().chain("plain 🙂".chars()).collect();
        let json = serde_json::to_string_pretty(&[&value]).unwrap();
        let found = printable_json(&json);
        assert!(hostile().filter(|c| *c != '\n').all(|c| !found.contains(c)), "{found}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&found).unwrap(), [value]);
    }
}
