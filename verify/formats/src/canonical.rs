//! Canonical JSON (RFC 8785), for documents that are named by their digest.
//!
//! A subset that has one form only: ASCII keys, integers to 2^53 − 1, no fractions.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The largest integer that every JSON reader keeps exact.
///
/// Source: RFC 7493 (I-JSON), section 2.2.
const LARGEST: u64 = (1 << 53) - 1;

/// A document that is not canonical, or cannot be.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Not JSON, or not of the wanted type.
    #[error("not the expected JSON document")]
    Json(#[source] serde_json::Error),
    /// JSON of the right type, written in another form than the canonical one.
    #[error("not in canonical form (RFC 8785): differs at byte {0}")]
    Form(usize),
    /// A number that is no integer, or too large.
    #[error("number {0} is not an integer of at most 2^53-1")]
    Number(String),
    /// A key that is not ASCII.
    #[error("key {0:?} is not ASCII")]
    Key(String),
}

/// Writes `value` in canonical form.
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value).map_err(CanonicalError::Json)?;
    let mut out = String::new();
    write(&value, &mut out)?;
    Ok(out.into_bytes())
}

/// Reads a document that must be in canonical form, byte for byte.
pub fn from_slice<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value: T = serde_json::from_slice(bytes).map_err(CanonicalError::Json)?;
    check_form(bytes, &to_vec(&value)?)?;
    Ok(value)
}

/// Checks that a document is written as its canonical form is.
pub(crate) fn check_form(bytes: &[u8], canonical: &[u8]) -> Result<(), CanonicalError> {
    if canonical == bytes {
        return Ok(());
    }
    let same = canonical.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    Err(CanonicalError::Form(same))
}

fn write(value: &Value, out: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_none_or(|magnitude| magnitude > LARGEST) {
                return Err(CanonicalError::Number(number.to_string()));
            }
            out.push_str(&number.to_string());
        }
        Value::String(text) => string(text, out)?,
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, item)) in keys.into_iter().enumerate() {
                if !key.is_ascii() {
                    return Err(CanonicalError::Key(key.clone()));
                }
                if index > 0 {
                    out.push(',');
                }
                string(key, out)?;
                out.push(':');
                write(item, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// `serde_json` escapes exactly as RFC 8785, section 3.2.2.2, asks.
fn string(text: &str, out: &mut String) -> Result<(), CanonicalError> {
    out.push_str(&serde_json::to_string(text).map_err(CanonicalError::Json)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strings_are_written_as_in_the_rfc() {
        // RFC 8785, section 3.2.2: the string of the sample object.
        let value = json!({ "string": "\u{20ac}$\u{f}\nA'B\"\\\\\"/" });
        let expected = "{\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(String::from_utf8(to_vec(&value).unwrap()).unwrap(), expected);
    }

    #[test]
    fn keys_are_sorted_and_nothing_is_padded() {
        let value = json!({ "b": [1, { "z": null, "a": true }], "a": -5, "A": "" });
        assert_eq!(to_vec(&value).unwrap(), br#"{"A":"","a":-5,"b":[1,{"a":true,"z":null}]}"#);
    }

    #[test]
    fn refuses_what_has_several_forms() {
        for text in [
            "{\"b\":1,\"a\":2}",
            "{\"a\": 1}",
            "{\"a\":1,\"a\":1}",
            "1.0",
            "1e3",
            "9007199254740992",
            "[1] ",
        ] {
            assert!(from_slice::<Value>(text.as_bytes()).is_err(), "accepted {text}");
        }
        assert!(from_slice::<Value>(b"{\"a\":9007199254740991}").is_ok());
    }
}
