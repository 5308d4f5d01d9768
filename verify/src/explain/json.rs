//! The first difference of two JSON documents: the field, and what it holds in each.

use std::collections::BTreeSet;

use serde_json::Value;

/// Characters shown of a value.
const SHOWN: usize = 120;

/// Returns the first differing field; none when one of them is no JSON object or list, or where all values agree.
pub(super) fn first_difference(a: &[u8], b: &[u8]) -> Option<String> {
    let (left, right) = (document(a)?, document(b)?);
    in_value("", &left, &right)
}

fn document(bytes: &[u8]) -> Option<Value> {
    // Numbers alone, and the like, are better shown as text.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if !b"{[".contains(first) {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

fn in_value(path: &str, left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
            keys.into_iter().find_map(|key| {
                let separator = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{separator}{}", key.escape_debug());
                in_field(&path, left.get(key), right.get(key))
            })
        }
        (Value::Array(left), Value::Array(right)) => {
            let length = left.len().max(right.len());
            (0..length).find_map(|index| {
                in_field(&format!("{path}[{index}]"), left.get(index), right.get(index))
            })
        }
        _ if left == right => None,
        _ => {
            let path = if path.is_empty() { "." } else { path };
            Some(format!("`{path}` is {} and {}", shown(left), shown(right)))
        }
    }
}

fn in_field(path: &str, left: Option<&Value>, right: Option<&Value>) -> Option<String> {
    match (left, right) {
        (Some(left), Some(right)) => in_value(path, left, right),
        (Some(left), None) => Some(format!("`{path}`, {}, is only in the first", shown(left))),
        (None, Some(right)) => Some(format!("`{path}`, {}, is only in the second", shown(right))),
        (None, None) => None,
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
}
