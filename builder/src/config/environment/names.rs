//! Names in an environment's file: what becomes part of a path or of an address is nothing else besides.

use std::net::Ipv4Addr;

use kdistro_border::{registry::check_repository, store::check_name};

use super::{AnnouncementPlace, Environment, KeyPlace, RegistryPlace, StorePlace, folder::Folder};

/// A field, what stands in it, and the rule that it must keep.
type Named<'a> = (&'static str, Option<&'a str>, Rule);

/// What a name must be.
#[derive(Clone, Copy)]
enum Rule {
    Folder,
    File,
    Bucket,
    Region,
    Account,
    Key,
    StorePrefix,
    RegistryPrefix,
}

/// Says what is wrong with the first name that is none. Whatever stands there is not repeated: it may be a secret.
pub(super) fn check(environment: &Environment) -> Result<(), String> {
    let store = match &environment.store {
        StorePlace::Directory(folder) => folder_of("store.directory", folder),
        StorePlace::S3(it) => vec![
            ("store.s3.bucket", Some(it.bucket.as_str()), Rule::Bucket),
            ("store.s3.prefix", filled(&it.prefix), Rule::StorePrefix),
            ("store.s3.region", it.region.as_deref(), Rule::Region),
            ("store.s3.ca", it.ca.as_deref(), Rule::File),
        ],
    };
    let registry = match &environment.registry {
        RegistryPlace::Directory(folder) => folder_of("registry.directory", folder),
        RegistryPlace::Oci(it) => vec![
            ("registry.oci.prefix", filled(&it.prefix), Rule::RegistryPrefix),
            ("registry.oci.ca", it.ca.as_deref(), Rule::File),
        ],
        RegistryPlace::Ecr(it) => vec![
            ("registry.ecr.prefix", filled(&it.prefix), Rule::RegistryPrefix),
            ("registry.ecr.region", it.region.as_deref(), Rule::Region),
            ("registry.ecr.account", it.account.as_deref(), Rule::Account),
            ("registry.ecr.ca", it.ca.as_deref(), Rule::File),
        ],
    };
    let announcements = match &environment.announcements {
        AnnouncementPlace::Directory(folder) => folder_of("announcements.directory", folder),
        // Its ARN was read already, but for the region in it.
        AnnouncementPlace::Sns(it) => {
            vec![("announcements.sns.topic", region_of(&it.topic), Rule::Region)]
        }
        AnnouncementPlace::Webhook(it) => vec![
            ("announcements.webhook.secret", Some(it.secret.as_str()), Rule::File),
            ("announcements.webhook.ca", it.ca.as_deref(), Rule::File),
        ],
    };
    let keys = match &environment.keys {
        KeyPlace::Directory(folder) => folder_of("keys.directory", folder),
        KeyPlace::Kms(it) => vec![
            ("keys.kms.release", Some(it.release.as_str()), Rule::Key),
            ("keys.kms.log", Some(it.log.as_str()), Rule::Key),
            ("keys.kms.region", it.region.as_deref(), Rule::Region),
        ],
    };
    let mut named = [store, registry, announcements, keys].into_iter().flatten();
    let wrong = named.find(|(_, name, rule)| name.is_some_and(|name| !rule.is_kept_by(name)));
    wrong.map_or(Ok(()), |(field, _, rule)| {
        Err(format!("`{field}` is not {}; expected {}", rule.what(), rule.expected()))
    })
}

fn folder_of<'a>(field: &'static str, folder: &'a str) -> Vec<Named<'a>> {
    vec![(field, Some(folder), Rule::Folder)]
}

fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Returns the region of an ARN.
fn region_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

impl Rule {
    fn is_kept_by(self, name: &str) -> bool {
        match self {
            Self::Folder => is_path(name) && !Folder::of(name).holds_all(),
            Self::File => is_path(name),
            Self::Bucket => is_bucket(name),
            Self::Region => is_region(name),
            Self::Account => name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Key => is_key(name),
            Self::StorePrefix => check_name(name).is_ok(),
            Self::RegistryPrefix => check_repository(name).is_ok(),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Folder => "a folder of its own",
            Self::File => "a file",
            Self::Bucket => "the name of a bucket",
            Self::Region => "a region",
            Self::Account => "an account of AWS",
            Self::Key => "a key of KMS",
            Self::StorePrefix | Self::RegistryPrefix => "a prefix",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Folder => "a path below the home folder, or an absolute one",
            Self::File => "a path, without control characters",
            Self::Bucket => {
                "3 to 63 of a-z, 0-9, `.` and `-`, and what else Amazon asks of new buckets"
            }
            Self::Region => "one such as `eu-west-1`",
            Self::Account => "12 digits",
            Self::Key => "an id, an ARN or `alias/…`",
            Self::StorePrefix => "a relative path without a slash at its end, `.` or `..`",
            Self::RegistryPrefix => {
                "parts of a-z and 0-9 with `.`, `_`, `__` or `-` between, and `/` between the parts"
            }
        }
    }
}

fn is_path(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

/// Source: Amazon S3, "General purpose bucket naming rules".
fn is_bucket(name: &str) -> bool {
    let is_outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_inner = |byte: u8| is_outer(&byte) || matches!(byte, b'.' | b'-');
    let is_address = name.parse::<Ipv4Addr>().is_ok();
    let kept = ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|begin| name.starts_with(begin));
    let ends = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    (3..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && name.as_bytes().first().is_some_and(is_outer)
        && name.as_bytes().last().is_some_and(is_outer)
        && !(name.contains("..")
            || is_address
            || kept
            || ends.iter().any(|end| name.ends_with(end)))
}

/// True for a region: a part of a host's name, since that is what it becomes.
///
/// Source: AWS's SDKs, "Rules engine specification", `isValidHostLabel`; the regions of other services are as free.
fn is_region(name: &str) -> bool {
    let is_outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.chars().all(|c| is_outer(c) || c == '-')
        && name.starts_with(is_outer)
        && name.ends_with(is_outer)
}

/// Source: AWS KMS, `GetPublicKey`, "`KeyId`": an id, an alias, or the ARN of either.
fn is_key(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
    let is_name = |name: &str| !name.is_empty() && name.chars().all(is_letter);
    let parts: Vec<_> = name.split(':').collect();
    match parts.as_slice() {
        [name] => is_name(name),
        ["arn", partition, "kms", region, account, name] => {
            is_name(partition) && is_region(region) && is_name(account) && is_name(name)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment in a cloud.
    const CLOUD: &str = "name: aws\nstore: {s3: {bucket: bucket, prefix: a, region: eu-west-1, ca: c}}\nregistry: {ecr: {prefix: kdistro, account: '123456789012'}}\nannouncements: {webhook: {address: 'https://a.example', secret: secret}}\nkeys: {kms: {release: alias/r, log: alias/l}}\nlogOrigin: log.example.org\n";
    /// Its store and its registry.
    const S3: &str = "{s3: {bucket: bucket, prefix: a, region: eu-west-1, ca: c}}";
    const ECR: &str = "{ecr: {prefix: kdistro, account: '123456789012'}}";
    /// What is put in place of what in it, and what is said of that.
    const ELSEWHERE: &[(&str, &str, &str)] = &[
        ("bucket: bucket", "bucket: ''", "`store.s3.bucket` is not the name of a bucket"),
        ("bucket: bucket", "bucket: bkt/../x?y", "`store.s3.bucket` is not the name of a bucket"),
        ("prefix: a,", "prefix: a//../b,", "`store.s3.prefix` is not a prefix"),
        ("prefix: a,", "prefix: a/,", "`store.s3.prefix` is not a prefix"),
        ("eu-west-1", "'evil.example/#'", "`store.s3.region` is not a region"),
        ("ca: c", "ca: ''", "`store.s3.ca` is not a file"),
        (S3, "{directory: ''}", "`store.directory` is not a folder"),
        (S3, "{directory: .}", "`store.directory` is not a folder"),
        ("prefix: kdistro", "prefix: ../x", "`registry.ecr.prefix` is not a prefix"),
        ("prefix: kdistro", "region: 'x/y'", "`registry.ecr.region` is not a region"),
        ("123456789012", "12345", "`registry.ecr.account` is not an account"),
        (ECR, "{directory: a/..}", "`registry.directory` is not a folder"),
        (
            ECR,
            "{oci: {address: 'https://a.example', prefix: A}}",
            "`registry.oci.prefix` is not a prefix",
        ),
        ("secret: secret", "secret: ''", "`announcements.webhook.secret` is not a file"),
        (
            "{webhook: {address: 'https://a.example', secret: secret}}",
            "{directory: ''}",
            "`announcements.directory` is not a folder",
        ),
        (
            "{webhook: {address: 'https://a.example', secret: secret}}",
            "{sns: {topic: 'arn:aws:sns:evil.example:123456789012:t'}}",
            "`announcements.sns.topic` is not a region",
        ),
        ("release: alias/r", "release: ''", "`keys.kms.release` is not a key"),
        ("log: alias/l", "log: 'arn:aws:kms:x/y:1:key/z'", "`keys.kms.log` is not a key"),
        (
            "{kms: {release: alias/r, log: alias/l}}",
            "{directory: ''}",
            "`keys.directory` is not a folder",
        ),
    ];

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        let read = |text: &str| {
            let read = Environment::read("infra/environments/aws.yaml", text.as_bytes());
            read.map(drop).map_err(|problem| problem.to_string())
        };
        read(CLOUD).unwrap();
        for (from, to, expected) in ELSEWHERE {
            assert!(CLOUD.contains(from), "{from}");
            let error = read(&CLOUD.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn buckets_are_called_as_amazon_lets_them() {
        for name in ["releases-example", "a.b", "123", &"x".repeat(63)] {
            assert!(is_bucket(name), "{name}");
        }
        for name in [
            "",
            "ab",
            &"x".repeat(64),
            "bkt/../x?y",
            "Bucket",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "a..b",
            "192.168.5.4",
            "xn--a",
            "sthree-a",
            "amzn-s3-demo-a",
            "a-s3alias",
            "a--ol-s3",
            "a.mrap",
            "a--x-s3",
            "a--table-s3",
            "b\u{fc}cket",
        ] {
            assert!(!is_bucket(name), "{name}");
        }
    }

    #[test]
    fn a_region_is_one_part_of_a_host() {
        for name in ["us-east-1", "us-gov-west-1", "eusc-de-east-1", "auto", "garage"] {
            assert!(is_region(name), "{name}");
        }
        for name in ["", "evil.example/#", "evil.example", "a b", "-a", "a-", "A", &"x".repeat(64)]
        {
            assert!(!is_region(name), "{name}");
        }
    }

    #[test]
    fn a_key_is_an_id_an_alias_or_an_arn() {
        for name in [
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "alias/kdistro-release",
            "arn:aws:kms:us-east-1:123456789012:alias/release",
            "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd",
        ] {
            assert!(is_key(name), "{name}");
        }
        for name in [
            "",
            "a b",
            "https://u:p@example",
            "arn:aws:s3:us-east-1:123456789012:x",
            "arn:aws:kms:evil.example/#:123456789012:key/x",
            "arn:aws:kms:us-east-1:123456789012:",
        ] {
            assert!(!is_key(name), "{name}");
        }
    }
}
