//! `infra/environments/<name>.yaml`: where bytes go today. Never named in a manifest.

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
    pub store: Place,
    /// The images, as one OCI layout a repository.
    pub registry: Place,
    /// The announcements.
    pub announcements: Place,
    /// The keys of signer and log.
    pub keys: Place,
    /// The log's name: the host part of its address, and nothing more.
    pub log_origin: String,
}

/// A place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Place {
    /// A directory, from the home folder unless absolute.
    pub directory: String,
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
        Ok(environment)
    }
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
    fn a_log_origin_is_a_host_and_no_path() {
        assert!(is_host("log.local.kdistro.dev"));
        for name in ["", "../..", "a/b", ".a", "a.", "a..b", "a b", "-a"] {
            assert!(!is_host(name), "{name}");
        }
    }
}
