//! The image that a container was made of, as containerd keeps it with the container: the name of its image may have got
//! another one since.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// What Kubernetes' part of containerd keeps with a container.
///
/// Source: containerd 1.6, `pkg/cri/server/service.go`, `containerMetadataExtension`.
const EXTENSION: &str = "io.cri-containerd.container.metadata";

/// What a container was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// What its image is called now, as it is a sandbox or nobody says more.
    Named,
    /// The image of this id, which is the digest of its configuration, and one of its names.
    Id(String),
    /// What is kept with it cannot be read.
    Unread,
}

/// Source: containerd 1.6, `containers/containers.go`.
#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Extensions")]
    extensions: Option<BTreeMap<String, Extension>>,
}

#[derive(Deserialize)]
struct Extension {
    value: String,
}

/// Source: containerd 1.6, `pkg/cri/store/container/metadata.go`.
#[derive(Deserialize)]
struct Versioned {
    #[serde(rename = "Metadata")]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "ImageRef")]
    image: String,
}

impl Own {
    /// Reads what the client says of a container.
    pub(super) fn read(info: &str) -> Self {
        let Ok(container) = serde_json::from_str::<Container>(info) else { return Self::Unread };
        let Some(kept) = container.extensions.unwrap_or_default().remove(EXTENSION) else {
            return Self::Named;
        };
        let read = STANDARD.decode(kept.value).ok();
        let read = read.and_then(|json| serde_json::from_slice::<Versioned>(&json).ok());
        read.map_or(Self::Unread, |read| Self::Id(read.metadata.image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_image_is_read_where_it_is_kept() {
        let kept = |json: &str| {
            let (value, others) = (STANDARD.encode(json), r#""ID":"a","Image":"r/etcd:1""#);
            format!(
                r#"{{{others},"Extensions":{{"{EXTENSION}":{{"type_url":"t","value":"{value}"}}}}}}"#
            )
        };
        let id = r#"{"Version":"v1","Metadata":{"ID":"a","ImageRef":"sha256:0b"}}"#;
        for (info, expected) in [
            (kept(id), Own::Id("sha256:0b".to_owned())),
            (kept("{}"), Own::Unread),
            (r#"{"Extensions":null}"#.to_owned(), Own::Named),
            (r#"{"Extensions":{"other":{"value":""}}}"#.to_owned(), Own::Named),
            (String::new(), Own::Unread),
        ] {
            assert_eq!(Own::read(&info), expected, "{info}");
        }
    }
}
