//! The frame of our pages: one document without scripts and without anything from elsewhere, for light and dark screens.
//!
//! Texts are escaped by `maud` wherever they stand, and what hides or turns the order of letters is spelled out first.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use kdistro_formats::terminal::{printable, printable_lines};
use kdistro_verify::hash::sha256;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// How everything looks.
const STYLE: &str = include_str!("html/style.css");

/// How something is, which its colour repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should be.
    Good,
    /// Something happens.
    Busy,
    /// Something is waited for.
    Wait,
    /// Somebody has to look.
    Bad,
    /// None of these.
    Plain,
}

impl Mood {
    /// The class of it in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Wait => "wait",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// Writes a whole page.
pub(crate) fn document(title: &str, body: &Markup) -> String {
    // Only this style sheet, by its digest, and nothing else is ever loaded or run.
    let digest = STANDARD.encode(sha256(STYLE.as_bytes()).as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (text(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// A text of others, fit to be shown.
pub(crate) fn text(text: &str) -> String {
    printable(text)
}

/// What was said of something: its first line, and the rest folded away.
pub(crate) fn reason(said: &str) -> Markup {
    let (first, rest) = said.split_once('\n').unwrap_or((said, ""));
    html! {
        p { (text(first)) }
        @if !rest.trim().is_empty() {
            details {
                summary { "all of it" }
                pre { (printable_lines(rest)) }
            }
        }
    }
}

/// A word with a mark before it, coloured as its mood.
pub(crate) fn badge(mood: Mood, word: &str) -> Markup {
    html! { span class={ "badge " (mood.class()) } { (text(word)) } }
}

/// A time, to the second.
pub(crate) fn when(at: Timestamp) -> Markup {
    let shown = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(at) { (shown) } }
}

/// How long ago a time was, with the time itself for whoever points at it.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    let shown = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(at) title=(shown) { (distance(now.duration_since(at))) } }
}

/// A length of time in its two largest units.
pub(crate) fn length(length: SignedDuration) -> String {
    let seconds = length.as_secs().unsigned_abs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (unit, name) in units {
        let count = left / unit;
        left %= unit;
        if count > 0 || (unit == 1 && parts.is_empty()) {
            parts.push(format!("{count} {name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    parts.join(" ")
}

/// How far from now something is that was so long ago, or is still to come.
pub(crate) fn distance(since: SignedDuration) -> String {
    match since.as_secs() {
        seconds if seconds < 0 => format!("in {}", length(since)),
        0..=1 => "just now".to_owned(),
        _ => format!("{} ago", length(since)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_at_most_two_units_and_no_gap() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3600, "1 h"),
            (3601, "1 h"),
            (3660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
            (-5, "5 s"),
        ] {
            assert_eq!(length(SignedDuration::from_secs(seconds)), expected, "{seconds}");
        }
        assert_eq!(distance(SignedDuration::from_secs(-120)), "in 2 min");
        assert_eq!(distance(SignedDuration::from_secs(120)), "2 min ago");
    }

    #[test]
    fn a_long_reason_is_folded_and_a_short_one_is_not() {
        assert_eq!(reason("ended").into_string(), "<p>ended</p>");
        let folded = reason("ended; its log:\n  <b>\u{202e}\n  x\n").into_string();
        let expected = "<p>ended; its log:</p><details><summary>all of it</summary>\
            <pre>  &lt;b&gt;\\u{202e}\n  x\n</pre></details>";
        assert_eq!(folded, expected);
    }

    #[test]
    fn a_page_loads_and_runs_nothing() {
        let page = document("a <b> \u{202e}", &html! { p { "x" } });
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{page}");
        assert!(page.contains("<title>a &lt;b&gt; \\u{202e}</title>"), "{page}");
        for word in ["<script", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(word), "{word} in {page}");
        }
    }
}
