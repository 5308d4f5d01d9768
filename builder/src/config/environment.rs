//! `infra/environments/<name>.yaml`: where bytes go today. Never named in a manifest.

mod apart;
mod folder;
mod names;

use std::collections::BTreeMap;

use kdistro_border::is_address;
use kdistro_formats::yaml::{self, YamlError};
use serde::Deserialize;

use super::{Files, Problem};

/// The folder of the environments' files.
pub const FOLDER: &str = "infra/environments";

/// Where a release goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Environment {
    /// Its name; signed documents carry it.
    pub name: String,
    /// True where parts of a channel and dirty trees may be cut.
    #[serde(default)]
    pub development: bool,
    /// The published files.
    pub store: StorePlace,
    /// The images.
    pub registry: RegistryPlace,
    /// The announcements.
    pub announcements: AnnouncementPlace,
    /// The keys of signer and log.
    pub keys: KeyPlace,
    /// The log's name: the host part of its address, and nothing more.
    pub log_origin: String,
    /// What a release has to pass before it is offered here.
    pub gate: Option<Gate>,
}

/// What tries a release before it is offered.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Gate {
    /// It is started as a cluster of this machine, and checked.
    Devcluster,
}

/// Something that only a development environment takes.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what}, and environment `{environment}` takes only whole channels from a clean tree\nhelp:  commit everything and cut the whole channel, or say `development: true` in {} if it is for trying things out",
    file(.environment)
)]
pub struct OnlyForDevelopment {
    /// What is the matter.
    pub what: String,
    /// The environment.
    pub environment: String,
}

/// Where published files go. Directories and files are read from the home folder unless absolute, here as below.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StorePlace {
    /// A directory.
    Directory(String),
    /// A bucket of Amazon S3, or of a service that speaks its protocol.
    S3(Bucket),
}

/// A bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bucket {
    /// Its name.
    pub bucket: String,
    /// What all names in it begin with, without a slash at its end.
    #[serde(default)]
    pub prefix: String,
    /// Its region, where AWS's usual places do not name it.
    pub region: Option<String>,
    /// The address of another service than Amazon's.
    pub endpoint: Option<String>,
    /// True where the bucket stands in the path of addresses, not in the host.
    #[serde(default)]
    pub path_style: bool,
    /// False for a service that overwrites whatever it is asked to: then only one publisher may be at work.
    #[serde(default = "yes")]
    pub conditional_writes: bool,
    /// A PEM file of the authority that signed the service's certificate.
    pub ca: Option<String>,
}

fn yes() -> bool {
    true
}

/// Where images go.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RegistryPlace {
    /// A directory, with one OCI layout a repository.
    Directory(String),
    /// A registry that speaks the OCI distribution protocol.
    Oci(OciRegistry),
    /// A private registry of Amazon ECR.
    Ecr(EcrRegistry),
}

/// A registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OciRegistry {
    /// Such as `https://registry.example.org`.
    pub address: String,
    /// What all repositories begin with, without a slash at its end.
    #[serde(default)]
    pub prefix: String,
    /// True where tags cannot be moved, not even those that stand for a list of referrers.
    #[serde(default)]
    pub immutable: bool,
    /// A PEM file of the authority that signed the registry's certificate.
    pub ca: Option<String>,
}

/// A registry of Amazon ECR.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EcrRegistry {
    /// Its region, where AWS's usual places do not name it.
    pub region: Option<String>,
    /// The account that has it, where it is another than that of the credentials.
    pub account: Option<String>,
    /// What all repositories begin with, without a slash at its end.
    #[serde(default)]
    pub prefix: String,
    /// Another address of the service that has the repositories.
    pub endpoint: Option<String>,
    /// Another address of the registry itself.
    pub address: Option<String>,
    /// A PEM file of the authority that signed the registry's certificate.
    pub ca: Option<String>,
}

/// Where announcements go.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AnnouncementPlace {
    /// A directory, with one file an announcement.
    Directory(String),
    /// A topic of Amazon SNS.
    Sns(Topic),
    /// An address that is told.
    Webhook(Webhook),
}

/// A topic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Topic {
    /// Its ARN; subscribers find it in the channel's index.
    pub topic: String,
    /// The address of another service than Amazon's.
    pub endpoint: Option<String>,
}

/// An address that is told of each release.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Webhook {
    /// The address.
    pub address: String,
    /// The file whose content, without white space around it, is the secret that messages are signed with.
    pub secret: String,
    /// A PEM file of the authority that signed the address's certificate.
    pub ca: Option<String>,
}

/// Where the keys of signer and log are.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyPlace {
    /// A directory with `release.key` and `log.key`.
    Directory(String),
    /// Two keys of Amazon KMS.
    Kms(KmsKeys),
}

/// Two keys of Amazon KMS: ARNs, ids or `alias/…`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KmsKeys {
    /// Signs releases.
    pub release: String,
    /// Signs the log's checkpoints.
    pub log: String,
    /// Their region, where AWS's usual places do not name it.
    pub region: Option<String>,
    /// The address of another service than Amazon's.
    pub endpoint: Option<String>,
}

/// Path of an environment's file.
pub fn file(name: &str) -> String {
    format!("{FOLDER}/{name}.yaml")
}

/// The environment that a path is the file of.
pub fn name_of(path: &str) -> Option<&str> {
    path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".yaml")
}

/// True for what an environment can be called: it stands in paths, and on command lines.
pub fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_letter)
}

/// Lists the problems of all environments.
pub fn check(files: &Files) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut logs = BTreeMap::new();
    let mut environments = Vec::new();
    for (path, bytes) in files {
        match Environment::read(path, bytes) {
            Err(problem) => problems.push(problem),
            Ok(environment) => {
                let log_origin = environment.log_origin.clone();
                if let Some(other) = logs.get(&log_origin) {
                    let message = format!(
                        "logOrigin `{log_origin}` is that of {other}; expected one of its own: the heads of two logs cannot be told apart by one name"
                    );
                    problems.push(Problem::new(path, message));
                }
                logs.entry(log_origin).or_insert(path);
                environments.push((path, environment));
            }
        }
    }
    problems.extend(apart::check(&environments));
    problems
}

impl Environment {
    /// Reads an environment's file.
    pub fn read(path: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let name = name_of(path).filter(|name| is_name(name));
        let name = name.ok_or_else(|| Problem::new(path, "is not a file that kdistro reads"))?;
        let text = str::from_utf8(bytes).map_err(|_| Problem::new(path, "is not UTF-8"))?;
        let environment: Self = yaml::from_str(text).map_err(|error| unread(path, error))?;
        let Self { name: found, log_origin, .. } = &environment;
        if found != name {
            let message = format!("is called `{found}`, expected `{name}` as the file");
            return Err(Problem::new(path, message));
        }
        if !is_host(log_origin) {
            let message =
                format!("logOrigin `{log_origin}` is not a host name such as `log.example.org`");
            return Err(Problem::new(path, message));
        }
        if let KeyPlace::Kms(KmsKeys { release, log, .. }) = &environment.keys
            && release == log
        {
            let message = format!(
                "release and log are one key, `{log}`; expected two: a log proves something only where another key signs it"
            );
            return Err(Problem::new(path, message));
        }
        if environment.topic().is_some_and(|topic| !is_topic(topic)) {
            let message = "`announcements.sns.topic` is not an ARN such as `arn:aws:sns:us-east-1:123456789012:releases`";
            return Err(Problem::new(path, message));
        }
        // An address may hold a password or be a secret itself: only its place is said.
        if let Some((field, _)) = environment.addresses().find(|(_, it)| !is_address(it)) {
            let message = format!(
                "`{field}` is not an https address, or http on this machine; neither has a user or password in it"
            );
            return Err(Problem::new(path, message));
        }
        let kept = names::check(&environment).and_then(|()| apart::check_one(&environment));
        kept.map_err(|message| Problem::new(path, message))?;
        Ok(environment)
    }

    /// The topic that announcements go to, where they go to one.
    pub fn topic(&self) -> Option<&str> {
        match &self.announcements {
            AnnouncementPlace::Sns(sns) => Some(&sns.topic),
            AnnouncementPlace::Directory(_) | AnnouncementPlace::Webhook(_) => None,
        }
    }

    /// Every address that it names, each behind the name of its field.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let store = match &self.store {
            StorePlace::S3(bucket) => Some(("store.s3.endpoint", bucket.endpoint.as_deref())),
            StorePlace::Directory(_) => None,
        };
        let (registry, service) = match &self.registry {
            RegistryPlace::Oci(oci) => (Some(("registry.oci.address", Some(&*oci.address))), None),
            RegistryPlace::Ecr(ecr) => (
                Some(("registry.ecr.address", ecr.address.as_deref())),
                Some(("registry.ecr.endpoint", ecr.endpoint.as_deref())),
            ),
            RegistryPlace::Directory(_) => (None, None),
        };
        let announcements = match &self.announcements {
            AnnouncementPlace::Sns(sns) => {
                Some(("announcements.sns.endpoint", sns.endpoint.as_deref()))
            }
            AnnouncementPlace::Webhook(webhook) => {
                Some(("announcements.webhook.address", Some(&*webhook.address)))
            }
            AnnouncementPlace::Directory(_) => None,
        };
        let keys = match &self.keys {
            KeyPlace::Kms(kms) => Some(("keys.kms.endpoint", kms.endpoint.as_deref())),
            KeyPlace::Directory(_) => None,
        };
        let named = [store, registry, service, announcements, keys].into_iter().flatten();
        named.filter_map(|(field, address)| Some((field, address?)))
    }
}

/// What the reader of YAML found. It repeats what stands in the wrong place: of an address nothing is repeated.
fn unread(path: &str, mut error: YamlError) -> Problem {
    if let Some(scheme) = error.message.find("://") {
        let begin = error.message.get(..scheme).and_then(|text| text.rfind(['`', '"', '\'', ' ']));
        let expected = error.message.rfind(", expected").filter(|end| *end > scheme);
        let before = error.message.get(..begin.unwrap_or_default()).unwrap_or_default();
        let after = expected.and_then(|end| error.message.get(end..)).unwrap_or_default();
        let begin = if before.is_empty() { "" } else { " " };
        error.message = format!("{}{begin}an address{after}", before.trim_end());
    }
    if error.path.contains("://") {
        ".".clone_into(&mut error.path);
    }
    Problem::of_yaml(path, &error)
}

/// True for the ARN of a topic.
///
/// Source: Amazon SNS, "Resource types": `arn:<partition>:sns:<region>:<account>:<name>`.
fn is_topic(arn: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_of_an_arn);
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts.as_slice(), ["arn", _, "sns", _, _, _]) && parts.iter().all(|part| is_part(part))
}

fn is_of_an_arn(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// True for a plain host name: letters, digits, dots and dashes, beginning and ending with a letter or digit.
pub fn is_host(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.chars().all(inner)
        && outer(name.chars().next())
        && outer(name.chars().last())
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "name: local\nstore: {directory: store}\nregistry: {directory: r}\nannouncements: {directory: a}\nkeys: {directory: k}\nlogOrigin: log.example.org\n";

    #[test]
    fn every_file_of_the_folder_must_be_an_environment_of_its_name() {
        let problems = |path: &str, text: &str| {
            let files = Files::from([(path.to_owned(), text.as_bytes().to_vec())]);
            check(&files).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(problems("infra/environments/local.yaml", LOCAL), "");
        for (path, from, to, expected) in [
            ("local", "keys:", "kyes:", "local.yaml:5: at `kyes`: unknown field `kyes`"),
            ("local", "log.example.org", "a/b", "logOrigin `a/b` is not a host name"),
            ("aws", "", "", "aws.yaml: is called `local`, expected `aws`"),
            ("sub/local", "", "", "is not a file that kdistro reads"),
        ] {
            let path = format!("infra/environments/{path}.yaml");
            let found = problems(&path, &LOCAL.replacen(from, to, 1));
            assert!(found.contains(expected), "{found}");
            assert_eq!(found.matches("line").count(), 0, "the line is said twice: {found}");
        }
        assert!(problems("infra/environments/README", "").contains("is not a file"));
    }

    #[test]
    fn the_places_of_a_cloud_are_read_and_their_addresses_checked() {
        const CLOUD: &str = "name: aws\nstore: {s3: {bucket: bucket, region: eu-west-1}}\nregistry: {ecr: {prefix: kdistro}}\nannouncements: {sns: {topic: 'arn:aws:sns:eu-west-1:123456789012:t.fifo'}}\nkeys: {kms: {release: alias/r, log: alias/l}}\nlogOrigin: log.example.org\n";
        let read = |text: &str| {
            let read = Environment::read("infra/environments/aws.yaml", text.as_bytes());
            read.map_err(|problem| problem.to_string())
        };
        let cloud = read(CLOUD).unwrap();
        assert_eq!(cloud.topic(), Some("arn:aws:sns:eu-west-1:123456789012:t.fifo"));
        assert!(!cloud.development);
        for (from, to, expected) in [
            ("arn:aws:sns:eu-west-1:", "arn:aws:sqs:eu-west-1:", "is not an ARN"),
            ("{bucket: bucket,", "{bukcet: b,", "bukcet"),
            ("s3:", "gcs:", "gcs"),
            ("log: alias/l", "log: alias/r", "release and log are one key, `alias/r`"),
            ("{prefix: kdistro}", "{endpoint: 'http://ecr.example'}", "is not an https address"),
            ("region: eu-west-1}", "endpoint: 'https://u:p@example'}", "is not an https address"),
        ] {
            let error = read(&CLOUD.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        for address in ["http://127.0.0.1:4566", "http://[::1]:1/x", "https://example.org"] {
            let text = CLOUD.replacen("region:", &format!("endpoint: '{address}', region:"), 1);
            read(&text).unwrap();
        }
    }

    #[test]
    fn two_environments_with_one_log_origin_are_both_named() {
        let file = |name: &str, text: &str| (file(name), text.as_bytes().to_vec());
        let other = LOCAL.replace("name: local", "name: other");
        let other = other.replace("directory: ", "directory: other/");
        let check = |other: &str| check(&Files::from([file("local", LOCAL), file("other", other)]));
        assert_eq!(check(&other.replace("log.example", "log2.example")), []);
        let found = check(&other);
        assert_eq!(found.len(), 1, "{found:?}");
        let found = found[0].to_string();
        let expected = "infra/environments/other.yaml: logOrigin `log.example.org` is that of infra/environments/local.yaml; ";
        assert!(found.starts_with(expected), "{found}");
    }

    #[test]
    fn a_name_leads_to_no_other_folder() {
        for name in ["local", "dev-2", "a.b_c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "..", "../x", "a/b", ".a", "-a", "a b", "a`b", "\u{e9}"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn of_an_address_only_its_field_is_named() {
        const PLANTED: &str = "PLANTEDPASS1";
        let full = "name: local\nstore: {s3: {bucket: bucket, endpoint: 'A'}}\nregistry: {oci: {address: 'B'}}\nannouncements: {webhook: {address: 'C', secret: s}}\nkeys: {kms: {release: alias/r, log: alias/l, endpoint: 'D'}}\nlogOrigin: log.example.org\n";
        let fine = ["'A'", "'B'", "'C'", "'D'"]
            .iter()
            .fold(full.to_owned(), |text, from| text.replace(from, "'https://a.example'"));
        let read = |text: &str| {
            let read = Environment::read("infra/environments/local.yaml", text.as_bytes());
            read.map(drop).map_err(|problem| format!("{problem} {problem:?}"))
        };
        read(&fine).unwrap();
        for (field, letter) in [
            ("store.s3.endpoint", "'A'"),
            ("registry.oci.address", "'B'"),
            ("announcements.webhook.address", "'C'"),
            ("keys.kms.endpoint", "'D'"),
        ] {
            for address in [
                "https://ci-user:PLANTEDPASS1@registry.example",
                "http://hooks.example/T00/B00/PLANTEDPASS1",
                "PLANTEDPASS1",
            ] {
                let text = full.replace(letter, &format!("'{address}'"));
                let text = ["'A'", "'B'", "'C'", "'D'"]
                    .iter()
                    .fold(text, |text, from| text.replace(from, "'https://a.example'"));
                let error = read(&text).unwrap_err();
                let expected = format!("`{field}` is not an https address");
                assert!(error.contains(&expected) && !error.contains(PLANTED), "{error}");
            }
        }
        // In the wrong place the reader of YAML would repeat it.
        let address = "'https://ci-user:PLANTEDPASS1, expected it@registry.example'";
        for (from, to) in [
            ("{oci: {address: 'https://a.example'}}", address.to_owned()),
            ("{address: 'https://a.example'}", address.to_owned()),
            ("{webhook: {address", format!("{{{address}: {{address")),
            ("secret: s", format!("{address}: s")),
            ("bucket: bucket", format!("pathStyle: {address}")),
            ("name: local", format!("name: local\n{address}: x")),
        ] {
            let error = read(&fine.replacen(from, &to, 1)).unwrap_err();
            assert!(!error.contains(PLANTED), "{error}");
        }
    }

    #[test]
    fn a_log_origin_is_a_host_and_no_path() {
        assert!(is_host("log.local.kdistro.dev"));
        for name in ["", "../..", "a/b", ".a", "a.", "a..b", "a b", "-a"] {
            assert!(!is_host(name), "{name}");
        }
    }
}
