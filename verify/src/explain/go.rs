//! What Go's linker wrote into a program about itself: its version and the modules and settings of the build.
//!
//! Source: Go, `debug/buildinfo`, the inline format of Go 1.18 and newer.

/// What the section of the build information starts with.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Where the inline strings start.
const STRINGS: usize = 32;
/// Bytes of a mark before and after the module text.
const MARK: usize = 16;

/// Returns the first difference of two programs' build information; none when one has none, or they agree.
pub(super) fn first_difference(a: &[(&str, &[u8])], b: &[(&str, &[u8])]) -> Option<String> {
    let (left, right) = (build_information(a)?, build_information(b)?);
    let mut pairs = left.iter().zip(&right);
    if let Some((left, right)) = pairs.find(|(left, right)| left != right) {
        return Some(format!("Go's build information says `{left}` and `{right}`"));
    }
    let longer = if left.len() > right.len() { &left } else { &right };
    let line = longer.get(left.len().min(right.len()))?;
    Some(format!("Go's build information says `{line}` in one only"))
}

/// The version, then every line of the module text.
fn build_information(sections: &[(&str, &[u8])]) -> Option<Vec<String>> {
    let (_, bytes) = sections.iter().find(|(name, _)| *name == ".go.buildinfo")?;
    let flags = *bytes.strip_prefix(MAGIC)?.get(1)?;
    // Older programs keep pointers here.
    let inline = flags & 2 != 0;
    let (version, rest) = string(bytes.get(STRINGS..).filter(|_| inline)?)?;
    let (marked, _) = string(rest)?;
    let text = marked.get(MARK..marked.len().checked_sub(MARK)?).unwrap_or_default();
    let mut lines = vec![String::from_utf8_lossy(version).into_owned()];
    lines.extend(String::from_utf8_lossy(text).lines().map(|line| line.replace('\t', " ")));
    Some(lines)
}

/// Reads a string with its length in front, as `encoding/binary` writes an unsigned varint.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes.get(index + 1..)?.split_at_checked(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(version: &str, text: &str) -> Vec<u8> {
        let mut bytes = [MAGIC, &[8, 2]].concat();
        bytes.resize(STRINGS, 0);
        let mark = [7; MARK];
        let marked = [&mark[..], text.as_bytes(), &mark].concat();
        for string in [version.as_bytes(), &marked] {
            assert!(string.len() < 128);
            bytes.push(u8::try_from(string.len()).unwrap());
            bytes.extend(string);
        }
        bytes
    }

    #[test]
    fn names_the_version_and_the_setting() {
        let base = section("go1.26.3", "path\tx\nbuild\tCGO_ENABLED=0\n");
        let difference = |other: &[u8]| {
            first_difference(&[(".go.buildinfo", &base)], &[(".go.buildinfo", other)])
        };
        assert_eq!(difference(&base), None);
        let version = difference(&section("go1.25.10", "path\tx\nbuild\tCGO_ENABLED=0\n")).unwrap();
        assert!(version.contains("`go1.26.3` and `go1.25.10`"), "{version}");
        let setting = difference(&section("go1.26.3", "path\tx\nbuild\tCGO_ENABLED=1\n")).unwrap();
        assert!(setting.contains("`build CGO_ENABLED=0` and `build CGO_ENABLED=1`"), "{setting}");
        assert!(difference(&section("go1.26.3", "path\tx\n")).unwrap().contains("in one only"));
        for length in 0..base.len() {
            assert_eq!(difference(&base[..length]), None);
        }
    }
}
