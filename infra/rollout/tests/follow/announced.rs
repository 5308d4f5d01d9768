//! Announcements of releases of channel `1-20`, as the real announcers send them.

use std::collections::BTreeMap;

use kdistro_border::{Announced, Announcer};
use kdistro_formats::Digest;
use kdistro_verify::hash::sha256;
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "planted-secret-of-the-webhook";

/// What is said of a release whose manifest has this digest.
pub(crate) fn announcement(environment: &str, number: u32, manifest: Digest) -> Value {
    let document =
        |name: &str, digest| json!({"uri": format!("https://a.example/{name}"), "sha256": digest});
    json!({
        "schema": "kdistro.dev/announcement/v1", "environment": environment, "channel": "1-20",
        "number": number, "manifest": document("m", manifest), "bundle": document("b", sha256(b"b")),
        "severity": "routine", "fixes": [],
    })
}

/// Announces it; `id` is the announcer's name for that.
pub(crate) fn announce(announcer: &dyn Announcer, id: &str, said: &Value) -> Announced {
    let message = json!({"default": said.to_string(), "email": "A text"}).to_string();
    let (id, attributes) = (sha256(id.as_bytes()), BTreeMap::new());
    announcer.announce(&id, "kdistro is released", &message, &attributes).unwrap()
}
