//! Reads where a host gets its packages from, and keeps what belongs to one suite of Debian.

use std::fmt::Write as _;

/// An archive that the host uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    pub uris: Vec<String>,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    /// Paths of keyrings or fingerprints, separated by commas or spaces, or an armoured key; none for apt's own.
    pub signed_by: Option<String>,
    /// Which of [`CHECKS`] it wants or does not want, with `yes` or `no`.
    pub checks: Vec<(&'static str, String)>,
}

/// How old the index of an archive may be, and whether its date may lie ahead. Source: `sources.list(5)`.
const CHECKS: [&str; 2] = ["Check-Date", "Check-Valid-Until"];

/// Reads paragraphs of `Name: value` lines, as apt's indexes, `.sources` and `.dsc` files have them.
///
/// Continuation lines are kept with their line end; names are made lowercase. Source: `deb822(5)`.
pub(crate) fn paragraphs(text: &str) -> Vec<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut paragraph: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            if !paragraph.is_empty() {
                found.push(std::mem::take(&mut paragraph));
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = paragraph.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            paragraph.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    if !paragraph.is_empty() {
        found.push(paragraph);
    }
    found
}

/// Returns a field of a paragraph; `name` in lowercase.
pub(crate) fn field<'a>(paragraph: &'a [(String, String)], name: &str) -> Option<&'a str> {
    paragraph.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// Reads a file in the `.sources` format. Source: `sources.list(5)`.
pub(crate) fn read_sources(text: &str) -> Vec<Archive> {
    let archives = paragraphs(text).into_iter().filter_map(|paragraph| {
        let words = |name| {
            let value = field(&paragraph, name).unwrap_or_default();
            value.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let is_off = matches!(field(&paragraph, "enabled"), Some("no" | "false" | "0"));
        let is_debian = words("types").iter().any(|kind| kind == "deb" || kind == "deb-src");
        (!is_off && is_debian).then(|| Archive {
            uris: words("uris"),
            suites: words("suites"),
            components: words("components"),
            signed_by: field(&paragraph, "signed-by").map(str::to_owned),
            checks: checks(|name| field(&paragraph, name)),
        })
    });
    archives.collect()
}

/// Reads a file in the one-line format. Source: `sources.list(5)`.
pub(crate) fn read_list(text: &str) -> Vec<Archive> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter_map(read_line).collect()
}

fn read_line(line: &str) -> Option<Archive> {
    let (kind, rest) = line.split_once([' ', '\t'])?;
    let rest = rest.trim_start();
    if kind != "deb" && kind != "deb-src" {
        return None;
    }
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let options = options.split_whitespace().filter_map(|option| option.split_once('='));
    let options: Vec<_> = options.collect();
    let option =
        |name: &str| options.iter().find(|(found, _)| *found == name).map(|(_, text)| *text);
    Some(Archive {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: option("signed-by").map(str::to_owned),
        checks: checks(option),
    })
}

/// What an archive says of each check; its words for yes and no are apt's.
fn checks<'a>(said: impl Fn(&str) -> Option<&'a str>) -> Vec<(&'static str, String)> {
    let known = |text: &&str| ["yes", "no", "true", "false"].contains(text);
    let found = |name: &'static str| {
        let text = said(&name.to_ascii_lowercase()).filter(known)?;
        Some((name, text.to_owned()))
    };
    CHECKS.into_iter().filter_map(found).collect()
}

/// The names under which a suite of Debian and its updates stand in the archives.
pub(crate) fn names_of(suite: &str) -> [String; 3] {
    [suite.to_owned(), format!("{suite}-updates"), format!("{suite}-security")]
}

/// Keeps of the archives what carries the suite; each archive only with the suites wanted.
pub(crate) fn select(archives: Vec<Archive>, suite: &str) -> Vec<Archive> {
    let wanted = names_of(suite);
    let mut kept: Vec<Archive> = Vec::new();
    for mut archive in archives {
        archive.suites.retain(|suite| wanted.contains(suite));
        archive.uris.retain(|uri| !uri.starts_with("cdrom:") && uri.contains(':'));
        let is_debian = archive.components.iter().any(|component| component == "main");
        let is_empty = archive.suites.is_empty() || archive.uris.is_empty();
        if is_debian && !is_empty && !kept.contains(&archive) {
            kept.push(archive);
        }
    }
    kept
}

/// Writes an archive in the `.sources` format with the keyring that apt may use.
pub(crate) fn write_source(archive: &Archive, kind: &str, keyring: &str) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("Types", kind),
        ("URIs", &archive.uris.join(" ")),
        ("Suites", &archive.suites.join(" ")),
        ("Components", &archive.components.join(" ")),
        ("Signed-By", keyring),
    ]
    .into_iter()
    .chain(archive.checks.iter().map(|(name, text)| (*name, text.as_str())))
    {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "# main\nTypes: deb\nURIs: http://a.example/debian\n# between\nSuites: bookworm bookworm-updates bookworm-backports\nComponents: main\n contrib\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://b.example\nSuites: bookworm\nComponents: stable\n\nEnabled: no\nTypes: deb\nURIs: http://c.example\nSuites: bookworm\nComponents: main\n";

    #[test]
    fn keeps_what_carries_the_suite() {
        let kept = select(read_sources(HOST), "bookworm");
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].uris, ["http://a.example/debian"]);
        assert_eq!(kept[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(kept[0].components, ["main", "contrib"]);
        assert_eq!(kept[0].signed_by.as_deref(), Some("/k.gpg"));
        assert!(select(read_sources(HOST), "trixie").is_empty());
    }

    #[test]
    fn both_formats_say_the_same() {
        let lines = "deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main contrib # c\ndeb-src http://a.example/debian bookworm main\n\n#deb http://x bookworm main\nrpm x y z\n";
        let kept = select(read_list(lines), "bookworm");
        assert_eq!(kept.len(), 2);
        let written = write_source(&kept[0], "deb-src", "/own.gpg");
        let again = read_sources(&written);
        assert_eq!(again[0].signed_by.as_deref(), Some("/own.gpg"));
        assert_eq!((&again[0].uris, &again[0].components), (&kept[0].uris, &kept[0].components));
    }

    #[test]
    fn an_archive_says_itself_whether_its_age_matters() {
        let lines =
            "deb [check-valid-until=no check-date=perhaps] http://a.example bookworm main\n";
        let archive = &read_list(lines)[0];
        assert_eq!(archive.checks, [("Check-Valid-Until", "no".to_owned())]);
        let written = write_source(archive, "deb", "/own.gpg");
        assert!(written.ends_with("Signed-By: /own.gpg\nCheck-Valid-Until: no\n\n"), "{written}");
        assert_eq!(read_sources(&written)[0].checks, archive.checks);
        assert_eq!(read_sources(HOST)[0].checks, []);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(Types|URIs|deb|:|\\[|\\]|#| |\n|\t|.){0,60}") {
            let archives = [read_sources(&text), read_list(&text)].concat();
            for archive in select(archives, "bookworm") {
                prop_assert!(!archive.uris.is_empty() && archive.suites.iter().all(|s| s.starts_with("bookworm")));
            }
        }

        #[test]
        fn a_paragraph_is_read_as_written(
            fields in proptest::collection::vec(("[A-Z][a-z-]{0,8}", "[!-~]([ -~]{0,20}[!-~])?"), 1..6)
        ) {
            let lines: Vec<_> = fields.iter().map(|(name, value)| [name, ": ", value, "\n"].concat()).collect();
            let text = lines.concat();
            let read = paragraphs(&format!("\n{text}\n{text}"));
            prop_assert_eq!(read.len(), 2);
            for ((name, value), (found, got)) in fields.iter().zip(&read[1]) {
                prop_assert_eq!((&name.to_lowercase(), value), (found, got));
            }
        }
    }
}
