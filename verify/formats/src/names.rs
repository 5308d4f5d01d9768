//! Names that have a grammar: channel, release, tag, commit, tree, platform, project.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// A string that breaks the grammar of the name it was read as.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a {kind}; expected {expected}")]
pub struct ParseNameError {
    kind: &'static str,
    text: String,
    expected: &'static str,
}

/// Declares a newtype around a checked string.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Returns the name as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ParseNameError { kind: $kind, text: text.to_owned(), expected: $expected })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// A channel such as `1-36`: the minor Kubernetes version that its releases carry.
    ///
    /// Source: EKS Distro, `spec.channel`.
    ChannelName,
    "channel",
    "`<major>-<minor>`, such as `1-36`",
    |text| text.split_once('-').is_some_and(|(major, minor)| is_number(major)
        && major != "0"
        && is_number(minor))
);

name!(
    /// A tag of an upstream repository, such as `v1.36.2`.
    Tag,
    "tag",
    "at most 64 letters, digits, `.`, `_`, `+` and `-`, the first a letter or digit, and no `..`",
    |text| is_word(text, 64, "._+-") && !text.contains("..")
);

name!(
    /// A git commit id: 40 lowercase hex digits.
    CommitId,
    "commit",
    "40 lowercase hex digits",
    is_object_id
);

name!(
    /// A git tree id: 40 lowercase hex digits.
    TreeId,
    "tree",
    "40 lowercase hex digits",
    is_object_id
);

name!(
    /// An operating system and architecture in Go's words, such as `linux/arm64`.
    Platform,
    "platform",
    "`<os>/<arch>` in Go's words, such as `linux/amd64`",
    |text| text.split_once('/').is_some_and(|(os, arch)| ["linux", "darwin", "windows"]
        .contains(&os)
        && ["amd64", "arm64"].contains(&arch))
);

name!(
    /// An upstream project, `<owner>/<repository>`, such as `etcd-io/etcd`.
    ProjectName,
    "project",
    "`<owner>/<repository>`, such as `etcd-io/etcd`",
    |text| text
        .split_once('/')
        .is_some_and(|(owner, name)| is_word(owner, 64, "._-") && is_word(name, 64, "._-"))
);

fn is_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

/// True for at most `longest` letters, digits and characters of `extra`, the first a letter or digit.
pub(crate) fn is_word(text: &str, longest: usize, extra: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
    first && text.len() <= longest && text.chars().all(rest)
}

fn is_object_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl ChannelName {
    /// Returns major and minor, such as `("1", "36")`.
    pub fn major_minor(&self) -> (&str, &str) {
        self.0.split_once('-').unwrap_or((&self.0, ""))
    }
}

impl Platform {
    /// Returns the operating system, such as `linux`.
    pub fn os(&self) -> &str {
        self.0.split_once('/').map_or("", |(os, _)| os)
    }

    /// Returns the architecture, such as `amd64`.
    pub fn arch(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, arch)| arch)
    }
}

impl ProjectName {
    /// Returns the owner, such as `etcd-io`.
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// Returns the repository's own name, such as `etcd`.
    pub fn repository(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

/// A release: a channel and a number of 1 or more, written `1-36-7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseName {
    /// The channel.
    pub channel: ChannelName,
    /// The number in the channel, from 1 on.
    pub number: u32,
}

impl ReleaseName {
    /// Returns `metadata.name` of the manifest, such as `kubernetes-1-36-7`.
    ///
    /// Source: EKS Distro, `metadata.name` of `kind: Release`.
    pub fn resource(&self) -> String {
        format!("kubernetes-{self}")
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.channel, self.number)
    }
}

impl Serialize for ReleaseName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReleaseName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

impl FromStr for ReleaseName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let parse = || {
            let (channel, number) = text.rsplit_once('-')?;
            let whole = is_number(number) && number != "0";
            let number = number.parse().ok().filter(|_| whole)?;
            Some(Self { channel: channel.parse().ok()?, number })
        };
        parse().ok_or_else(|| ParseNameError {
            kind: "release",
            text: text.to_owned(),
            expected: "`<channel>-<number>`, such as `1-36-7`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_names_outside_their_grammar() {
        for text in ["", "1", "1-", "-1", "01-2", "0-1", "1-02", "1-2-3", "1-x", "1_2", "1-2\n"] {
            assert!(text.parse::<ChannelName>().is_err(), "accepted channel {text:?}");
        }
        for text in ["", "../x", "a/b", "-x", ".x", "v1..2", "v1 2", "v1\n"] {
            assert!(text.parse::<Tag>().is_err(), "accepted tag {text:?}");
        }
        for text in ["linux", "linux/", "plan9/amd64", "linux/amd64/v3", "Linux/amd64"] {
            assert!(text.parse::<Platform>().is_err(), "accepted platform {text:?}");
        }
        for text in ["etcd", "/etcd", "a/b/c", "../b", "a/..", "a/.git"] {
            assert!(text.parse::<ProjectName>().is_err(), "accepted project {text:?}");
        }
        for text in ["1-36", "1-36-0", "1-36-07", "1-36-", "1-36-+7", "1-36-99999999999"] {
            assert!(text.parse::<ReleaseName>().is_err(), "accepted release {text:?}");
        }
    }

    #[test]
    fn a_release_is_written_as_it_is_read() {
        let release: ReleaseName = "1-36-7".parse().unwrap();
        assert_eq!(release.channel.major_minor(), ("1", "36"));
        assert_eq!(release.to_string(), "1-36-7");
        assert_eq!(release.resource(), "kubernetes-1-36-7");
        let json = serde_json::to_string(&release).unwrap();
        assert_eq!(json, "\"1-36-7\"");
        assert_eq!(serde_json::from_str::<ReleaseName>(&json).unwrap(), release);
        assert!(serde_json::from_str::<ReleaseName>("\"1-36-07\"").is_err());
    }
}
