//! Which Go files count on the build platform: by name, `//go:build` and `// +build`.
//!
//! Source: `go help buildconstraint`. Programs are compiled for Linux without cgo.

/// Words that are true on the build platform; every release of Go is new enough.
const TRUE: [&str; 4] = ["linux", "amd64", "unix", "gc"];

/// Operating systems that a file name can end with.
const SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
];

/// Architectures that a file name can end with.
const ARCHITECTURES: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

/// The longest expression that is read; what somebody else wrote must not fill the stack.
const LONGEST: usize = 1000;

/// True when a file with this name and text is compiled.
pub(super) fn counts(file: &str, text: &str) -> bool {
    name_counts(file) && text_counts(text)
}

fn name_counts(file: &str) -> bool {
    let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".go");
    let mut words = stem.rsplit('_');
    let (last, before) = (words.next().unwrap_or_default(), words.next());
    // A word alone is a name: `linux.go` counts everywhere.
    match before {
        None => true,
        Some(system) if ARCHITECTURES.contains(&last) => {
            let other = SYSTEMS.contains(&system) && words.next().is_some() && system != "linux";
            last == "amd64" && !other
        }
        Some(_) => !SYSTEMS.contains(&last) || last == "linux",
    }
}

fn text_counts(text: &str) -> bool {
    let head = text.lines().take_while(|line| !line.starts_with("package "));
    let mut old = true;
    for line in head {
        if let Some(expression) = line.strip_prefix("//go:build ") {
            return holds(expression);
        }
        if let Some(options) = line.strip_prefix("// +build ") {
            let all = |option: &str| option.split(',').all(|word| is_true(word.trim()));
            old &= options.split_whitespace().any(all);
        }
    }
    old
}

fn is_true(word: &str) -> bool {
    match word.strip_prefix('!') {
        Some(word) => !is_true(word),
        None => TRUE.contains(&word) || word.starts_with("go1."),
    }
}

/// Evaluates a `//go:build` expression; one that cannot be read does not hold.
fn holds(expression: &str) -> bool {
    if expression.len() > LONGEST {
        return false;
    }
    let mut rest = expression.trim();
    let value = any(&mut rest);
    value.unwrap_or(false) && rest.is_empty()
}

fn any(rest: &mut &str) -> Option<bool> {
    let mut value = all(rest)?;
    while skip(rest, "||") {
        value |= all(rest)?;
    }
    Some(value)
}

fn all(rest: &mut &str) -> Option<bool> {
    let mut value = one(rest)?;
    while skip(rest, "&&") {
        value &= one(rest)?;
    }
    Some(value)
}

fn one(rest: &mut &str) -> Option<bool> {
    if skip(rest, "!") {
        return one(rest).map(|value| !value);
    }
    if skip(rest, "(") {
        let value = any(rest)?;
        return skip(rest, ")").then_some(value);
    }
    let letter = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let end = rest.find(|c| !letter(c)).unwrap_or(rest.len());
    let (word, after) = rest.split_at_checked(end).filter(|(word, _)| !word.is_empty())?;
    *rest = after.trim_start();
    Some(is_true(word))
}

fn skip(rest: &mut &str, token: &str) -> bool {
    let Some(after) = rest.strip_prefix(token) else { return false };
    *rest = after.trim_start();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_judged_as_go_does() {
        for (expression, expected) in [
            ("linux", true),
            ("!windows && (darwin || linux)", true),
            ("ignore", false),
            ("cgo", false),
            ("!(linux && go1.18)", false),
            ("linux &&", false),
            ("(linux", false),
            ("linux windows", false),
        ] {
            assert_eq!(holds(expression), expected, "{expression}");
        }
        assert!(!holds(&"(".repeat(1_000_000)));
    }

    #[test]
    fn names_and_old_lines_count_too() {
        for (name, expected) in [
            ("a/main.go", true),
            ("a/linux.go", true),
            ("a/x_windows.go", false),
            ("a/x_linux_arm64.go", false),
            ("a/x_darwin_amd64.go", false),
            ("a/x_linux_amd64.go", true),
            ("a/win-bridge_windows.go", false),
            ("a/zz_generated.go", true),
        ] {
            assert_eq!(counts(name, "package main\n"), expected, "{name}");
        }
        assert!(counts("a.go", "// +build linux darwin\n\npackage a\n"));
        assert!(!counts("a.go", "// +build linux\n// +build cgo\n\npackage a\n"));
        assert!(!counts("a.go", "// +build linux,cgo windows\n\npackage a\n"));
        assert!(counts("a.go", "package a\n//go:build ignore\n"));
    }
}
