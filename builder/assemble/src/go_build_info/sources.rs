//! Which folders of Go packages a program has code of, told by the file names beside its functions.
//!
//! Source: Go's `cmd/internal/obj` and `cmd/link`, the file table in `.gopclntab`: names that end with a zero byte, and
//! with `-trimpath` begin with the package's path, some with `@<version>` after the module's.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

/// Bytes read at a time.
const CHUNK: u64 = 1 << 20;

/// The longest name of a file that is looked at.
const LONGEST: usize = 4096;

/// Lists the folders of all source files whose functions a program built with `-trimpath` holds, without versions.
///
/// A package whose functions the linker left out is not among them.
pub fn source_folders(program: &mut impl Read) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut bytes = Vec::new();
    loop {
        let read = program.by_ref().take(CHUNK).read_to_end(&mut bytes)?;
        let mut pieces: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
        // The last one may go on in the next chunk.
        let rest = pieces.pop().unwrap_or_default();
        found.extend(pieces.into_iter().filter_map(folder));
        if read == 0 {
            return Ok(found);
        }
        bytes = rest.get(rest.len().saturating_sub(LONGEST)..).unwrap_or_default().to_vec();
    }
}

/// The folder of a source file's name; `None` for anything else.
fn folder(name: &[u8]) -> Option<String> {
    let is_source = [&b".go"[..], b".s"].iter().any(|end| name.ends_with(end));
    let is_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~/@+-!".contains(byte);
    if !is_source || !name.iter().all(is_path) {
        return None;
    }
    let (folder, _) = std::str::from_utf8(name).ok()?.rsplit_once('/')?;
    let parts: Vec<_> =
        folder.split('/').map(|part| part.split('@').next().unwrap_or_default()).collect();
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_source_files_give_their_folders_without_versions() {
        let program = b"\x01\0a.org/b@v1.2.3/c.go\0a.org/b/d/e_amd64.s\0a.org/f/g.txt\0text h.go\0i.go\0j.org/k.go";
        let found = source_folders(&mut program.as_slice()).unwrap();
        // The last name has no end, the one before it no folder.
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a.org/b", "a.org/b/d"]);
    }

    #[test]
    fn a_name_that_lies_across_two_chunks_is_read_whole() {
        let chunk = usize::try_from(CHUNK).unwrap();
        for before in [chunk - 12, chunk - 1, chunk, 2 * chunk - 5] {
            let mut program = vec![1; before - 1];
            program.extend(b"\0a.org/b/c.go\0");
            let found = source_folders(&mut program.as_slice()).unwrap();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a.org/b"], "{before}");
        }
    }
}
