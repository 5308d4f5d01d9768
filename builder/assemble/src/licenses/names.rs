//! Which names files with licences have.

/// What a file that goes with a licence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// The text of a licence.
    License,
    /// A notice or a grant of patents, to be handed on with the licence; it names no licence itself.
    Notice,
}

/// First or last words of names of licence texts.
const LICENSES: [&str; 7] =
    ["copying", "copyright", "licence", "licences", "license", "licenses", "unlicense"];

/// First or last words of names of notices.
const NOTICES: [&str; 4] = ["notice", "notices", "patent", "patents"];

/// Endings of text files that people read. Others, such as `license.go` and `licenses.json`, are parts of programs;
/// endings that name a licence or what it is for (`LICENSE.libyaml`, `LICENSE.MIT`) are not listed anywhere.
const PROGRAMS: [&str; 46] = [
    "bash", "bat", "bazel", "bz2", "bzl", "c", "cc", "cfg", "conf", "cpp", "cs", "css", "csv",
    "gif", "go", "gz", "h", "header", "hpp", "html", "in", "java", "jpg", "js", "json", "jsx",
    "mod", "pb", "pem", "php", "pl", "png", "proto", "ps1", "py", "rb", "rs", "s", "sh", "sum",
    "svg", "tmpl", "toml", "ts", "yaml", "yml",
];

/// Tells what a file is by its name, in any case: a licence, a notice, or (`None`) something else.
pub fn kind_of(file_name: &str) -> Option<FileKind> {
    let name = file_name.to_ascii_lowercase();
    if name.rsplit_once('.').is_some_and(|(_, ending)| PROGRAMS.contains(&ending)) {
        return None;
    }
    let stem = ["txt", "md", "rst", "markdown", "adoc"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending)?.strip_suffix('.'))
        .unwrap_or(&name);
    let mut words = stem.split(['.', '-', '_', ' ']).filter(|word| !word.is_empty());
    let first = words.next()?;
    let last = words.next_back().unwrap_or(first);
    // `LICENSE-third-party-notices` is a notice: the last word says what a file is, the first what it is about.
    [last, first].into_iter().find_map(|word| {
        if NOTICES.contains(&word) {
            Some(FileKind::Notice)
        } else if LICENSES.contains(&word) {
            Some(FileKind::License)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_that_modules_use() {
        for name in [
            "LICENSE",
            "License",
            "LICENCE",
            "LICENSE.txt",
            "LICENSE.md",
            "license.rst",
            "COPYING",
            "COPYING.LESSER",
            "LICENSE-MIT",
            "LICENSE.libyaml",
            "LICENSE.APACHE2",
            "MIT-LICENSE.txt",
            "UNLICENSE",
            "LICENSE_APACHE",
            "Copyright",
            "LICENSES",
            "go.LICENSE",
            "LICENSE-2.0.txt",
        ] {
            assert_eq!(kind_of(name), Some(FileKind::License), "{name}");
        }
        for name in ["NOTICE", "Notice.txt", "PATENTS", "THIRD_PARTY_NOTICES.md", "NOTICES"] {
            assert_eq!(kind_of(name), Some(FileKind::Notice), "{name}");
        }
        for name in [
            "license.go",
            "licensecheck",
            "README.md",
            "license_test.go",
            "licenses.json",
            "AUTHORS",
            "copying.go",
            "notice.html.tmpl",
            "",
            ".",
            "notify",
            "main.go",
            "LICENSE.header",
        ] {
            assert_eq!(kind_of(name), None, "{name}");
        }
    }
}
