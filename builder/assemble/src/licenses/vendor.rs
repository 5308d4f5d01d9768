//! `vendor/modules.txt`: which folders below `vendor` are modules, and what stands in for them.
//!
//! Source: Go's `cmd/go/internal/modload`, `readVendorList`.

use std::collections::BTreeMap;

/// The modules of a vendor folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Vendored {
    /// Module path to the path or folder that stands in for it, where one does.
    pub modules: BTreeMap<String, Option<String>>,
}

impl Vendored {
    /// Reads the lines that start with `# `: `# path version`, `# path version => path version` or `=> ./folder`.
    pub(super) fn parse(text: &str) -> Self {
        let mut modules = BTreeMap::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("# ") else { continue };
            let (module, replacement) = match rest.split_once(" => ") {
                Some((module, replacement)) => (module, replacement.split(' ').next()),
                None => (rest, None),
            };
            let Some(path) = module.split(' ').next().filter(|path| !path.is_empty()) else {
                continue;
            };
            let replacement = replacement.filter(|path| !path.is_empty()).map(str::to_owned);
            // Replacements of all versions stand once more at the end, without a version.
            modules.entry(path.to_owned()).or_insert(replacement);
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
