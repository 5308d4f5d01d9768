//! `go.mod` and what stands beside it, as far as a recipe needs them.
//!
//! Source: the Go Modules Reference, "go.mod files" and "Workspaces".

/// A Go module in a source tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Its folder in the source, empty for the top.
    pub(super) folder: String,
    /// Its path.
    pub(super) path: String,
    /// The version of Go it asks for: `toolchain` before `go`.
    pub(super) go: Option<String>,
}

impl Module {
    /// Reads a go.mod; none where it names no module.
    pub(super) fn read(folder: &str, text: &str) -> Option<Self> {
        let (mut path, mut go, mut toolchain) = (None, None, None);
        for line in text.lines() {
            let line = line.split("//").next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("module"), Some(word)) => path = Some(word.trim_matches('"').to_owned()),
                (Some("go"), Some(word)) => go = Some(word.to_owned()),
                (Some("toolchain"), Some(word)) => {
                    toolchain = word.strip_prefix("go").map(str::to_owned);
                }
                _ => {}
            }
        }
        Some(Self { folder: folder.to_owned(), path: path?, go: toolchain.or(go) })
    }

    /// The import path of a package by its folder in the source.
    pub(super) fn package(&self, folder: &str) -> String {
        let inner = folder.strip_prefix(&self.folder).unwrap_or(folder).trim_start_matches('/');
        if inner.is_empty() { self.path.clone() } else { format!("{}/{inner}", self.path) }
    }

    /// The folder of a package in the source, where the import path is one of this module.
    pub(super) fn folder_of(&self, package: &str) -> Option<String> {
        let inner = package.strip_prefix(&self.path)?;
        match (self.folder.as_str(), inner.strip_prefix('/')) {
            (folder, None) => inner.is_empty().then(|| folder.to_owned()),
            ("", Some(inner)) => Some(inner.to_owned()),
            (folder, Some(inner)) => Some(format!("{folder}/{inner}")),
        }
    }

    /// What `go build` calls the program at the module's top: the last word of the path, less a major version.
    pub(super) fn program(&self) -> &str {
        let (before, last) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let major = last.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
        if major { before.rsplit('/').next().unwrap_or(last) } else { last }
    }
}

/// The minor version of Go in `1.25.10`, `go1.25` or `1.25rc1`.
pub(super) fn minor(version: &str) -> Option<String> {
    let version = version.trim().trim_start_matches("go");
    let (major, rest) = version.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (major == "1" && !minor.is_empty()).then(|| format!("{major}.{minor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_read_with_its_go() {
        let text = "module go.etcd.io/etcd/server/v3 // here\n\ngo 1.25.0\n\ntoolchain go1.25.10\n\nrequire a v1.0.0\n";
        let module = Module::read("server", text).unwrap();
        assert_eq!(module.go.as_deref(), Some("1.25.10"));
        assert_eq!(module.program(), "server");
        assert_eq!(module.package("server/embed"), "go.etcd.io/etcd/server/v3/embed");
        assert_eq!(module.folder_of("go.etcd.io/etcd/server/v3/embed").unwrap(), "server/embed");
        assert_eq!(module.folder_of("go.etcd.io/etcd/server/v3").unwrap(), "server");
        assert_eq!(module.folder_of("go.etcd.io/etcd/server/v30"), None);
        assert_eq!(Module::read("", "go 1.2\n"), None);
    }

    #[test]
    fn minors_of_go_are_read_in_every_form() {
        for (text, expected) in [
            ("1.25.10\n", Some("1.25")),
            ("go1.26", Some("1.26")),
            ("1.27rc1", Some("1.27")),
            ("x", None),
        ] {
            assert_eq!(minor(text).as_deref(), expected);
        }
    }
}
