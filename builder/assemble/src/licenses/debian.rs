//! Licences of Debian packages, as their `copyright` files tell them.
//!
//! Source: "Machine-readable debian/copyright file", version 1.0 (DEP-5).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kdistro_verify::hash::sha256;

use super::{Extracted, FileKind, Library, LicenseFile, Licensed, source::read_text};
use crate::{
    deb::{DebError, read_deb},
    entry::{Entry, EntryKind},
};

/// Where a package keeps its copyright file, or whose it shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebianCopyright {
    /// The text.
    Text(String),
    /// The name of the package that holds the text, as a link says.
    In(String),
    /// There is none.
    Missing,
}

/// Finds the copyright file of a package in its `.deb`.
///
/// `package` is the package's name: the file is `usr/share/doc/<package>/copyright`.
pub fn debian_copyright(deb: &[u8], package: &str) -> Result<DebianCopyright, DebError> {
    let folder = format!("usr/share/doc/{package}");
    let file = format!("{folder}/copyright");
    let mut found = DebianCopyright::Missing;
    read_deb(deb, &mut |entry: Entry<'_>| -> Result<(), DebError> {
        let path = entry.path.as_str();
        match entry.kind {
            EntryKind::File { size, content, .. } if path == file => {
                let bad = |error: super::SourceError| DebError::Control { what: error.to_string() };
                found = DebianCopyright::Text(read_text(path, size, content).map_err(bad)?);
            }
            EntryKind::Symlink { target } if path == folder || path == file => {
                let target = target.strip_suffix("/copyright").unwrap_or(&target);
                let other = target.rsplit('/').next().unwrap_or_default();
                found = DebianCopyright::In(other.to_owned());
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Names the licences of a Debian package by its copyright file.
///
/// Short names that are well known become SPDX names; of others the text is compared with the SPDX list, and what
/// is like none of it becomes `LicenseRef-…` with its text. A file that machines cannot read is one such text.
pub fn debian_license(library: &Library, package: &str, version: &str, text: &str) -> Licensed {
    let paragraphs = paragraphs(text);
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for field in paragraphs.iter().flatten().filter(|field| field.name == "license") {
        names.insert(field.first);
        if !field.rest.is_empty() {
            texts.entry(field.first).or_insert_with(|| field.rest.join("\n"));
        }
    }
    names.remove("");
    let mut reader = Reader { library, package, texts, whole: text, extracted: BTreeSet::new() };
    let is_dep5 = text
        .lines()
        .any(|line| line.starts_with("Format:") || line.starts_with("Format-Specification:"));
    let parts: BTreeSet<String> = if is_dep5 && !names.is_empty() {
        names.iter().map(|name| reader.expression(name)).collect()
    } else {
        BTreeSet::from([reader.reference(package, text)])
    };
    let parenthesised =
        |part: String| if part.contains(" OR ") { format!("({part})") } else { part };
    let expression = if parts.len() == 1 {
        parts.into_iter().collect()
    } else {
        parts.into_iter().map(parenthesised).collect::<Vec<_>>().join(" AND ")
    };
    Licensed {
        name: package.to_owned(),
        version: version.to_owned(),
        expression,
        extracted: reader.extracted.into_iter().collect(),
        files: vec![LicenseFile {
            path: format!("usr/share/doc/{package}/copyright"),
            kind: FileKind::License,
            text: Arc::from(text),
        }],
        excepted: None,
    }
}

struct Field<'a> {
    name: String,
    /// What stands on the line of the name.
    first: &'a str,
    /// The lines after it, without their first space; `.` stands for an empty one.
    rest: Vec<&'a str>,
}

/// Splits a file into paragraphs of fields. Lines that belong to no field are left out.
fn paragraphs(text: &str) -> Vec<Vec<Field<'_>>> {
    let mut paragraphs = vec![Vec::new()];
    for line in text.lines() {
        if line.trim().is_empty() {
            paragraphs.push(Vec::new());
            continue;
        }
        let Some(paragraph) = paragraphs.last_mut() else { continue };
        if line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix([' ', '\t']) {
            if let Some(field) = paragraph.last_mut() {
                let field: &mut Field<'_> = field;
                field.rest.push(if rest == "." { "" } else { rest });
            }
        } else if let Some((name, first)) = line.split_once(':') {
            let name = name.to_ascii_lowercase();
            paragraph.push(Field { name, first: first.trim(), rest: Vec::new() });
        }
    }
    paragraphs
}

/// Reads short names, and keeps the texts of those that SPDX does not know.
struct Reader<'a> {
    library: &'a Library,
    package: &'a str,
    texts: BTreeMap<&'a str, String>,
    whole: &'a str,
    extracted: BTreeSet<Extracted>,
}

impl Reader<'_> {
    /// Reads names joined by `and` and `or`; a comma in front of them binds less than they do.
    fn expression(&mut self, names: &str) -> String {
        for (separator, word) in
            [(", or ", "OR"), (", and ", "AND"), (" or ", "OR"), (" and ", "AND")]
        {
            if !names.contains(separator) {
                continue;
            }
            let mut parts: Vec<String> = Vec::new();
            for name in names.split(separator) {
                let part = self.expression(name);
                let part =
                    if part.contains(" OR ") && word == "AND" { format!("({part})") } else { part };
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
            return parts.join(&format!(" {word} "));
        }
        self.one(names.trim().trim_matches([',', '(', ')']))
    }

    fn one(&mut self, name: &str) -> String {
        if let Some(known) = known(name) {
            return known;
        }
        let Some(text) = self.texts.get(name).cloned() else {
            let whole = self.whole;
            return self.reference(name, whole);
        };
        match self.library.identify(&text).as_slice() {
            [only] => only.clone(),
            _ => self.reference(name, &text),
        }
    }

    /// Names a text after the package, the licence and its digest.
    fn reference(&mut self, name: &str, text: &str) -> String {
        let digest = sha256(text.as_bytes()).hex();
        let digest = digest.get(..12).unwrap_or_default();
        let word: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        let id = format!("LicenseRef-debian-{word}-{digest}");
        let name = format!("{name} of the Debian package {}", self.package);
        // The same text under the same name is one licence, whichever package it came with.
        self.extracted.insert(Extracted { id: id.clone(), name, text: Arc::from(text) });
        id
    }
}

/// Returns the SPDX name of a short name that is well known.
fn known(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let fixed = match lower.as_str() {
        "expat" | "mit" => "MIT",
        "apache-2" | "apache-2.0" => "Apache-2.0",
        "artistic" => "Artistic-1.0-Perl",
        "artistic-2.0" => "Artistic-2.0",
        "bsd-2-clause" => "BSD-2-Clause",
        "bsd-3-clause" => "BSD-3-Clause",
        "bsd-4-clause-uc" => "BSD-4-Clause-UC",
        "boost-1.0" | "bsl-1.0" => "BSL-1.0",
        "cc0" | "cc0-1.0" => "CC0-1.0",
        "cc-by-3.0" => "CC-BY-3.0",
        "cc-by-4.0" => "CC-BY-4.0",
        "cc-by-sa-3.0" => "CC-BY-SA-3.0",
        "cc-by-sa-4.0" => "CC-BY-SA-4.0",
        "curl" => "curl",
        "isc" => "ISC",
        "mpl-1.1" => "MPL-1.1",
        "mpl-2.0" => "MPL-2.0",
        "openssl" => "OpenSSL",
        "psf-2" => "PSF-2.0",
        "unicode" => "Unicode-DFS-2016",
        "unlicense" => "Unlicense",
        "zlib" => "Zlib",
        _ => return gnu(&lower),
    };
    Some(fixed.to_owned())
}

/// Reads the names of the GNU licences, such as `gpl-2`, `lgpl-2.1+` and `gfdl-1.3+`.
fn gnu(name: &str) -> Option<String> {
    let (family, version) = name.split_once('-')?;
    let (version, later) = match version.strip_suffix('+') {
        Some(version) => (version, true),
        None => (version, false),
    };
    let version = version.strip_suffix(".0").unwrap_or(version);
    let (family, version) = match (family, version) {
        ("gpl", "1" | "2" | "3") => ("GPL", format!("{version}.0")),
        ("lgpl", "2" | "3") => ("LGPL", format!("{version}.0")),
        ("lgpl", "2.1") => ("LGPL", version.to_owned()),
        ("agpl", "3") => ("AGPL", format!("{version}.0")),
        ("gfdl" | "fdl", "1.1" | "1.2" | "1.3") => ("GFDL", version.to_owned()),
        _ => return None,
    };
    Some(format!("{family}-{version}-{}", if later { "or-later" } else { "only" }))
}
