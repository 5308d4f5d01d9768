//! Lengths of time as people write them: `5m`, `24h`, `30d`.

use std::fmt;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer, de};

/// What is expected where a length of time stands.
const EXPECTED: &str = "expected a length of time such as `5m`, `24h` or `30d`";

/// A length of time that is not negative. A day has 24 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(SignedDuration);

impl Length {
    /// Takes whole seconds.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(SignedDuration::from_secs(seconds as i64))
    }

    /// Reads a length of time; says what is wrong with another text.
    ///
    /// Source: the "friendly" format of the crate `jiff`; months and years are of no one length, and refused.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not one that can be used; {EXPECTED}");
        let span: Span = text.parse().map_err(|_| refuse())?;
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours());
        let length = length.ok().filter(|length| !length.is_negative());
        length.map(Self).ok_or_else(refuse)
    }

    /// Returns it as the crate `jiff` counts with it.
    pub fn as_duration(self) -> SignedDuration {
        self.0
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5400),
            ("24h", 86_400),
            ("30d", 2_592_000),
            ("1w", 604_800),
        ] {
            assert_eq!(Length::parse(text).unwrap(), Length::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn what_has_no_length_is_refused() {
        for text in [
            "",
            "5",
            "-5m",
            "5m ago",
            "1 month",
            "1y",
            "h",
            "5 parsecs",
            "99999999999999999999h",
            "1mo",
            "\u{665}m",
        ] {
            let error = Length::parse(text).unwrap_err();
            assert!(error.contains("expected a length of time such as"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0..u32::MAX) {
            let length = Length::from_secs(seconds);
            prop_assert_eq!(Length::parse(&length.to_string()), Ok(length));
        }

        #[test]
        fn no_text_panics_or_is_negative(text in "[-+ 0-9.,a-zPT:]{0,16}|\\PC{0,8}") {
            if let Ok(length) = Length::parse(&text) {
                prop_assert!(!length.as_duration().is_negative());
            }
        }
    }
}
