//! ATTRIBUTION.txt: what is linked into programs, under which licence, and the texts of those licences.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use crate::licenses::Licensed;

const RULE: &str =
    "================================================================================\n";

/// Writes the attribution of everything that is linked: modules of Go, its standard library, Debian packages.
///
/// Sorted by name and version, whatever the order of `linked`; what occurs twice is named once. A text that several
/// share stands once, under all their names. Ends of lines are `\n` throughout.
pub fn attribution(linked: &[&Licensed]) -> String {
    let linked: BTreeSet<&Licensed> = linked.iter().copied().collect();
    let mut out = String::from(
        "What is linked into the programs that this file belongs to, and the licences of it.\n\n",
    );
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut texts: Vec<(Arc<str>, Vec<String>)> = Vec::new();
    for item in &linked {
        line(&mut out, format_args!("{} {}", item.name, item.version));
        line(&mut out, format_args!("  licence: {}", item.expression));
        if let Some(reason) = &item.excepted {
            line(&mut out, format_args!("  it has no licence file: {reason}"));
        }
        for file in &item.files {
            let next = texts.len();
            let number = *numbers.entry(&file.text).or_insert(next);
            if number == next {
                texts.push((Arc::clone(&file.text), Vec::new()));
            }
            if let Some((_, users)) = texts.get_mut(number) {
                users.push(format!("{} {}: {}", item.name, item.version, file.path));
            }
            line(&mut out, format_args!("  text {}: {}", number + 1, file.path));
        }
    }
    for (number, (text, users)) in texts.iter().enumerate() {
        out.push('\n');
        out.push_str(RULE);
        line(&mut out, format_args!("Text {}, of", number + 1));
        for user in users {
            line(&mut out, format_args!("  {user}"));
        }
        out.push_str(RULE);
        out.push('\n');
        for text in text.trim_end().lines() {
            line(&mut out, format_args!("{}", text.trim_end()));
        }
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::licenses::{FileKind, LicenseFile};

    fn licensed(name: &str, files: &[(&str, &str)]) -> Licensed {
        let file = |(path, text): &(&str, &str)| LicenseFile {
            path: (*path).to_owned(),
            kind: FileKind::License,
            text: Arc::from(*text),
        };
        Licensed {
            name: name.to_owned(),
            version: "v1.0.0".to_owned(),
            expression: "MIT".to_owned(),
            extracted: Vec::new(),
            files: files.iter().map(file).collect(),
            excepted: files.is_empty().then(|| "its author said so".to_owned()),
        }
    }

    #[test]
    fn a_text_that_two_share_stands_once_under_both_names() {
        let a =
            licensed("example.org/a", &[("LICENSE", "Same  \r\ntext\n\n\n"), ("NOTICE", "own")]);
        let b = licensed("example.org/b", &[("COPYING", "Same  \r\ntext\n\n\n")]);
        let c = licensed("example.org/c", &[]);
        let text = attribution(&[&b, &c, &a, &b]);
        assert_eq!(text, attribution(&[&a, &b, &c]));
        let expected = format!(
            "What is linked into the programs that this file belongs to, and the licences of it.

example.org/a v1.0.0
  licence: MIT
  text 1: LICENSE
  text 2: NOTICE
example.org/b v1.0.0
  licence: MIT
  text 1: COPYING
example.org/c v1.0.0
  licence: MIT
  it has no licence file: its author said so

{RULE}Text 1, of
  example.org/a v1.0.0: LICENSE
  example.org/b v1.0.0: COPYING
{RULE}
Same
text

{RULE}Text 2, of
  example.org/a v1.0.0: NOTICE
{RULE}
own
"
        );
        assert_eq!(text, expected);
    }
}
