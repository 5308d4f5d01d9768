//! `vendor/modules.txt`: which folders below `vendor` are modules, and what stands in for them.
//!
//! Source: Go's `cmd/go/internal/modload`, `readVendorList`.

use std::collections::BTreeMap;

use crate::go_build_info::{Dependency, Module};

/// The modules of a vendor folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Vendored {
    /// Each by its path.
    pub modules: BTreeMap<String, Dependency>,
}

impl Vendored {
    /// Reads the lines that start with `# `: `# path version`, `# path version => path version` or `=> ./folder`.
    pub(super) fn parse(text: &str) -> Self {
        let mut modules = BTreeMap::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("# ") else { continue };
            let (module, replacement) = match rest.split_once(" => ") {
                Some((module, replacement)) => (module, named(replacement)),
                None => (rest, None),
            };
            let Some(module) = named(module) else { continue };
            // Replacements of all versions stand once more at the end, without a version.
            let dependency = Dependency { module, replaced_by: replacement };
            modules.entry(dependency.module.path.clone()).or_insert(dependency);
        }
        Self { modules }
    }

    /// Returns the module that holds a path below `vendor/`: the longest module path in front of it.
    pub(super) fn module_of<'a>(&'a self, path: &str) -> Option<&'a str> {
        let mut folder = path;
        loop {
            if let Some((module, _)) = self.modules.get_key_value(folder) {
                return Some(module);
            }
            folder = folder.rsplit_once('/')?.0;
        }
    }
}

/// Reads `path version`, or a path alone.
fn named(text: &str) -> Option<Module> {
    let mut words = text.split(' ');
    let path = words.next().filter(|path| !path.is_empty())?.to_owned();
    Some(Module { path, version: words.next().unwrap_or_default().to_owned(), sum: None })
}
