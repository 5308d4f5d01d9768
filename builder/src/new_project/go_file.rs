//! What is to be known of a Go file: its package, whether a program starts in it, and its string variables.
//!
//! Reads files as `gofmt` leaves them; no more of the language is understood than that takes.

use std::collections::BTreeSet;

use super::constraint;

/// A Go file that counts on the build platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GoFile {
    pub(super) package: String,
    /// True where `func main` does something.
    pub(super) starts: bool,
    /// Names of package-level variables that hold strings.
    pub(super) strings: BTreeSet<String>,
}

/// Reads a file; none where it does not count, or is no Go file.
pub(super) fn read(name: &str, text: &str) -> Option<GoFile> {
    if !constraint::counts(name, text) {
        return None;
    }
    let code = without_comments(text);
    let mut lines = code.lines();
    let package = lines.find_map(|line| line.strip_prefix("package "))?;
    let mut file = GoFile { package: package.trim().to_owned(), ..GoFile::default() };
    let mut block = false;
    while let Some(line) = lines.next() {
        if line.trim_end() == "func main() {" {
            file.starts = lines.next().is_some_and(|line| line != "}");
        } else if line.trim_end() == "var (" {
            block = true;
        } else if line.starts_with(')') {
            block = false;
        } else if let Some(variable) = line.strip_prefix("var ") {
            file.strings.extend(string_variables(variable));
        } else if let Some(variable) = line.strip_prefix('\t').filter(|_| block) {
            file.strings.extend(string_variables(variable));
        }
    }
    Some(file)
}

/// The names in `a, b string` or `a = "…"`; nothing where they are of another type.
fn string_variables(line: &str) -> Vec<String> {
    let (declared, value) = match line.split_once('=') {
        Some((declared, value)) => (declared.trim(), Some(value.trim())),
        None => (line.trim(), None),
    };
    let names = match (declared.strip_suffix(" string"), value) {
        (Some(names), _) => names,
        (None, Some(value)) if value.starts_with(['"', '`']) => declared,
        _ => return Vec::new(),
    };
    let names = names.split(',').map(str::trim);
    let is_name =
        |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    names.filter(is_name).map(str::to_owned).collect()
}

/// Leaves comments out, and keeps what looks like one inside a string.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['/', '"', '`', '\'']) {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        let length = if from.starts_with("//") {
            from.find('\n').unwrap_or(from.len())
        } else if from.starts_with("/*") {
            from.find("*/").map_or(from.len(), |end| end + 2)
        } else {
            let length = literal(from);
            out.push_str(from.get(..length).unwrap_or_default());
            length
        };
        rest = from.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The length of the literal, or of the single character, that a text begins with.
fn literal(text: &str) -> usize {
    let mut characters = text.char_indices();
    let Some((_, quote)) = characters.next() else { return 0 };
    if quote == '/' {
        return 1;
    }
    let mut escaped = false;
    for (at, c) in characters {
        if c == quote && !escaped {
            return at + 1;
        }
        // A quote that is not closed on its line is none.
        if c == '\n' && quote != '`' {
            return at;
        }
        escaped = c == '\\' && !escaped && quote != '`';
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_string_variables_are_found() {
        let text = "// A comment: func main() {\n\n/* package wrong\n*/\npackage main // here\n\nimport \"x\"\n\nvar version = \"dev\" // the version\nvar count = 3\nvar (\n\t// GitCommit is set by -X\n\tGitCommit string\n\ta, b string\n\tn int\n\tt string = \"http://x\"\n)\n\nvar f = func() string {\n\tlocal := \"x\"\n\treturn local\n}\n\nfunc main() {\n\tx.Run()\n}\n";
        let file = read("cmd/a/main.go", text).unwrap();
        assert_eq!(file.package, "main");
        assert!(file.starts);
        let names: Vec<_> = file.strings.iter().map(String::as_str).collect();
        assert_eq!(names, ["GitCommit", "a", "b", "t", "version"]);
    }

    #[test]
    fn a_main_that_does_nothing_is_no_program() {
        for text in ["package main\nfunc main() {}\n", "package main\nfunc main() {\n}\n"] {
            assert!(!read("a.go", text).unwrap().starts, "{text}");
        }
        assert_eq!(
            read("a.go", "//go:build ignore\n\npackage main\nfunc main() {\n\tx()\n}\n"),
            None
        );
    }

    #[test]
    fn strings_may_look_like_comments() {
        assert_eq!(
            without_comments("a \"//b\" c // d\n'\"' /* e */ f / g"),
            "a \"//b\" c \n'\"'  f / g"
        );
        assert_eq!(without_comments("`a\n// b` \"\\\"//\" // c"), "`a\n// b` \"\\\"//\" ");
    }
}
