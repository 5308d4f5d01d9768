//! The first difference of two JSON documents: the field, and what it holds in each.

use std::collections::BTreeSet;

use serde_json::Value;

/// Characters shown of a value.
const SHOWN: usize = 120;

/// The largest document that is read, in bytes: in memory it can be a hundred times as large.
const LARGEST: usize = 4 << 20;

/// A field that differs.
pub(crate) struct Field {
    /// Where it is, such as `config.Env[0]`.
    pub(crate) path: String,
    /// What the first document holds there, as it is shown; none where it holds nothing.
    pub(crate) first: Option<String>,
    /// What the second holds.
    pub(crate) second: Option<String>,
}

/// Fields that differ, until there are as many as are wanted.
struct Found {
    fields: Vec<Field>,
    most: usize,
}

/// Returns the first differing field; none when one of them is no JSON object or list, or where all values agree.
pub(super) fn first_difference(a: &[u8], b: &[u8]) -> Option<String> {
    let Field { path, first, second } = differences(a, b, 1)?.pop()?;
    Some(match (first, second) {
        (Some(first), Some(second)) => format!("`{path}` is {first} and {second}"),
        (Some(first), None) => format!("`{path}`, {first}, is only in the first"),
        (None, second) => {
            format!("`{path}`, {}, is only in the second", second.unwrap_or_default())
        }
    })
}

/// Lists the fields that differ, at most so many; none when one of the two is no JSON object or list.
pub(crate) fn differences(a: &[u8], b: &[u8], most: usize) -> Option<Vec<Field>> {
    let (left, right) = (document(a)?, document(b)?);
    let mut found = Found { fields: Vec::new(), most };
    found.in_value("", &left, &right);
    Some(found.fields)
}

fn document(bytes: &[u8]) -> Option<Value> {
    // Numbers alone, and the like, are better shown as text.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if !b"{[".contains(first) || bytes.len() > LARGEST {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

impl Found {
    fn in_value(&mut self, path: &str, left: &Value, right: &Value) {
        match (left, right) {
            (Value::Object(left), Value::Object(right)) => {
                let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
                for key in keys {
                    let separator = if path.is_empty() { "" } else { "." };
                    let path = format!("{path}{separator}{}", key.escape_debug());
                    self.in_field(&path, left.get(key), right.get(key));
                }
            }
            (Value::Array(left), Value::Array(right)) => {
                for index in 0..left.len().max(right.len()) {
                    self.in_field(&format!("{path}[{index}]"), left.get(index), right.get(index));
                }
            }
            _ => {
                let path = if path.is_empty() { "." } else { path };
                self.in_field(path, Some(left), Some(right));
            }
        }
    }

    fn in_field(&mut self, path: &str, left: Option<&Value>, right: Option<&Value>) {
        if left == right || self.fields.len() >= self.most {
            return;
        }
        match (left, right) {
            (Some(left @ Value::Object(_)), Some(right @ Value::Object(_)))
            | (Some(left @ Value::Array(_)), Some(right @ Value::Array(_))) => {
                self.in_value(path, left, right);
            }
            _ => self.fields.push(Field {
                path: path.to_owned(),
                first: left.map(shown),
                second: right.map(shown),
            }),
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    let mut start: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_field() {
        let base = br#"{"a":{"b":[1,{"c":"x"}]},"d":null}"#;
        for (other, expected) in [
            (&br#"{"a":{"b":[1,{"c":"y"}]},"d":null}"#[..], "`a.b[1].c` is \"x\" and \"y\""),
            (br#"{"a":{"b":[1]},"d":null}"#, "`a.b[1]`, {\"c\":\"x\"}, is only in the first"),
            (br#"{"a":{"b":[1,{"c":"x"}]},"d":0}"#, "`d` is null and 0"),
            (br#"{"a":{"b":[1,{"c":"x"}]},"d":null,"e":1}"#, "`e`, 1, is only in the second"),
            (b"[1]", "`.` is {"),
        ] {
            let text = first_difference(base, other).unwrap();
            assert!(text.contains(expected), "{text}\nexpected {expected}");
        }
        let spaced = br#"{ "a":{"b":[1,{"c":"x"}]},"d":null}"#;
        assert_eq!(first_difference(base, spaced), None);
        assert_eq!(first_difference(base, b"text"), None);
        assert_eq!(first_difference(b"1", b"2"), None);
    }

    #[test]
    fn large_documents_are_left_to_the_comparison_of_texts() {
        let list = |last| format!("[{}{last}]", "[],".repeat(LARGEST / 3)).into_bytes();
        assert!(serde_json::from_slice::<Value>(&list(1)).is_ok());
        assert_eq!(first_difference(&list(1), &list(2)), None);
    }

    #[test]
    fn lists_as_many_fields_as_are_wanted() {
        let (a, b) =
            (br#"{"a":1,"b":[1,2],"c":{"d":3}}"#, br#"{"a":2,"b":[2],"c":{"d":3,"e":{}}}"#);
        let paths = |most| -> Vec<String> {
            differences(a, b, most).unwrap().into_iter().map(|field| field.path).collect()
        };
        assert_eq!(paths(9), ["a", "b[0]", "b[1]", "c.e"]);
        assert_eq!(paths(2), ["a", "b[0]"]);
    }
}
