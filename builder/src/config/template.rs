//! `$(name)` in recipes. Braces would not parse inside a YAML flow list.

use std::collections::BTreeMap;

/// The names that a recipe may use. `os`, `arch`, `triplet` and `cross` only where a platform is known.
pub const NAMES: &[&str] = &[
    "arch",
    "buildDate",
    "commit",
    "commit7",
    "cross",
    "gitVersion",
    "major",
    "minor",
    "os",
    "tag",
    "tree12",
    "triplet",
    "version",
];

/// A text that cannot be filled in.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// A name that nobody defined.
    #[error("unknown name `$({0})`, expected one of {1}")]
    Unknown(String, String),
    /// `$(` without `)`.
    #[error("`$(` is never closed in `{0}`")]
    Open(String),
}

/// Fills in every `$(name)` of `text`.
pub fn fill(text: &str, values: &BTreeMap<&str, String>) -> Result<String, TemplateError> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("$(") {
        let (name, after) =
            after.split_once(')').ok_or_else(|| TemplateError::Open(text.to_owned()))?;
        let known =
            || values.keys().map(|key| format!("`$({key})`")).collect::<Vec<_>>().join(", ");
        let value =
            values.get(name).ok_or_else(|| TemplateError::Unknown(name.to_owned(), known()))?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_unknown_ones_are_named() {
        let values = BTreeMap::from([("os", "linux".to_owned()), ("arch", "arm64".to_owned())]);
        assert_eq!(fill("a-$(os)-$(arch).x", &values).unwrap(), "a-linux-arm64.x");
        assert_eq!(fill("plain", &values).unwrap(), "plain");
        let error = fill("$(oss)", &values).unwrap_err().to_string();
        assert_eq!(error, "unknown name `$(oss)`, expected one of `$(arch)`, `$(os)`");
        assert!(matches!(fill("$(os", &values), Err(TemplateError::Open(_))));
    }
}
