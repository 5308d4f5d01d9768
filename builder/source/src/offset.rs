//! Reads what `git apply --verbose` says: how far hunks are off, and what stopped a patch.

use crate::patch::Patch;

/// Why a patch does not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub file: String,
    pub hunk: Option<usize>,
    pub reason: String,
}

/// Returns the largest offset of all hunks: `Hunk #2 succeeded at 40 (offset -3 lines).`
pub(crate) fn largest(messages: &str) -> u64 {
    let offsets = messages.lines().filter_map(|line| {
        let (_, rest) = line.strip_prefix("Hunk #")?.split_once("(offset ")?;
        rest.split(' ').next()?.parse::<i64>().ok()
    });
    offsets.map(i64::unsigned_abs).max().unwrap_or(0)
}

/// Finds file and hunk: `error: patch failed: go.mod:12` names the first line of the old text.
pub(crate) fn failure(messages: &str, patch: &Patch) -> Failure {
    let mut errors = messages.lines().filter_map(|line| line.strip_prefix("error: "));
    let first = errors.clone().find(|line| !line.starts_with("while searching for:"));
    let reason = first.unwrap_or_else(|| messages.lines().last().unwrap_or("no reason given"));
    let failed = errors.find_map(|line| {
        let (file, line) = line.strip_prefix("patch failed: ")?.rsplit_once(':')?;
        Some((file, line.parse().ok()?))
    });
    if let Some((file, line)) = failed {
        return Failure {
            file: file.to_owned(),
            hunk: hunk_at(&patch.content, file, line),
            reason: format!("line {line} of the old text is not found"),
        };
    }
    let file = reason.split_once(": ").map_or(patch.name.as_str(), |(file, _)| file);
    Failure { file: file.to_owned(), hunk: None, reason: reason.to_owned() }
}

/// Counts the hunks of a file up to the one whose old text begins at `line`.
fn hunk_at(patch: &[u8], file: &str, line: u64) -> Option<usize> {
    let text = String::from_utf8_lossy(patch);
    let (mut in_file, mut count) = (false, 0);
    for text in text.lines() {
        if let Some(names) = text.strip_prefix("diff --git ") {
            in_file = names.contains(&format!("a/{file}"));
            count = 0;
        } else if in_file && let Some(range) = text.strip_prefix("@@ -") {
            count += 1;
            let start = range.split([',', ' ']).next().and_then(|start| start.parse().ok());
            if start == Some(line) {
                return Some(count);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_offset_counts() {
        let messages = "Checking patch f...\nHunk #1 succeeded at 5 (offset 2 lines).\nHunk #2 succeeded at 9 (offset -14 lines).\nHunk #3 succeeded at 30 (offset 1 line).\n";
        assert_eq!(largest(messages), 14);
        assert_eq!(largest("Checking patch f...\n"), 0);
    }
}
