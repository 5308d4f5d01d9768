//! Documents and names: each has one spelling, and what is read is written and read again as the same.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use kdistro_assemble::{EntryPath, module_zip};
use kdistro_formats::{
    ChannelName, CommitId, Digest, Platform, ProjectName, ReleaseName, Sha512, Tag, TreeId,
    announcement::{Announcement, Envelope},
    canonical,
    channel::ReleaseChannel,
    claim::Claim,
    plan::Plan,
    release::Release,
    statement::{Provenance, Rebuild, Statement, TestResult},
    yaml,
};
use kdistro_verify::store;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

/// Announcements, alone and in the envelope of SNS, and the record of one, which is canonical JSON.
pub fn announcement(data: &[u8]) {
    one_form::<Announcement>(data);
    if let Ok(announcement) = serde_json::from_slice::<Announcement>(data) {
        let written = serde_json::to_vec(&announcement).expect("what was read can be written");
        let again: Announcement = serde_json::from_slice(&written).expect("it was written");
        assert_eq!(again, announcement);
    }
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(data) {
        let _ = serde_json::from_str::<Announcement>(&envelope.default);
    }
}

/// Canonical JSON.
pub fn canonical(data: &[u8]) {
    one_form::<Value>(data);
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(written) = canonical::to_vec(&value) else { return };
    let again: Value = canonical::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, value);
}

/// The plan.
pub fn plan(data: &[u8]) {
    one_form::<Plan>(data);
}

/// The claim on a number.
pub fn claim(data: &[u8]) {
    one_form::<Claim>(data);
}

fn one_form<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(value) = canonical::from_slice::<T>(data) else { return };
    let written = canonical::to_vec(&value).expect("what was read can be written");
    assert_eq!(written, data, "two forms of one document");
}

/// A channel's index, ours and EKS-D's.
pub fn channel_index(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(index) = ReleaseChannel::from_yaml(text) else { return };
    let written = yaml::to_string(&index).expect("what was read can be written");
    let again = ReleaseChannel::from_yaml(&written).expect("what was written can be read");
    assert_eq!(again, index, "{written}");
}

/// A manifest, ours and EKS-D's.
pub fn manifest(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(release) = Release::from_yaml(text) else { return };
    let written = yaml::to_string(&release).expect("what was read can be written");
    let again = Release::from_yaml(&written).expect("what was written can be read");
    assert_eq!(again, release, "{written}");
}

/// Statements about releases.
pub fn statement(data: &[u8]) {
    if let Ok(statement) = serde_json::from_slice::<Statement<Rebuild>>(data) {
        let written = serde_json::to_vec(&statement).expect("what was read can be written");
        let again: Statement<Rebuild> = serde_json::from_slice(&written).expect("it was written");
        let again = serde_json::to_vec(&again).expect("what was read can be written");
        assert_eq!(again, written, "a statement changes when it is read");
    }
    let _ = serde_json::from_slice::<Statement<IgnoredAny>>(data);
    let _ = serde_json::from_slice::<Statement<Provenance>>(data);
    if let Ok(statement) = serde_json::from_slice::<Statement<TestResult>>(data) {
        let written = serde_json::to_vec(&statement).expect("what was read can be written");
        let again: Statement<TestResult> =
            serde_json::from_slice(&written).expect("it was written");
        assert_eq!(again, statement, "a statement changes when it is read");
    }
}

/// Names with a grammar, paths in an archive and names in a store.
pub fn names(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    one_spelling::<ChannelName>(text);
    one_spelling::<CommitId>(text);
    one_spelling::<Digest>(text);
    one_spelling::<EntryPath>(text);
    one_spelling::<Platform>(text);
    one_spelling::<ProjectName>(text);
    one_spelling::<ReleaseName>(text);
    one_spelling::<Sha512>(text);
    one_spelling::<Tag>(text);
    one_spelling::<TreeId>(text);
    let _ = module_zip::escape_module_path(text);
    let _ = module_zip::escape_module_version(text);
    let _ = store::locate(text, Some("."), None);
    if !text.contains("://") {
        let _ = store::locate(text, None, None);
    }
}

fn one_spelling<T: FromStr + Display>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string(), text);
    }
}

/// YAML with every kind of field that our documents have.
pub fn yaml(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(value) = yaml::from_str::<Anything>(text) else { return };
    let written = yaml::to_string(&value).expect("what was read can be written");
    let again: Anything = yaml::from_str(&written).expect("what was written can be read");
    assert_eq!(again, value, "{written}");
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn what_the_seeds_say_is_accepted() {
        let first = |name: &str| seeds::of(name).unwrap()[0].clone();
        canonical::from_slice::<Announcement>(&first("announcement")).unwrap();
        canonical::from_slice::<Claim>(&first("claim")).unwrap();
        canonical::from_slice::<Plan>(&first("plan")).unwrap();
        let statements = seeds::of("statement").unwrap();
        serde_json::from_slice::<Statement<Rebuild>>(&statements[0]).unwrap();
        serde_json::from_slice::<Statement<TestResult>>(&statements[1]).unwrap();
        ReleaseChannel::from_yaml(str::from_utf8(&first("channel-index")).unwrap()).unwrap();
        Release::from_yaml(str::from_utf8(&first("manifest")).unwrap()).unwrap();
    }
}
