//! Reads how a server wants to know who asks: the header `WWW-Authenticate`. Text in, challenges out.

use std::collections::BTreeMap;

/// The longest header that is read, in bytes.
const LONGEST: usize = 8192;

/// One way to say who asks, such as `Bearer` with the address of a token server.
///
/// Source: RFC 9110, section 11.6.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme in lower case.
    pub scheme: String,
    /// The parameters by their names in lower case.
    pub parameters: BTreeMap<String, String>,
    /// What stands in place of parameters, as with `Negotiate`.
    pub token: Option<String>,
}

/// A header that cannot be read in one way only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a challenge of {length} bytes cannot be read at byte {position}: expected {expected}")]
pub struct ChallengeError {
    /// The length of the header.
    pub length: usize,
    /// Where reading ended, from 0.
    pub position: usize,
    /// What should stand there.
    pub expected: &'static str,
}

/// Reads one header with any number of challenges, in their order.
///
/// Strict: no parameter twice, no parameter without a scheme, no byte that the grammar does not allow.
pub fn parse(header: &str) -> Result<Vec<Challenge>, ChallengeError> {
    let mut reader = Reader { header, position: 0 };
    if header.len() > LONGEST {
        return Err(reader.expected("at most 8192 bytes"));
    }
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        reader.skip_separators();
        if reader.rest().is_empty() {
            return Ok(challenges);
        }
        let before = reader.position;
        let name = reader.token().ok_or_else(|| reader.expected("a scheme or parameter"))?;
        if let Some(value) = reader.value()? {
            let last = challenges.last_mut().filter(|last| last.token.is_none());
            let last = last.ok_or_else(|| reader.at(before, "a scheme before a parameter"))?;
            if last.parameters.insert(name, value).is_some() {
                return Err(reader.at(before, "a parameter that was not there yet"));
            }
        } else {
            let token = reader.token68()?;
            challenges.push(Challenge { scheme: name, parameters: BTreeMap::new(), token });
            continue;
        }
        reader.end_of_element()?;
    }
}

struct Reader<'a> {
    header: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.header.get(self.position..).unwrap_or_default()
    }

    fn expected(&self, expected: &'static str) -> ChallengeError {
        self.at(self.position, expected)
    }

    fn at(&self, position: usize, expected: &'static str) -> ChallengeError {
        ChallengeError { length: self.header.len(), position, expected }
    }

    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start_matches(is_skipped).len();
    }

    /// Empty elements of a list are ignored (RFC 9110, section 5.6.1).
    fn skip_separators(&mut self) {
        self.skip(|c| is_blank(c) || c == ',');
    }

    /// Takes what matches, in any case at least one character.
    fn take(&mut self, is_taken: impl Fn(char) -> bool) -> Option<&'a str> {
        let rest = self.rest();
        let length = rest.find(|c| !is_taken(c)).unwrap_or(rest.len());
        let taken = rest.get(..length).filter(|taken| !taken.is_empty())?;
        self.position += length;
        Some(taken)
    }

    /// Takes a name, in lower case.
    fn token(&mut self) -> Option<String> {
        self.take(is_token).map(str::to_ascii_lowercase)
    }

    /// Takes `=` and a value; `None`, and nothing taken, when none follows.
    fn value(&mut self) -> Result<Option<String>, ChallengeError> {
        let before = self.position;
        self.skip(is_blank);
        if self.take_one('=').is_none() {
            self.position = before;
            return Ok(None);
        }
        self.skip(is_blank);
        if self.take_one('"').is_some() {
            return self.quoted().map(Some);
        }
        let value = self.take(is_token).map(str::to_owned);
        value.map(Some).ok_or_else(|| self.expected("a value"))
    }

    fn take_one(&mut self, wanted: char) -> Option<()> {
        self.rest().starts_with(wanted).then(|| self.position += wanted.len_utf8())
    }

    /// Takes a quoted string behind its first quote.
    fn quoted(&mut self) -> Result<String, ChallengeError> {
        let mut value = String::new();
        let mut is_escaped = false;
        for (index, character) in self.rest().char_indices() {
            let is_text = character == '\t' || matches!(character, ' '..='~');
            if !is_text {
                return Err(self.at(self.position + index, "printable ASCII in a quoted string"));
            }
            match character {
                '\\' if !is_escaped => is_escaped = true,
                '"' if !is_escaped => {
                    self.position += index + 1;
                    return Ok(value);
                }
                other => {
                    value.push(other);
                    is_escaped = false;
                }
            }
        }
        Err(self.at(self.header.len(), "the end of a quoted string"))
    }

    /// Takes what may stand behind a scheme in place of parameters, and the blank before it.
    fn token68(&mut self) -> Result<Option<String>, ChallengeError> {
        let rest = self.rest();
        if rest.is_empty() || rest.starts_with(',') {
            return Ok(None);
        }
        if !rest.starts_with(' ') {
            return Err(self.expected("a space behind a scheme"));
        }
        self.skip(is_blank);
        let before = self.position;
        let is_68 = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let Some(text) = self.take(is_68).map(str::to_owned) else { return Ok(None) };
        let padding = self.take(|c| c == '=').unwrap_or_default();
        let end = self.position;
        self.skip(is_blank);
        if self.rest().is_empty() || self.rest().starts_with(',') {
            self.position = end;
            return Ok(Some(text + padding));
        }
        // It was the name of a parameter.
        self.position = before;
        Ok(None)
    }

    fn end_of_element(&mut self) -> Result<(), ChallengeError> {
        self.skip(is_blank);
        if self.rest().is_empty() || self.rest().starts_with(',') {
            return Ok(());
        }
        Err(self.expected("a comma"))
    }
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// Source: RFC 9110, section 5.6.2, `tchar`.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        let parameters = parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Challenge { scheme: scheme.to_owned(), parameters: parameters.collect(), token: None }
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        for (header, wanted) in [
            (
                r#"Basic realm="Registry Realm""#,
                vec![challenge("basic", &[("realm", "Registry Realm")])],
            ),
            (
                r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#,
                vec![challenge(
                    "bearer",
                    &[
                        ("realm", "https://auth.example/token"),
                        ("service", "registry.example"),
                        ("scope", "repository:a/b:pull,push"),
                    ],
                )],
            ),
            // RFC 9110, section 11.6.1.
            (
                r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#,
                vec![
                    challenge("basic", &[("realm", "simple")]),
                    challenge(
                        "newauth",
                        &[("realm", "apps"), ("type", "1"), ("title", "Login to \"apps\"")],
                    ),
                ],
            ),
            (", ,BASIC Realm = x , ,", vec![challenge("basic", &[("realm", "x")])]),
            ("Negotiate, Basic", vec![challenge("negotiate", &[]), challenge("basic", &[])]),
            (
                "Negotiate YII+/==, Basic realm=x",
                vec![
                    Challenge { token: Some("YII+/==".to_owned()), ..challenge("negotiate", &[]) },
                    challenge("basic", &[("realm", "x")]),
                ],
            ),
            ("", vec![]),
        ] {
            assert_eq!(parse(header).unwrap(), wanted, "{header}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (header, expected) in [
            ("realm=x", "a scheme before a parameter"),
            ("Negotiate abc, realm=x", "a scheme before a parameter"),
            ("Basic realm=x, REALM=y", "a parameter that was not there yet"),
            ("Basic realm=x y", "a comma"),
            (r#"Basic realm="x"y"#, "a comma"),
            (r#"Basic realm="x"#, "the end of a quoted string"),
            (r#"Basic realm="x\"#, "the end of a quoted string"),
            ("Basic realm=\"\u{e9}\"", "printable ASCII in a quoted string"),
            ("Basic realm=\"a\nb\"", "printable ASCII in a quoted string"),
            ("Basic a=b, realm=", "a value"),
            ("Basic a=b, realm=,", "a value"),
            ("Basic\u{0}", "a space behind a scheme"),
            ("Basic\trealm=x", "a space behind a scheme"),
            ("\"Basic\"", "a scheme or parameter"),
            ("Basic @", "a scheme or parameter"),
        ] {
            assert_eq!(parse(header).unwrap_err().expected, expected, "{header:?}");
        }
        assert!(parse(&"a,".repeat(5000)).is_err());
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[ -~\t]{0,20}", "[a-z0-9:/.,\"\\\\=]{0,20}"]
    }

    fn token() -> impl Strategy<Value = String> {
        "[a-z0-9!#$%&'*+.^_`|~-]{1,8}"
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(header in ".{0,200}") {
            let _ = parse(&header);
        }

        #[test]
        fn what_looks_like_a_challenge_does_not_make_it_panic(header in "[a-zA\"\\\\,= \t/\u{e9}+]{0,60}") {
            let _ = parse(&header);
        }

        #[test]
        fn what_is_written_is_read_again(
            wanted in prop::collection::vec((token(), prop::collection::btree_map(token(), text(), 1..4)), 0..4),
        ) {
            let wanted: Vec<_> = wanted
                .into_iter()
                .map(|(scheme, parameters)| Challenge { scheme, parameters, token: None })
                .collect();
            let write = |challenge: &Challenge| {
                let quote = |text: &str| text.replace('\\', r"\\").replace('"', r#"\""#);
                let parameters = challenge.parameters.iter();
                let parameters: Vec<_> =
                    parameters.map(|(name, value)| format!("{name}=\"{}\"", quote(value))).collect();
                format!("{} {}", challenge.scheme, parameters.join(", "))
            };
            let header = wanted.iter().map(write).collect::<Vec<_>>().join(",");
            prop_assert_eq!(parse(&header).unwrap(), wanted);
        }
    }
}
