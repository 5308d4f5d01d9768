//! The configuration of an image: how a container of it is started, and which layers it has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::{OciError, Platform, check_form, strict};
use crate::{Digest, canonical, plan::ImageConfig};

/// What a configuration is called in errors.
const WORDS: &str = "image configuration";

/// The configuration of an image for one platform.
///
/// Source: config.md, "Properties".
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Config {
    /// When the image was made, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The architecture, in Go's words.
    pub architecture: String,
    /// The operating system, in Go's words.
    pub os: String,
    /// The variant of the processor: `v8` for `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How a container is started.
    #[serde(default, deserialize_with = "strict::nullable")]
    pub config: Execution,
    /// Its layers.
    pub rootfs: RootFs,
    /// How each layer came to be, the lowest first.
    #[serde(default, deserialize_with = "strict::nullable", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// How a container of an image is started.
///
/// Source: config.md, "Properties", `config`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// User and group, such as `65535:65535`; empty for root.
    #[serde(
        default,
        deserialize_with = "strict::nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// Ports that it listens on, such as `2379/tcp`, sorted.
    #[serde(
        default,
        deserialize_with = "strict::keys",
        serialize_with = "as_keys",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exposed_ports: Vec<String>,
    /// The environment, each `NAME=value`.
    #[serde(default, deserialize_with = "strict::nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(default, deserialize_with = "strict::nullable", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Arguments that are used when none are given.
    #[serde(
        default,
        deserialize_with = "strict::nullable",
        rename = "Cmd",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub command: Vec<String>,
    /// The working directory; empty for the root.
    #[serde(
        default,
        deserialize_with = "strict::nullable",
        rename = "WorkingDir",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_directory: String,
    /// Labels.
    #[serde(default, deserialize_with = "strict::map", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The layers of an image by the digests of their plain tars.
///
/// Source: config.md, "Properties", `rootfs`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The SHA-256 of each layer's plain tar, the lowest first.
    pub diff_ids: Vec<Digest>,
}

/// How a layer came to be.
///
/// Source: config.md, "Properties", `history`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct History {
    /// When, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// What is to be said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True for a change that made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl RootFs {
    /// Lists layers by the digests of their plain tars, the lowest first.
    pub fn of(diff_ids: Vec<Digest>) -> Self {
        Self { kind: "layers".to_owned(), diff_ids }
    }
}

impl Config {
    /// Reads a configuration.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, OciError> {
        let config: Self = serde_json::from_slice(bytes)
            .map_err(|source| OciError::Json { what: WORDS, source })?;
        config.check()?;
        Ok(config)
    }

    /// Reads a configuration that we published: in canonical form, byte for byte.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, OciError> {
        let config = Self::from_slice(bytes)?;
        check_form(bytes, &config.to_vec()?)?;
        Ok(config)
    }

    /// Writes the configuration in canonical form.
    pub fn to_vec(&self) -> Result<Vec<u8>, OciError> {
        self.check()?;
        canonical::to_vec(self).map_err(|source| OciError::Write { what: WORDS, source })
    }

    /// Returns what the image runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
        }
    }

    fn check(&self) -> Result<(), OciError> {
        let refuse = |place: &str, found: String, expected| {
            Err(OciError::Value { place: place.to_owned(), found, expected })
        };
        if self.rootfs.kind != "layers" {
            return refuse("rootfs.type", format!("{:?}", self.rootfs.kind), "\"layers\"");
        }
        for (place, word) in [("architecture", &self.architecture), ("os", &self.os)] {
            if word.is_empty() {
                return refuse(place, "empty".to_owned(), "a word of Go's");
            }
        }
        let layers = self.history.iter().filter(|history| !history.empty_layer).count();
        if !self.history.is_empty() && layers != self.rootfs.diff_ids.len() {
            let found = format!("about {layers} layers of {}", self.rootfs.diff_ids.len());
            return refuse("history", found, "one entry a layer");
        }
        Ok(())
    }
}

impl From<&ImageConfig> for Execution {
    fn from(config: &ImageConfig) -> Self {
        let mut exposed_ports = config.ports.clone();
        exposed_ports.sort();
        exposed_ports.dedup();
        Self {
            user: config.user.clone(),
            exposed_ports,
            env: config.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            entrypoint: config.entrypoint.clone(),
            command: config.command.clone(),
            working_directory: config.working_directory.clone(),
            labels: config.labels.clone(),
        }
    }
}

/// Writes a list as the keys of a map whose values say nothing.
fn as_keys<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Nothing {}
    serializer.collect_map(list.iter().map(|key| (key, Nothing {})))
}
