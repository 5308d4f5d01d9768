//! Reads out of a mirrored tree the files that say how it is built.

use std::io::{self, BufReader, Seek};

use kdistro_assemble::{
    EntryKind,
    licenses::kind_of,
    tar::{TarError, read_tar},
};
use kdistro_formats::TreeId;
use kdistro_source::{Mirror, tree::TreeError};

use super::{Files, variables::rank};

/// The longest file that is read: longer ones are data or generated.
const LONGEST: u64 = 1 << 20;

/// A tree that cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The mirror refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The mirror's archive is not one.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A temporary file cannot be used.
    #[error("cannot use a temporary file")]
    Io(#[from] io::Error),
}

/// Reads the files of a tree that say how it is built.
pub fn look(mirror: &Mirror, tree: &TreeId) -> Result<Files, LookError> {
    let mut archive = tempfile::tempfile()?;
    mirror.tree_archive(tree, io::BufWriter::with_capacity(1 << 20, &mut archive))?;
    archive.rewind()?;
    let mut files = Files::new();
    read_tar(BufReader::with_capacity(1 << 20, archive), &mut |entry| {
        let path = entry.path.as_str();
        if let EntryKind::File { size, content, .. } = entry.kind
            && size <= LONGEST
            && is_telling(path)
        {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            files.insert(path.to_owned(), bytes);
        }
        Ok::<(), LookError>(())
    })?;
    Ok(files)
}

/// True for files that say how a source is built.
fn is_telling(path: &str) -> bool {
    if path.ends_with("vendor/modules.txt") {
        return true;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let foreign = |word: &str| ["vendor", "testdata", "node_modules"].contains(&word);
    let hidden = |word: &str| word.starts_with(['_', '.']) && word != ".github";
    let mut folders = path.split('/').rev().skip(1);
    if folders.any(|word| foreign(word) || hidden(word)) {
        return false;
    }
    ["go.mod", "go.work", ".go-version"].contains(&name)
        || name.strip_suffix(".go").is_some_and(|stem| !stem.ends_with("_test"))
            && !name.starts_with(['_', '.'])
        || rank(path).is_some()
        || !path.contains('/') && kind_of(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_telling_files_are_read() {
        for path in [
            "go.mod",
            "server/go.mod",
            ".go-version",
            "vendor/modules.txt",
            "cmd/a/main.go",
            "Makefile",
            "scripts/build.sh",
            "build",
            "images/Dockerfile.amd64",
            ".goreleaser.yml",
            ".github/workflows/release.yaml",
            "LICENSE",
            "NOTICE.txt",
        ] {
            assert!(is_telling(path), "{path}");
        }
        for path in [
            "vendor/a/b.go",
            "a/testdata/x.go",
            "a_test.go",
            "_x/a.go",
            "README.md",
            "a/LICENSE",
            "vendor/a/Makefile",
        ] {
            assert!(!is_telling(path), "{path}");
        }
    }
}
