//! The records of a pax header: `<length> <key>=<value>` lines.

/// Where pax keeps an extended attribute; the attribute's name follows.
///
/// Source: star(1); read by GNU tar, bsdtar and every container runtime.
pub(super) const XATTR: &str = "SCHILY.xattr.";

/// Writes one record, its own length in front.
pub(super) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    // Blank, equals sign and line feed.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// Reads all records; `None` when they break the format.
pub(super) fn records(mut bytes: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ')?;
        let digits = std::str::from_utf8(bytes.get(..blank)?).ok()?;
        if digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let length: usize = digits.parse().ok()?;
        let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let key = std::str::from_utf8(record.get(..equals)?).ok()?;
        found.push((key, record.get(equals + 1..)?));
        bytes = bytes.get(length..)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_itself() {
        assert_eq!(record("path", b"a"), b"9 path=a\n");
        assert_eq!(record("path", b""), b"8 path=\n");
        // 9 and 99: where one digit more makes the record longer.
        for length in 0..2000 {
            let value = vec![b'x'; length];
            let written = record("path", &value);
            assert_eq!(records(&written), Some(vec![("path", &value[..])]), "length {length}");
        }
    }

    #[test]
    fn refuses_records_that_break_the_format() {
        for text in [
            "x",
            "8 path=a\n",
            "11 path=a\n",
            "9 path=a ",
            "0 ",
            "+9 path=a\n",
            "8 patha\n",
            "99999999999999999999 path=a\n",
            "9 path=a\nx",
        ] {
            assert_eq!(records(text.as_bytes()), None, "accepted {text:?}");
        }
    }
}
