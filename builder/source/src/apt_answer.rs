//! Reads what apt says it would download.

use kdistro_formats::Digest;

use crate::apt::AptError;

/// A file that apt would download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub name: String,
    pub size: u64,
    pub digest: Digest,
}

/// Reads what `apt-get --print-uris` prints: `'<address>' <name> <size> SHA256:<hex>`.
pub(crate) fn parse_uris(what: &str, text: &str) -> Result<Vec<Listed>, AptError> {
    let lines = text.lines().filter(|line| line.starts_with('\''));
    let listed = lines.map(|line| {
        parse_uri(line)
            .ok_or_else(|| AptError::Answer { what: what.to_owned(), answer: line.to_owned() })
    });
    listed.collect()
}

fn parse_uri(line: &str) -> Option<Listed> {
    let (_, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let mut words = rest.split_whitespace();
    let (name, size, digest) = (words.next()?, words.next()?, words.next()?);
    let is_plain = !name.contains('/') && !name.starts_with('.') && words.next().is_none();
    let digest = Digest::from_hex(digest.strip_prefix("SHA256:")?).ok()?;
    is_plain.then_some(Listed { name: name.to_owned(), size: size.parse().ok()?, digest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn accepts_only_plain_names(text in "('http://a/b' )?(\\.\\./)?[a-z/. ]{0,12} [0-9]{0,3} (SHA256|MD5Sum):[0-9a-f]{63,64}") {
            for listed in parse_uris("x", &text).into_iter().flatten() {
                prop_assert!(!listed.name.contains('/') && !listed.name.starts_with('.'));
            }
        }
    }

    #[test]
    fn a_weak_hash_is_no_answer() {
        let line =
            "'http://a/b_1_amd64.deb' b_1_amd64.deb 12 MD5Sum:c5d785f62da63c2976bf748f19aa3911";
        assert!(matches!(parse_uris("b", line), Err(AptError::Answer { .. })));
        let listed =
            parse_uris("b", &line.replace("MD5Sum:", "SHA256:").replace("11", &"1".repeat(34)));
        assert_eq!(listed.unwrap()[0].name, "b_1_amd64.deb");
    }
}
