//! Every published format as the tiny project gives it, held against files that change only on request
//! (`KDISTRO_UPDATE_GOLDEN=1`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    shared::files,
    tiny::{LOCK, MANIFEST, Tiny},
};

#[test]
fn every_format_is_what_it_was() {
    let tiny = Tiny::ready();
    tiny.cut().expect(0);
    let read = |name: &str| fs::read_to_string(tiny.store().join(name)).unwrap();
    let release = "kubernetes-9-1/releases/1";
    let mut wrong = Vec::new();
    for (name, text) in [
        ("channel.lock.yaml", tiny.read(LOCK)),
        ("plan.json", pretty(&read(&format!("{release}/plan.json")))),
        ("claim.json", pretty(&read(&format!("{release}/claim")))),
        ("manifest.yaml", read(MANIFEST)),
        ("index.yaml", read("releasechannels/9-1.yaml")),
        ("bundle-shape.json", shape(&read(&format!("{MANIFEST}.sigstore.json")))),
        ("announcement.json", announcement(&tiny)),
        ("store.txt", listing(&tiny)),
    ] {
        wrong.extend(differs(name, &text));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names in the store; the bundle of the index is named after a digest that `index.yaml` holds.
fn listing(tiny: &Tiny) -> String {
    let names = files(&tiny.store()).into_iter().filter(|name| !name.starts_with('.'));
    names.map(|name| name + "\n").collect()
}

fn pretty(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    format!("{}\n", serde_json::to_string_pretty(&value).unwrap())
}

/// A bundle with every signature, digest and key replaced by its kind: they differ with each key.
fn shape(text: &str) -> String {
    fn shaped(value: Value) -> Value {
        match value {
            Value::String(text) if text.len() > 60 || text.ends_with('=') => json!("…"),
            Value::Array(values) => values.into_iter().map(shaped).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (name, shaped(value))).collect()
            }
            other => other,
        }
    }
    pretty(&shaped(serde_json::from_str(text).unwrap()).to_string())
}

/// The announcement, with the signature in it left out.
fn announcement(tiny: &Tiny) -> String {
    let folder = tiny.path("home/announcements");
    let names = files(&folder);
    let [name] = names.as_slice() else { panic!("one announcement was expected: {names:?}") };
    let mut whole: Value = serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap();
    unfold(&mut whole);
    pretty(&whole.to_string())
}

/// Writes documents inside strings out, and hides what differs with each signature.
fn unfold(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with('{') => {
            *value = serde_json::from_str(text).unwrap();
            unfold(value);
        }
        Value::Object(fields) => {
            if let Some(Value::Object(bundle)) = fields.get_mut("bundle") {
                bundle.insert("content".to_owned(), json!("…"));
                bundle.insert("sha256".to_owned(), json!("…"));
            }
            fields.values_mut().for_each(unfold);
        }
        Value::Array(values) => values.iter_mut().for_each(unfold),
        _ => {}
    }
}

#[expect(clippy::disallowed_methods, reason = "golden files are rewritten only on request")]
fn differs(name: &str, found: &str) -> Option<String> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("KDISTRO_UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    (expected != found).then(|| format!("-- {name} is now:\n{found}"))
}
