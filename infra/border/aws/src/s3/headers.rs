//! What a browser, a CDN and a proxy are told of a name: what it is, and how long it may be kept.

use kdistro_border::store::may_change;

/// How long what never changes may be kept: a year, which is for ever.
///
/// Source: RFC 9111, 5.2.2.1; RFC 8246.
pub const CACHED_FOR_EVER: &str = "public, max-age=31536000, immutable";
/// How long what may change is kept: at most this late a new release is seen.
pub const CACHED_BRIEFLY: &str = "public, max-age=60";

/// Whoever has a copy asks whether it is still the newest.
pub(super) const NOT_CACHED: &str = "no-cache";

/// What an object's answers say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Cache-Control`.
    pub cache_control: &'static str,
}

impl Headers {
    /// Says what the name of an object tells of it.
    pub fn of(name: &str) -> Self {
        let cache_control = if may_change(name) { CACHED_BRIEFLY } else { CACHED_FOR_EVER };
        Self { content_type: content_type(name), cache_control }
    }
}

/// Names the media type; what is unknown is bytes, which no browser shows.
fn content_type(name: &str) -> &'static str {
    let file = name.rsplit('/').next().unwrap_or_default();
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
    match (file, ending) {
        ("SHA256SUM" | "SHA512SUM", _) | (_, "sha256" | "sha512" | "txt") => {
            "text/plain; charset=utf-8"
        }
        ("claim" | "abandoned", _) | (_, "json") => "application/json",
        ("checkpoint", _) => "text/plain; charset=utf-8",
        (_, "yaml") => "application/yaml",
        (_, "gz") => "application/gzip",
        (_, "pub" | "pem") => "application/x-pem-file",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_names_are_kept_briefly_and_all_others_for_ever() {
        for name in ["releasechannels/1-36.yaml", "log/checkpoint", "tuf/timestamp.json"] {
            assert_eq!(Headers::of(name).cache_control, "public, max-age=60", "{name}");
        }
        for name in ["kubernetes-1-36/kubernetes-1-36-7.yaml", "tuf/1.root.json", "log/tile/0/000"]
        {
            let expected = "public, max-age=31536000, immutable";
            assert_eq!(Headers::of(name).cache_control, expected, "{name}");
        }
    }

    #[test]
    fn a_name_says_what_it_is() {
        for (name, expected) in [
            ("kubernetes-1-36/kubernetes-1-36-7.yaml", "application/yaml"),
            ("kubernetes-1-36/kubernetes-1-36-7.yaml.sigstore.json", "application/json"),
            ("kubernetes-1-36/releases/7/plan.json", "application/json"),
            ("x/etcd-linux-amd64-v3.4.23.tar.gz", "application/gzip"),
            ("x/etcd-linux-amd64-v3.4.23.tar.gz.sha256", "text/plain; charset=utf-8"),
            ("x/SHA512SUM", "text/plain; charset=utf-8"),
            ("keys/release.pub", "application/x-pem-file"),
            ("x/bin/linux/amd64/kubelet", "application/octet-stream"),
            ("x/bin/windows/amd64/kubectl.exe", "application/octet-stream"),
            ("containers/images/sha256:00", "application/octet-stream"),
            ("log/checkpoint", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(Headers::of(name).content_type, expected, "{name}");
        }
    }
}
