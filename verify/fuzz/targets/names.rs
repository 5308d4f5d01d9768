//! Names with a grammar, paths in an archive and names in a store: each has one spelling.

#![no_main]

use kdistro_assemble::{EntryPath, module_zip};
use kdistro_formats::{
    ChannelName, CommitId, Digest, Platform, ProjectName, ReleaseName, Sha512, Tag, TreeId,
};
use kdistro_verify::store;
use libfuzzer_sys::fuzz_target;
use std::{fmt::Display, str::FromStr};

fuzz_target!(|data: &[u8]| {
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
});

fn one_spelling<T: FromStr + Display>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string(), text);
    }
}
