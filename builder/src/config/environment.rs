//! `infra/environments/<name>.yaml`: where bytes go today. Never named in a manifest.

use kdistro_border::is_address;
use kdistro_formats::yaml;
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

/// Lists the problems of all environments.
pub fn check(files: &Files) -> Vec<Problem> {
    let read = files.iter().filter_map(|(path, bytes)| Environment::read(path, bytes).err());
    read.collect()
}

impl Environment {
    /// Reads an environment's file.
    pub fn read(path: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let name = name_of(path).filter(|name| !name.contains('/'));
        let name = name.ok_or_else(|| Problem::new(path, "is not a file that kdistro reads"))?;
        let text = str::from_utf8(bytes).map_err(|_| Problem::new(path, "is not UTF-8"))?;
        let environment: Self =
            yaml::from_str(text).map_err(|error| Problem::of_yaml(path, &error))?;
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
        if let Some(topic) = environment.topic().filter(|topic| !is_topic(topic)) {
            let message = format!(
                "topic `{topic}` is not an ARN such as `arn:aws:sns:us-east-1:123456789012:releases`"
            );
            return Err(Problem::new(path, message));
        }
        if let Some(address) = environment.addresses().find(|address| !is_address(address)) {
            let message = format!("`{address}` is not an https address, or http on this machine");
            return Err(Problem::new(path, message));
        }
        Ok(environment)
    }

    /// The topic that announcements go to, where they go to one.
    pub fn topic(&self) -> Option<&str> {
        match &self.announcements {
            AnnouncementPlace::Sns(sns) => Some(&sns.topic),
            AnnouncementPlace::Directory(_) | AnnouncementPlace::Webhook(_) => None,
        }
    }

    /// Every address that it names.
    fn addresses(&self) -> impl Iterator<Item = &str> {
        let store = match &self.store {
            StorePlace::S3(bucket) => bucket.endpoint.as_deref(),
            StorePlace::Directory(_) => None,
        };
        let (registry, service) = match &self.registry {
            RegistryPlace::Oci(oci) => (Some(oci.address.as_str()), None),
            RegistryPlace::Ecr(ecr) => (ecr.address.as_deref(), ecr.endpoint.as_deref()),
            RegistryPlace::Directory(_) => (None, None),
        };
        let announcements = match &self.announcements {
            AnnouncementPlace::Sns(sns) => sns.endpoint.as_deref(),
            AnnouncementPlace::Webhook(webhook) => Some(webhook.address.as_str()),
            AnnouncementPlace::Directory(_) => None,
        };
        let keys = match &self.keys {
            KeyPlace::Kms(kms) => kms.endpoint.as_deref(),
            KeyPlace::Directory(_) => None,
        };
        [store, registry, service, announcements, keys].into_iter().flatten()
    }
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
        const CLOUD: &str = "name: aws\nstore: {s3: {bucket: b, region: eu-west-1}}\nregistry: {ecr: {prefix: kdistro}}\nannouncements: {sns: {topic: 'arn:aws:sns:eu-west-1:123456789012:t.fifo'}}\nkeys: {kms: {release: alias/r, log: alias/l}}\nlogOrigin: log.example.org\n";
        let read = |text: &str| {
            let read = Environment::read("infra/environments/aws.yaml", text.as_bytes());
            read.map_err(|problem| problem.to_string())
        };
        let cloud = read(CLOUD).unwrap();
        assert_eq!(cloud.topic(), Some("arn:aws:sns:eu-west-1:123456789012:t.fifo"));
        assert!(!cloud.development);
        for (from, to, expected) in [
            ("arn:aws:sns:eu-west-1:", "arn:aws:sqs:eu-west-1:", "is not an ARN"),
            ("{bucket: b,", "{bukcet: b,", "bukcet"),
            ("s3:", "gcs:", "gcs"),
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
    fn a_log_origin_is_a_host_and_no_path() {
        assert!(is_host("log.local.kdistro.dev"));
        for name in ["", "../..", "a/b", ".a", "a.", "a..b", "a b", "-a"] {
            assert!(!is_host(name), "{name}");
        }
    }
}
