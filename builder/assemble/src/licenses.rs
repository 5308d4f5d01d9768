//! Licences of what is linked into programs: found among source files, identified, and combined to one expression.
//!
//! Identification compares texts with the SPDX licence list that the `spdx` crate carries ([`LICENSE_LIST`]);
//! a text that is like none of them is named by its own digest, and never guessed.

mod debian;
mod library;
mod modules;
mod names;
mod source;
#[cfg(test)]
mod tests;
mod vendor;

use std::{collections::BTreeSet, fmt, sync::Arc};

use kdistro_formats::plan::Unlicensed;
use kdistro_verify::hash::sha256;
use serde::{Deserialize, Serialize};

pub use debian::{DebianCopyright, debian_copyright, debian_license};
pub use library::{LICENSE_LIST, Library, LibraryError};
pub use modules::{go_license, module_licenses};
pub use names::{FileKind, kind_of};
pub use source::{LONGEST_TEXT, SourceError, SourceLicenses};

/// A module by path and version, such as `golang.org/x/text` and `v0.3.8`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleId {
    /// The module's path.
    pub path: String,
    /// Its version.
    pub version: String,
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.version)
    }
}

/// A file that holds a licence, or that must be handed on with one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LicenseFile {
    /// Its path in the module, package or source tree.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Its text, the bytes that are no UTF-8 replaced.
    pub text: Arc<str>,
}

/// Something that is linked, with its licence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Licensed {
    /// Module path or package name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One SPDX expression for all of it.
    pub expression: String,
    /// Texts that the expression names as `LicenseRef-…`, sorted.
    pub extracted: Vec<Extracted>,
    /// Licence files, sorted by path; none where an exception was made.
    pub files: Vec<LicenseFile>,
    /// The reason of the exception.
    pub excepted: Option<String>,
}

/// A licence that is not on the SPDX list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Extracted {
    /// `LicenseRef-` and what makes it unique.
    pub id: String,
    /// What it is called where it was found.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
}

/// A module whose licence is not known.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LicenseError {
    /// No file of it holds a licence, and no exception names it.
    #[error("module {module} has no licence file; expected one, or an entry of `unlicensed`")]
    Missing {
        /// The module.
        module: ModuleId,
    },
    /// The exception's licence is not an SPDX expression.
    #[error("the exception for {module} says `{license}`; expected an SPDX licence expression")]
    Exception {
        /// The module.
        module: ModuleId,
        /// What was written.
        license: String,
    },
    /// An exception for a module that has a licence file.
    #[error("module {module} has `{file}`; expected no exception for it")]
    NotNeeded {
        /// The module.
        module: ModuleId,
        /// The licence file.
        file: String,
    },
}

/// Names the licence of a module by its files.
///
/// Several licences are combined with AND, since what is linked is bound by all of them. Notices and grants of
/// patents are kept but name no licence. Texts on no list become `LicenseRef-…`.
pub fn license(
    library: &Library,
    module: &ModuleId,
    mut files: Vec<LicenseFile>,
    exceptions: &[Unlicensed],
) -> Result<Licensed, LicenseError> {
    files.sort();
    files.dedup();
    let exception = exceptions.iter().find(|exception| exception.module == module.path);
    let first = files.iter().find(|file| file.kind == FileKind::License);
    let module = module.clone();
    match (first, exception) {
        (None, None) => Err(LicenseError::Missing { module }),
        (Some(file), Some(_)) => {
            let file = file.path.clone();
            Err(LicenseError::NotNeeded { module, file })
        }
        (None, Some(exception)) => {
            let license = exception.license.clone();
            if spdx::Expression::parse(&license).is_err() {
                return Err(LicenseError::Exception { module, license });
            }
            Ok(Licensed {
                name: module.path,
                version: module.version,
                expression: license,
                extracted: Vec::new(),
                files,
                excepted: Some(exception.reason.clone()),
            })
        }
        (Some(_), None) => {
            let (expression, extracted) = combine(library, &files);
            let ModuleId { path: name, version } = module;
            Ok(Licensed { name, version, expression, extracted, files, excepted: None })
        }
    }
}

/// Combines the licences of files to one expression, with the texts that it names by reference.
fn combine(library: &Library, files: &[LicenseFile]) -> (String, Vec<Extracted>) {
    let (mut names, mut extracted) = (BTreeSet::new(), BTreeSet::new());
    for file in files.iter().filter(|file| file.kind == FileKind::License) {
        let found = library.identify(&file.text);
        if found.is_empty() {
            let text = reference(file);
            names.insert(text.id.clone());
            extracted.insert(text);
        }
        names.extend(found);
    }
    let names: Vec<_> = names.into_iter().collect();
    (names.join(" AND "), extracted.into_iter().collect())
}

/// Names a text by its digest.
fn reference(file: &LicenseFile) -> Extracted {
    let digest = sha256(file.text.as_bytes()).hex();
    let id = format!("LicenseRef-{}", digest.get(..16).unwrap_or_default());
    let name = file.path.rsplit_once('/').map_or(file.path.as_str(), |(_, name)| name);
    Extracted { id, name: name.to_owned(), text: Arc::clone(&file.text) }
}
