//! Computes the `h1:` sums that go.sum and the checksum database hold.
//!
//! Source: `golang.org/x/mod/sumdb/dirhash`, `Hash1`.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kdistro_formats::Digest;
use kdistro_verify::hash::{sha256, sha256_of};
use zip::{ZipArchive, result::ZipError};

/// A module zip that has no sum.
#[derive(Debug, thiserror::Error)]
pub enum ModuleHashError {
    /// It is not a zip, or a broken one.
    #[error("not a sound zip file")]
    Zip(#[from] ZipError),
    /// A file in it could not be unpacked.
    #[error("cannot unpack `{name}`")]
    Entry {
        /// The file's name in the zip.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A name that the sum cannot tell from two names.
    #[error("a file name holds a line end: {0:?}")]
    Name(String),
}

/// Returns the sum of a module zip.
pub fn module_hash(zip: impl Read + Seek) -> Result<String, ModuleHashError> {
    let mut archive = ZipArchive::new(zip)?;
    let mut files = BTreeMap::new();
    for number in 0..archive.len() {
        let file = archive.by_index(number)?;
        let name = file.name().to_owned();
        if name.contains('\n') {
            return Err(ModuleHashError::Name(name));
        }
        let hashed = sha256_of(file);
        let (digest, _) =
            hashed.map_err(|source| ModuleHashError::Entry { name: name.clone(), source })?;
        files.insert(name, digest);
    }
    Ok(hash1(&files))
}

/// Returns the sum of a `go.mod` file.
pub fn mod_file_hash(content: &[u8]) -> String {
    hash1(&BTreeMap::from([("go.mod".to_owned(), sha256(content))]))
}

/// A map of strings has the order that Go sorts into: bytewise.
fn hash1(files: &BTreeMap<String, Digest>) -> String {
    let lines: Vec<_> =
        files.iter().map(|(name, file)| [&file.hex(), "  ", name, "\n"].concat()).collect();
    let lines = lines.concat();
    format!("h1:{}", STANDARD.encode(sha256(lines.as_bytes()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn zip(files: &[(&str, &str)]) -> Cursor<Vec<u8>> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn has_the_sums_of_gos_own_tests() {
        // golang.org/x/mod/sumdb/dirhash/hash_test.go, TestHash1: the sum over "xyz" holding "data for xyz" and "abc".
        let sum = module_hash(zip(&[("xyz", "data for xyz"), ("abc", "data for abc")])).unwrap();
        let line = |name: &str| {
            format!("{}  {name}\n", sha256(format!("data for {name}").as_bytes()).hex())
        };
        let expected = sha256(format!("{}{}", line("abc"), line("xyz")).as_bytes());
        assert_eq!(sum, format!("h1:{}", STANDARD.encode(expected.as_bytes())));
    }

    #[test]
    fn has_the_sum_of_a_published_module() {
        // go.sum: rsc.io/quote v1.5.2/go.mod
        let content = "module \"rsc.io/quote\"\n\nrequire \"rsc.io/sampler\" v1.3.0\n";
        assert_eq!(
            mod_file_hash(content.as_bytes()),
            "h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0="
        );
    }

    #[test]
    fn refuses_broken_zips_and_ambiguous_names() {
        assert!(matches!(module_hash(zip(&[("a\nb", "")])), Err(ModuleHashError::Name(_))));
        let whole = zip(&[("a", "text that is long enough")]).into_inner();
        let short = Cursor::new(whole[..whole.len() - 10].to_vec());
        assert!(matches!(module_hash(short), Err(ModuleHashError::Zip(_))));
    }
}
