//! Strict YAML: one reader for what people write, one writer for what is published.
//!
//! The reader refuses duplicate keys, unknown fields (by the types), aliases beyond small bounds and
//! several documents; it reads into types only, so that `1.30` in a string field stays `1.30`.

use serde::{Serialize, de::DeserializeOwned};

/// Text that is not the YAML that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{}{message}{}", field(.path), place(*.line, *.column))]
pub struct YamlError {
    /// Path of the field, such as `components[1].tag`; `.` for the document itself.
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
    /// Line from 1, or 0 when it is not known.
    pub line: u64,
    /// Column from 1, or 0 when it is not known.
    pub column: u64,
}

fn field(path: &str) -> String {
    if path.is_empty() || path == "." { String::new() } else { format!("at `{path}`: ") }
}

fn place(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!(" at line {line} column {column}") }
}

/// Reads `text` as one `T`.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let mut options = serde_saphyr::Options::default();
    options.strict_booleans = true;
    options.with_snippet = false;
    options.reject_unsupported_tags = true;
    // `!!binary` would show other readers another text.
    options.ignore_binary_tag_for_string = true;
    let mut path = String::from(".");
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error: serde_saphyr::Error| {
        let at = error.location();
        let message = error.without_snippet().to_string();
        let (line, column) = at.map_or((0, 0), |at| (at.line(), at.column()));
        // The library appends the place in words of its own; ours is uniform.
        let end =
            message.find(" at line ").or_else(|| message.find(" (line ")).unwrap_or(message.len());
        let start =
            message.find(": ").filter(|_| message.starts_with("line ")).map_or(0, |n| n + 2);
        let message = message.get(start..end).unwrap_or(&message).trim().to_owned();
        YamlError { path, message, line, column }
    })
}

/// A value that cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot be written as YAML: {0}")]
pub struct WriteError(String);

/// Writes `value` as one YAML document, the same bytes for the same value.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, WriteError> {
    let mut options = serde_saphyr::SerializerOptions::default();
    options.quote_all = false;
    options.prefer_block_scalars = false;
    options.compact_list_indent = false;
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| WriteError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Sample {
        version: String,
        list: Vec<Item>,
    }

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        tag: String,
    }

    #[test]
    fn says_field_expectation_and_place() {
        let error =
            from_str::<Sample>("version: '1'\nlist:\n  - tag: a\n  - tga: b\n").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("list[1]"), "{text}");
        assert!(text.contains("unknown field `tga`, expected one of tag"), "{text}");
        assert!(text.contains("at line 4 column "), "{text}");
        assert_eq!(text.matches("line 4").count(), 1, "{text}");
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for text in [
            "version: '1'\nversion: '2'\nlist: []\n",
            "version: '1'\nlist: []\n---\nversion: '2'\nlist: []\n",
            "version: !custom 1\nlist: []\n",
            "version: '1'\n",
            "",
        ] {
            assert!(from_str::<Sample>(text).is_err(), "accepted {text:?}");
        }
    }

    #[test]
    fn a_version_stays_text() {
        let sample: Sample = from_str("version: 1.30\nlist: []\n").unwrap();
        assert_eq!(sample.version, "1.30");
        for text in
            ["1.30", "012", "yes", "null", "1e5", "12e34", "0x1f", "1-36", "~", "a: b", "x\ny", ""]
        {
            let sample = Sample { version: text.into(), list: vec![] };
            assert_eq!(from_str::<Sample>(&to_string(&sample).unwrap()).unwrap(), sample);
        }
    }
}
