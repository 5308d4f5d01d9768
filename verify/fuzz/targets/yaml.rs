//! The strict YAML reader into plain types: what is read is written and read again as the same.

#![no_main]

use kdistro_formats::yaml;
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(value) = yaml::from_str::<Anything>(text) else { return };
    let written = yaml::to_string(&value).expect("what was read can be written");
    let again: Anything = yaml::from_str(&written).expect("what was written can be read");
    assert_eq!(again, value, "{written}");
});

/// Every kind of field that our documents have.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Anything {
    #[serde(default)]
    text: String,
    #[serde(default)]
    number: u32,
    #[serde(default)]
    flag: bool,
    #[serde(default)]
    maybe: Option<String>,
    #[serde(default)]
    texts: Vec<String>,
    #[serde(default)]
    map: BTreeMap<String, String>,
    #[serde(default)]
    inner: Vec<Anything>,
}
