//! Times as text. No clock: `main.rs` reads it and passes seconds on.

use jiff::Timestamp;

/// Writes seconds since 1970 as `2021-01-13T13:28:09Z` (RFC 3339, UTC).
///
/// A time that no calendar holds is written as 1970.
pub fn rfc3339(seconds: u64) -> String {
    kdistro_formats::time::rfc3339(seconds).unwrap_or_else(|| rfc3339(0))
}

/// True for exactly the form that [`rfc3339`] writes.
pub fn is_rfc3339(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok_and(|time| time.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        // `date -u -d @N +%FT%TZ`
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_610_544_489, "2021-01-13T13:28:09Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            assert!(is_rfc3339(text));
        }
        for text in ["2021-01-13", "2021-01-13T13:28:09+00:00", "2021-02-30T00:00:00Z", ""] {
            assert!(!is_rfc3339(text), "{text}");
        }
    }
}
