//! Decides whether two files, or two folders, hold the same content.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File},
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use serde::Serialize;

/// Bytes compared at a time.
const BLOCK: usize = 64 * 1024;

/// How two files compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The same bytes.
    Same,
    /// The same bytes inside, compressed by another encoder.
    SameContentOtherCompression,
    /// Different content.
    Different,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "same",
            Self::SameContentOtherCompression => "same content, other compression",
            Self::Different => "differs",
        })
    }
}

/// How one file of two folders compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Its path in both folders.
    pub path: String,
    /// How it compares.
    pub verdict: Verdict,
    /// What is special about it, such as that one side lacks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Compares two files by their bytes, then, when both are gzip, by what is inside.
pub fn compare_files(a: &Path, b: &Path) -> io::Result<Verdict> {
    if has_same_bytes(&mut File::open(a)?, &mut File::open(b)?)? {
        return Ok(Verdict::Same);
    }
    if !(is_gzip(a)? && is_gzip(b)?) {
        return Ok(Verdict::Different);
    }
    let unpack = |path| File::open(path).map(|file| MultiGzDecoder::new(BufReader::new(file)));
    match has_same_bytes(&mut unpack(a)?, &mut unpack(b)?) {
        Ok(true) => Ok(Verdict::SameContentOtherCompression),
        Ok(false) => Ok(Verdict::Different),
        Err(error) if is_broken_gzip(&error) => Ok(Verdict::Different),
        Err(error) => Err(error),
    }
}

/// Compares two folders file by file, sorted by path; every file of either side is listed.
pub fn compare_folders(a: &Path, b: &Path) -> io::Result<Vec<Compared>> {
    let (left, right) = (files(a)?, files(b)?);
    let all: BTreeSet<_> = left.union(&right).collect();
    let compare = |path: &String| -> io::Result<Compared> {
        let (verdict, note) = match (left.contains(path), right.contains(path)) {
            (true, true) => compare_entries(&a.join(path), &b.join(path))?,
            (true, false) => (Verdict::Different, Some("only in the first")),
            _ => (Verdict::Different, Some("only in the second")),
        };
        Ok(Compared { path: path.clone(), verdict, note })
    };
    all.into_iter().map(compare).collect()
}

/// Compares what lies in two folders under one name. Links are not followed: one may lead anywhere.
fn compare_entries(a: &Path, b: &Path) -> io::Result<(Verdict, Option<&'static str>)> {
    let (left, right) = (fs::symlink_metadata(a)?, fs::symlink_metadata(b)?);
    if left.is_file() && right.is_file() {
        return Ok((compare_files(a, b)?, None));
    }
    if !(left.is_symlink() && right.is_symlink()) {
        return Ok((Verdict::Different, Some("not a regular file on both sides")));
    }
    let same = fs::read_link(a)? == fs::read_link(b)?;
    Ok(if same {
        (Verdict::Same, None)
    } else {
        (Verdict::Different, Some("a link to something else"))
    })
}

/// The files below a folder, as paths relative to it.
pub(crate) fn files(folder: &Path) -> io::Result<BTreeSet<String>> {
    fn walk(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), &format!("{path}/"), found)?;
            } else {
                found.insert(path);
            }
        }
        Ok(())
    }
    let mut found = BTreeSet::new();
    walk(folder, "", &mut found)?;
    Ok(found)
}

/// True when a file starts as gzip does.
pub(crate) fn is_gzip(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(2).read_to_end(&mut start)?;
    Ok(start == [0x1f, 0x8b])
}

/// True for an error that says something about the bytes, not about reading them.
pub(crate) fn is_broken_gzip(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

fn has_same_bytes(a: &mut dyn Read, b: &mut dyn Read) -> io::Result<bool> {
    let (mut left, mut right) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    loop {
        left.clear();
        right.clear();
        a.take(BLOCK as u64).read_to_end(&mut left)?;
        b.take(BLOCK as u64).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(content: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn verdict(a: &[u8], b: &[u8]) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        let (left, right) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&left, a).unwrap();
        fs::write(&right, b).unwrap();
        compare_files(&left, &right).unwrap()
    }

    #[test]
    fn another_encoder_is_not_other_content() {
        let content = b"the same content, again and again and again".repeat(5000);
        let (fast, best) = (gzip(&content, 1), gzip(&content, 9));
        assert_ne!(fast, best);
        assert_eq!(verdict(&fast, &fast), Verdict::Same);
        assert_eq!(verdict(&fast, &best), Verdict::SameContentOtherCompression);
        assert_eq!(verdict(&fast, &gzip(b"other", 1)), Verdict::Different);
        assert_eq!(verdict(&fast, &content), Verdict::Different);
    }

    #[test]
    fn a_broken_archive_differs() {
        let good = gzip(&b"content".repeat(1000), 6);
        let mut broken = good.clone();
        let last = broken.len() - 6;
        broken[last] ^= 1;
        assert_eq!(verdict(&good, &broken), Verdict::Different);
        assert_eq!(verdict(&good, &good[..good.len() - 9]), Verdict::Different);
        assert_eq!(verdict(b"", b""), Verdict::Same);
        assert_eq!(verdict(b"a", b""), Verdict::Different);
    }

    #[test]
    fn folders_name_every_file_of_either_side() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        for (side, name, text) in
            [(&a, "x/1", "1"), (&b, "x/1", "1"), (&a, "2", "2"), (&b, "3", "3")]
        {
            fs::create_dir_all(side.join(name).parent().unwrap()).unwrap();
            fs::write(side.join(name), text).unwrap();
        }
        let found: Vec<_> = compare_folders(&a, &b)
            .unwrap()
            .into_iter()
            .map(|file| (file.path, file.verdict))
            .collect();
        let expected =
            [("2", Verdict::Different), ("3", Verdict::Different), ("x/1", Verdict::Same)];
        assert_eq!(found, expected.map(|(path, verdict)| (path.to_owned(), verdict)));
        assert!(compare_files(&a.join("none"), &b.join("3")).is_err());
    }
}
