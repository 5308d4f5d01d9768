//! What build scripts tell the linker and the compiler: `-X symbol=value` and `-tags`.

use std::collections::BTreeMap;

/// How many names are looked up for one symbol or value; a script can name a name in itself.
const LOOKUPS: usize = 100;

/// The longest symbol or value that is read.
const LONGEST: usize = 400;

/// A variable that a script sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flag {
    /// The symbol, with names filled in as far as they are known.
    pub(super) symbol: String,
    /// The value, likewise.
    pub(super) value: String,
    /// The script.
    pub(super) file: String,
}

/// Build scripts, most telling first.
pub(super) struct Scripts<'a> {
    files: Vec<(&'a str, String)>,
    /// What any script assigns; the first counts.
    assigned: BTreeMap<String, String>,
}

impl<'a> Scripts<'a> {
    /// Reads scripts by name and text; `module` is what `go list -m` prints.
    pub(super) fn new(files: impl Iterator<Item = (&'a str, &'a str)>, module: &str) -> Self {
        let joined = files.map(|(name, text)| (name, text.replace("\\\n", " ")));
        let files: Vec<_> = joined.collect();
        let mut assigned = BTreeMap::new();
        for command in ["go list -m", "shell go list -m"] {
            assigned.insert(command.to_owned(), module.to_owned());
        }
        for (_, text) in &files {
            for (name, value) in assignments(text) {
                assigned.entry(name).or_insert(value);
            }
        }
        Self { files, assigned }
    }

    /// Lists every variable that is set, in the order of the scripts.
    pub(super) fn flags(&self) -> Vec<Flag> {
        let mut found = Vec::new();
        for (file, text) in &self.files {
            let own: BTreeMap<_, _> = assignments(text).into_iter().collect();
            for (symbol, value) in occurrences(text) {
                let fill = |text: &str| self.fill(text, &own, &mut LOOKUPS.clone());
                let file = (*file).to_owned();
                found.push(Flag { symbol: fill(symbol), value: fill(value), file });
            }
        }
        found
    }

    /// Lists the build tags that a line with `go build` sets.
    pub(super) fn tags(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (_, text) in &self.files {
            let own: BTreeMap<_, _> = assignments(text).into_iter().collect();
            for line in text.lines().filter(|line| line.contains("go build")) {
                let Some((_, after)) = line.split_once("-tags") else { continue };
                let (word, _) = token(after.trim_start_matches([' ', '=', '"', '\'']));
                let word = self.fill(word, &own, &mut LOOKUPS.clone());
                let tags = word.split([',', ' ']).filter(|tag| !tag.is_empty());
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
                if tags.clone().all(|tag| tag.chars().all(plain)) {
                    found.extend(tags.map(str::to_owned));
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Fills in `$(NAME)`, `${NAME}`, `${NAME:-default}` and `$NAME`; what nobody assigned stays as it is.
    fn fill(&self, text: &str, own: &BTreeMap<String, String>, left: &mut usize) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            out.push_str(before);
            let (name, length) = reference(from);
            let (name, default) = name.split_once(":-").map_or((name, None), |(n, d)| (n, Some(d)));
            let found = own.get(name).or_else(|| self.assigned.get(name)).map(String::as_str);
            match found.or(default).filter(|_| *left > 0 && out.len() < LONGEST) {
                Some(value) => {
                    *left -= 1;
                    out.push_str(&self.fill(value, own, left));
                }
                None => out.push_str(from.get(..length).unwrap_or_default()),
            }
            rest = from.get(length..).unwrap_or_default();
        }
        out.push_str(rest);
        out
    }
}

/// The name that a text beginning with `$` refers to, and the length of the reference.
fn reference(text: &str) -> (&str, usize) {
    let bytes = text.as_bytes();
    let close = match bytes.get(1) {
        Some(b'(') => b')',
        Some(b'{') => b'}',
        _ => {
            let inner = text.get(1..).unwrap_or_default();
            let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let length = inner.find(|c| !letter(c)).unwrap_or(inner.len());
            return (inner.get(..length).unwrap_or_default(), length + 1);
        }
    };
    let open = bytes.get(1).copied().unwrap_or_default();
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        if *byte == open {
            depth += 1;
        } else if *byte == close {
            depth -= 1;
        }
        if depth == 0 {
            return (text.get(2..at).unwrap_or_default(), at + 1);
        }
    }
    ("", 1)
}

/// The word that a text begins with: up to a space or quote outside of references.
fn token(text: &str) -> (&str, &str) {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty() && at < LONGEST) {
        if rest.starts_with([' ', '\t', '\n', '"', '\'', '\\', ';', '`']) {
            break;
        }
        at += if rest.starts_with('$') {
            reference(rest).1
        } else if rest.starts_with("{{") {
            rest.find("}}").map_or(2, |end| end + 2)
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
    }
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// Every `-X symbol=value` of a script.
fn occurrences(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("-X") {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + 2..).unwrap_or_default();
        let begins = before.is_none_or(|c| c.is_whitespace() || "\"'=(".contains(c));
        if !begins || !after.starts_with([' ', '=', '\t', '"', '\'']) {
            continue;
        }
        let (word, _) = token(after.trim_start_matches([' ', '=', '\t', '"', '\'']));
        let Some((symbol, value)) = word.split_once('=') else { continue };
        // A space can stand in a reference only.
        let looks = |c: char| c.is_ascii_alphanumeric() || "./_-${}(): ".contains(c);
        if !symbol.is_empty() && symbol.chars().all(looks) {
            found.push((symbol, value));
        }
    }
    found
}

/// What a make file or shell script assigns: `NAME = value`, `NAME := value`, `NAME ?= value`, `export NAME=value`.
fn assignments(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut line = line.trim();
        for word in ["export ", "readonly ", "local ", "declare -r ", "ARG ", "ENV "] {
            line = line.strip_prefix(word).unwrap_or(line);
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        // `+=` adds to what stands elsewhere.
        let name = name.trim_end_matches([':', '?']).trim();
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(letter) || value.len() > LONGEST {
            continue;
        }
        let value = value.trim();
        let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        found.push((name.to_owned(), inner.unwrap_or(value).to_owned()));
    }
    found
}

/// What a variable is to be set to, by what it is called; none where nobody can tell.
pub(super) fn template(variable: &str, value: &str) -> Option<&'static str> {
    let name = variable.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let template = if is(&["treestate"]) {
        "clean"
    } else if is(&["goversion", "branch", "platform", "user"]) {
        return None;
    } else if is(&["major"]) {
        "$(major)"
    } else if is(&["minor"]) {
        "$(minor)"
    } else if is(&["date", "time"]) {
        "$(buildDate)"
    } else if is(&["commit", "sha", "revision", "githash"]) {
        if value.contains("--short") { "$(commit7)" } else { "$(commit)" }
    } else if is(&["version", "tag", "release"]) {
        "$(tag)"
    } else {
        return None;
    };
    Some(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let scripts = Scripts::new(files.iter().copied(), "example.org/m");
        scripts.flags().into_iter().map(|flag| (flag.symbol, flag.value)).collect()
    }

    #[test]
    fn variables_are_found_as_people_write_them() {
        for (text, symbol, value) in [
            ("LDFLAGS ?= -w -s -X main.gitVersion=$(V)\nV := v1\n", "main.gitVersion", "v1"),
            (
                "A=\"x.org\"\nP=\"${A}/etcd\"\nF=\"$F -X ${P}/version.GitSHA=${G}\"\n",
                "x.org/etcd/version.GitSHA",
                "${G}",
            ),
            ("F=(\"-X=${S}=1\")\nS=\"a/b.C\"\n", "a/b.C", "1"),
            (
                "go build -ldflags \"-X '$(go list -m)/version.Version=${V:-v0}'\"\n",
                "example.org/m/version.Version",
                "v0",
            ),
            ("  - -s -X pkg.Version={{ .Version }} -X x\n", "pkg.Version", "{{ .Version }}"),
            (
                "G=$(shell git rev-parse --short HEAD)\n\tgo build -ldflags=-X=a.b=$(G) .\n",
                "a.b",
                "$(shell git rev-parse --short HEAD)",
            ),
            ("-ldflags='-X a/b.C=1' \\\n -o x", "a/b.C", "1"),
        ] {
            assert_eq!(flags(&[("f", text)]), [(symbol.to_owned(), value.to_owned())], "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_left_out() {
        for text in
            ["curl -X POST \\\n -d a=b", "curl -X=GET http://x/y?a=b", "set -X\n", "a-X b=c"]
        {
            assert_eq!(flags(&[("f", text)]), [], "{text}");
        }
    }

    #[test]
    fn names_come_from_other_scripts_too_and_a_ring_ends() {
        let files = [("build.sh", "-X ${ROOT}/v.A=1\n"), ("lib.sh", "ROOT=\"r.org\"\nL=$(L)\n")];
        assert_eq!(flags(&files), [("r.org/v.A".to_owned(), "1".to_owned())]);
        assert_eq!(flags(&[("f", "L=x$(L)\n-X a.b=$(L)\n")]).len(), 1);
    }

    #[test]
    fn tags_of_builds_count_and_those_of_tests_do_not() {
        let text = "T?=grpcnotrace\nx:\n\tgo build -v \\\n\t -tags=\"$(T)\" .\n\tgo test -tags e2e ./...\n";
        assert_eq!(Scripts::new([("Makefile", text)].into_iter(), "m").tags(), ["grpcnotrace"]);
    }

    #[test]
    fn values_follow_from_names() {
        for (name, value, expected) in [
            ("GitSHA", "$(git rev-parse --short HEAD)", Some("$(commit7)")),
            ("CommitID", "", Some("$(commit)")),
            ("BuildDate", "", Some("$(buildDate)")),
            ("gitTreeState", "", Some("clean")),
            ("gitMajor", "", Some("$(major)")),
            ("BuildVersion", "", Some("$(tag)")),
            ("goVersion", "", None),
            ("Feature", "", None),
        ] {
            assert_eq!(template(name, value), expected, "{name}");
        }
    }
}
