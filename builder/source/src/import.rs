//! Imports the upstream part of a Debian source package as a commit whose id is the same on every machine.
//!
//! In go the `.orig` tarballs, without Debian's own files and patches; out comes a tree as `dpkg-source` would lay it
//! out, committed by a fixed author at the time of the newest file in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
};

use flate2::read::MultiGzDecoder;
use kdistro_formats::{CommitId, Digest, Tag};
use kdistro_verify::hash::sha256_of;
use lzma_rust2::XzReader;

use crate::{
    command::{CommandError, Input, Output, Progress},
    debian::{SourceFile, SourcePackage},
    mirror::{Mirror, MirrorError, Revision},
    tree::Kind,
};

/// Who commits what is imported.
const IDENTITY: &str = "kdistro <imports@kdistro.dev>";

/// A source package that could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The package has no upstream tarball.
    #[error("source package {package} {version} has no `.orig.tar` file")]
    NoUpstream {
        /// The package.
        package: String,
        /// Its version.
        version: String,
    },
    /// The tarball is compressed in a way that is not read here.
    #[error("`{file}` is compressed in an unknown way; expected `.gz` or `.xz`")]
    Compression {
        /// The tarball.
        file: String,
    },
    /// The file is not the pinned one.
    #[error("`{file}` has {found}, expected {expected}")]
    Digest {
        /// The tarball.
        file: String,
        /// The pinned digest.
        expected: Digest,
        /// The digest found.
        found: Digest,
    },
    /// The tarball could not be read.
    #[error("cannot read `{file}`")]
    Read {
        /// The tarball.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The tarball holds something that a source tree must not hold.
    #[error("`{file}` holds `{path}`, {problem}")]
    Entry {
        /// The tarball.
        file: String,
        /// The path in it.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The mirror could not be extended.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

impl Mirror {
    /// Imports the upstream part of a source package as `tag`, or returns what was imported before from the same
    /// files. As with upstream tags, a tag never moves, and another commit than `expected` is refused.
    pub fn import_debian(
        &self,
        tag: &Tag,
        package: &SourcePackage,
        expected: Option<&CommitId>,
        progress: Progress<'_>,
    ) -> Result<Revision, ImportError> {
        let tarballs = upstream_tarballs(package)?;
        let message = message(package, &tarballs);
        let _lock = self.lock(progress)?;
        let kept = self.tag(tag)?;
        let found = match &kept {
            Some(kept) if self.message(kept)? == message => kept.clone(),
            _ => {
                progress(&format!("importing {} {}", package.package, package.version));
                self.import(tag, &tarballs, &message)?
            }
        };
        let wanted = kept.as_ref().map(|kept| &kept.commit).or(expected);
        for wanted in wanted.into_iter().chain(expected) {
            if *wanted != found.commit {
                return Err(ImportError::Mirror(MirrorError::Unexpected {
                    tag: tag.clone(),
                    origin: format!("source package {} {}", package.package, package.version),
                    expected: wanted.clone(),
                    found: found.commit,
                }));
            }
        }
        self.keep(tag, &found.commit)?;
        Ok(found)
    }

    fn message(&self, revision: &Revision) -> Result<String, MirrorError> {
        let log = self.run(["log", "-1", "--format=%B", revision.commit.as_str()])?;
        Ok(format!("{}\n", log.text().trim_end()))
    }

    fn import(
        &self,
        tag: &Tag,
        tarballs: &[Tarball<'_>],
        message: &str,
    ) -> Result<Revision, ImportError> {
        self.remove_leftovers()?;
        self.forget_incoming(tag)?;
        let failed = |source: CommandError| self.git_error(source);
        let mut call = self.git().call(["fast-import", "--quiet", "--done", "--date-format=raw"]);
        call.input = Input::Pipe;
        let mut running = call.start().map_err(failed)?;
        let pipe = BufWriter::with_capacity(256 * 1024, running.input().map_err(failed)?);
        let mut import = Import { pipe, files: BTreeMap::new(), marks: 0, newest: 0 };
        let mut result = Ok(());
        for tarball in tarballs {
            result = result.and_then(|()| import.add(tarball));
        }
        let result = result.and_then(|()| {
            let committed = import.commit(&Self::incoming(tag), message);
            committed.map_err(|source| ImportError::Read { file: "git fast-import".into(), source })
        });
        drop(import);
        match result {
            // When git has ended early, its messages say more than the broken pipe.
            Err(ImportError::Read { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
                running.wait().and_then(|output| Err(output.failure())).map_err(failed)?;
            }
            Err(error) => return Err(error),
            Ok(()) => {
                running.wait().and_then(Output::checked).map_err(failed)?;
            }
        }
        let name = Self::incoming(tag);
        let found = self.run(["rev-parse", "--verify", "--end-of-options", &name])?;
        Ok(self.revision(&self.parse(&found.text(), &name)?)?)
    }
}

/// An upstream tarball and the folder it belongs in; the main one belongs at the top.
struct Tarball<'a> {
    file: &'a SourceFile,
    component: Option<&'a str>,
}

/// Lists the main tarball first, then those of components by name.
fn upstream_tarballs(package: &SourcePackage) -> Result<Vec<Tarball<'_>>, ImportError> {
    let mut tarballs: Vec<_> = package.files.iter().filter_map(upstream_tarball).collect();
    tarballs.sort_by_key(|tarball| tarball.component);
    if tarballs.first().is_some_and(|tarball| tarball.component.is_none()) {
        return Ok(tarballs);
    }
    let (package, version) = (package.package.clone(), package.version.clone());
    Err(ImportError::NoUpstream { package, version })
}

/// Source: `dpkg-source(1)`, "Format: 3.0 (quilt)".
fn upstream_tarball(file: &SourceFile) -> Option<Tarball<'_>> {
    let (_, rest) = file.name.split_once(".orig")?;
    let (component, compression) = rest.split_once(".tar.")?;
    if compression.contains('.') {
        return None;
    }
    let component = match component.strip_prefix('-') {
        Some(name) if !name.is_empty() => Some(name),
        None if component.is_empty() => None,
        _ => return None,
    };
    Some(Tarball { file, component })
}

fn message(package: &SourcePackage, tarballs: &[Tarball<'_>]) -> String {
    let mut lines = vec![
        format!("Import the upstream part of {} {}", package.package, package.version),
        String::new(),
    ];
    let files = tarballs.iter().map(|tarball| tarball.file);
    lines.extend(files.map(|file| format!("{} {}", file.name, file.digest)));
    format!("{}\n", lines.join("\n"))
}

/// What one tarball holds.
#[derive(Default)]
struct Content {
    files: BTreeMap<Vec<u8>, (Kind, u64)>,
    folders: BTreeSet<Vec<u8>>,
}

/// A stream to `git fast-import` and what was sent on it.
struct Import<W: Write> {
    pipe: W,
    files: BTreeMap<Vec<u8>, (Kind, u64)>,
    marks: u64,
    newest: u64,
}

impl<W: Write> Import<W> {
    /// Sends the files of a tarball and places them in the tree.
    fn add(&mut self, tarball: &Tarball<'_>) -> Result<(), ImportError> {
        let failed = |source| ImportError::Read { file: tarball.file.name.clone(), source };
        let reader = open(tarball.file)?;
        let mut content = Content::default();
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            self.add_entry(&mut entry, &mut content, tarball.file)?;
        }
        let mut prefix = Vec::new();
        if let Some(component) = tarball.component {
            prefix = format!("{component}/").into_bytes();
            self.files.retain(|path, _| !path.starts_with(&prefix));
        }
        for (path, file) in content.without_top() {
            self.files.insert([&prefix[..], &path].concat(), file);
        }
        Ok(())
    }

    fn add_entry(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        content: &mut Content,
        file: &SourceFile,
    ) -> Result<(), ImportError> {
        use tar::EntryType as Type;
        let failed = |source| ImportError::Read { file: file.name.clone(), source };
        let kind = entry.header().entry_type();
        if kind == Type::XGlobalHeader {
            return Ok(());
        }
        let raw = entry.path_bytes().into_owned();
        let refused = |problem| ImportError::Entry {
            file: file.name.clone(),
            path: String::from_utf8_lossy(&raw).into_owned(),
            problem,
        };
        self.newest = self.newest.max(entry.header().mtime().map_err(failed)?);
        let Some(path) = clean_path(&raw).map_err(refused)? else { return Ok(()) };
        let placed = match kind {
            Type::Directory => {
                content.folders.insert(path);
                return Ok(());
            }
            Type::Regular | Type::Continuous | Type::GNUSparse => {
                let executable = entry.header().mode().map_err(failed)? & 0o100 != 0;
                let size = entry.size();
                let mark = self.blob(size, entry).map_err(failed)?;
                (if executable { Kind::Executable } else { Kind::File }, mark)
            }
            Type::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let mark = self.blob(target.len() as u64, &mut &target[..]).map_err(failed)?;
                (Kind::Symlink, mark)
            }
            Type::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = clean_path(&target).map_err(refused)?.unwrap_or_default();
                let same = content.files.get(&target).copied();
                same.ok_or_else(|| refused("a hard link to a file that does not stand before it"))?
            }
            _ => return Err(refused("neither a file nor a folder nor a link")),
        };
        content.files.insert(path, placed);
        Ok(())
    }

    /// Sends a blob and returns its mark.
    fn blob(&mut self, size: u64, content: &mut impl Read) -> io::Result<u64> {
        self.marks += 1;
        write!(self.pipe, "blob\nmark :{}\ndata {size}\n", self.marks)?;
        let copied = io::copy(&mut content.take(size), &mut self.pipe)?;
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pipe.write_all(b"\n")?;
        Ok(self.marks)
    }

    /// Sends the commit; nothing of the stream counts before its last word.
    fn commit(&mut self, name: &str, message: &str) -> io::Result<()> {
        let (newest, length) = (self.newest, message.len());
        write!(self.pipe, "commit {name}\ncommitter {IDENTITY} {newest} +0000\n")?;
        write!(self.pipe, "data {length}\n{message}\n")?;
        for (path, (kind, mark)) in &self.files {
            let mode = match kind {
                Kind::Executable => "100755",
                Kind::Symlink => "120000",
                Kind::File | Kind::Submodule => "100644",
            };
            write!(self.pipe, "M {mode} :{mark} ")?;
            self.pipe.write_all(&quoted(path))?;
            self.pipe.write_all(b"\n")?;
        }
        self.pipe.write_all(b"\ndone\n")?;
        self.pipe.flush()
    }
}

impl Content {
    /// Strips the one folder at the top that holds everything, as `dpkg-source` does.
    fn without_top(self) -> BTreeMap<Vec<u8>, (Kind, u64)> {
        let paths = || self.files.keys().chain(&self.folders);
        let tops: BTreeSet<&[u8]> =
            paths().filter_map(|p| p.split(|b| *b == b'/').next()).collect();
        let Some(top) = tops.first().filter(|_| tops.len() == 1) else { return self.files };
        let top = [*top, b"/"].concat();
        if !self.files.keys().all(|path| path.starts_with(&top)) {
            return self.files;
        }
        let inside = |path: Vec<u8>| path.get(top.len()..).map(<[u8]>::to_vec);
        self.files.into_iter().filter_map(|(path, file)| Some((inside(path)?, file))).collect()
    }
}

/// Opens a tarball after checking that it is the pinned one.
fn open(file: &SourceFile) -> Result<Box<dyn Read>, ImportError> {
    let failed = |source| ImportError::Read { file: file.name.clone(), source };
    let (found, _) = File::open(&file.file).and_then(sha256_of).map_err(failed)?;
    if found != file.digest {
        let (file, expected) = (file.name.clone(), file.digest);
        return Err(ImportError::Digest { file, expected, found });
    }
    let reader = BufReader::with_capacity(256 * 1024, File::open(&file.file).map_err(failed)?);
    match file.name.rsplit_once('.') {
        Some((_, "gz")) => Ok(Box::new(MultiGzDecoder::new(reader))),
        Some((_, "xz")) => Ok(Box::new(XzReader::new(reader, true))),
        _ => Err(ImportError::Compression { file: file.name.clone() }),
    }
}

/// Cleans a path of a tarball; none for the top folder itself.
fn clean_path(raw: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if raw.starts_with(b"/") {
        return Err("an absolute path");
    }
    let mut parts = Vec::new();
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("a path that leaves its folder"),
            _ if part.eq_ignore_ascii_case(b".git") => return Err("a path into a git repository"),
            _ if part.contains(&0) => return Err("a path with a zero byte"),
            _ => parts.push(part),
        }
    }
    Ok(if parts.is_empty() { None } else { Some(parts.join(&b'/')) })
}

/// Quotes a path for fast-import, whatever bytes are in it.
fn quoted(path: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in path {
        match byte {
            b'\n' => text.extend(b"\\n"),
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            _ => text.push(*byte),
        }
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cleaned_path_stays_in_its_folder(raw in proptest::collection::vec(
            prop_oneof![Just(b'/'), Just(b'.'), Just(b'a'), Just(0), any::<u8>()], 0..24)
        ) {
            if let Ok(Some(path)) = clean_path(&raw) {
                prop_assert!(!path.is_empty() && !path.starts_with(b"/") && !path.ends_with(b"/"));
                for part in path.split(|byte| *byte == b'/') {
                    prop_assert!(!part.is_empty() && part != b"." && part != b"..");
                    prop_assert!(!part.eq_ignore_ascii_case(b".git") && !part.contains(&0));
                }
                prop_assert_eq!(clean_path(&path), Ok(Some(path.clone())));
            }
        }
    }

    #[test]
    fn refuses_paths_that_leave_the_tree() {
        for raw in ["/etc/passwd", "../x", "a/../../x", "a/..", "a/.git/config", ".GIT/hooks/x"] {
            assert!(clean_path(raw.as_bytes()).is_err(), "accepted {raw}");
        }
        assert_eq!(clean_path(b"./a//b/./c/"), Ok(Some(b"a/b/c".to_vec())));
        assert_eq!(clean_path(b"./"), Ok(None));
    }

    #[test]
    fn tarballs_of_components_have_their_folder() {
        let file = |name: &str| SourceFile {
            name: name.to_owned(),
            digest: kdistro_verify::hash::sha256(b""),
            size: 0,
            file: name.into(),
        };
        let place = |name: &str| {
            let file = file(name);
            upstream_tarball(&file).map(|tarball| tarball.component.map(str::to_owned))
        };
        assert_eq!(place("a_1.orig.tar.gz"), Some(None));
        assert_eq!(place("a_1.orig-web.tar.xz"), Some(Some("web".to_owned())));
        assert_eq!(place("a_1.orig.tar.gz.asc"), None);
        assert_eq!(place("a_1-2.debian.tar.xz"), None);
        assert_eq!(place("a_1.dsc"), None);
    }
}
