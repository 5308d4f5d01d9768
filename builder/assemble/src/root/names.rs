//! Paths on a system where `/bin`, `/sbin` and `/lib*` are links into `/usr`.
//!
//! Source: the Debian Technical Committee's decision on merged `/usr` (#978636) and the `usrmerge` package.

use crate::entry::{EntryPath, EntryPathError};

/// Directories that are always links into `usr`.
pub(super) const ALWAYS: [&str; 3] = ["bin", "lib", "sbin"];

/// Directories that are links into `usr` if a package has something in them.
pub(super) const IF_USED: [&str; 3] = ["lib32", "lib64", "libx32"];

/// Tells whether a path is one of the links themselves.
pub(super) fn is_alias(path: &EntryPath) -> bool {
    ALWAYS.iter().chain(&IF_USED).any(|alias| path.as_str() == *alias)
}

/// Returns where a path really lies.
pub(super) fn merged(path: &EntryPath) -> Result<EntryPath, EntryPathError> {
    let first = path.as_str().split('/').next().unwrap_or_default();
    if ALWAYS.contains(&first) || IF_USED.contains(&first) {
        EntryPath::new(format!("usr/{path}"))
    } else {
        Ok(path.clone())
    }
}

/// Returns the path in the root that a link names, or `None` when it leads outside or to the root itself.
pub(super) fn resolved(link: &EntryPath, target: &str) -> Option<EntryPath> {
    let mut parts: Vec<&str> = Vec::new();
    if !target.starts_with('/') {
        parts.extend(link.as_str().split('/'));
        parts.pop();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    EntryPath::new(parts.join("/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::new(text).unwrap()
    }

    #[test]
    fn paths_move_below_usr() {
        let moved = |text: &str| merged(&path(text)).unwrap().to_string();
        assert_eq!(moved("bin"), "usr/bin");
        assert_eq!(moved("lib64/ld.so"), "usr/lib64/ld.so");
        assert_eq!(moved("lib/x/y"), "usr/lib/x/y");
        for text in ["binary", "libexec/x", "usr/lib/x", "etc/bin/x"] {
            assert_eq!(moved(text), text);
        }
    }

    #[test]
    fn links_are_followed_by_their_text() {
        let to = |link: &str, target: &str| {
            resolved(&path(link), target).map(|path| path.to_string()).unwrap_or_default()
        };
        assert_eq!(to("usr/lib/x", "/lib/x"), "lib/x");
        assert_eq!(to("usr/lib/x", "../../lib/x"), "lib/x");
        assert_eq!(to("usr/lib/x", "./y"), "usr/lib/y");
        assert_eq!(to("usr/x", "../../../etc"), "");
        assert_eq!(to("usr/x", "/"), "");
    }
}
