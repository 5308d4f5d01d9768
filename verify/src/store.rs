//! Reads a published store: a directory, or (feature `http`) an address.

mod given;
#[cfg(feature = "http")]
pub mod http;
mod plain;

pub use given::read_given;
use plain::Links;

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use kdistro_formats::{ReleaseName, layout};

/// A store that can be read. Names are relative to its root, with `/` between folders.
pub trait Reader: Send + Sync {
    /// Opens a file; none when the store says that there is no such file.
    ///
    /// Any other outcome is an error: the store could not tell.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>>;

    /// Opens a file that is small, and of which a store that takes its time for it need not be believed.
    fn open_document(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        self.open(name)
    }

    /// Lists every file below `prefix`, a folder without a slash at its end, sorted by name; empty for the whole store.
    ///
    /// None when this kind of store cannot list.
    fn list(&self, prefix: &str) -> io::Result<Option<Vec<String>>>;

    /// Says where the store is, for people.
    fn place(&self) -> String;
}

/// Reads a document of at most `limit` bytes; none when it is not there.
pub fn read(reader: &dyn Reader, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = reader.open_document(name)? else { return Ok(None) };
    read_document(file, limit).map(Some)
}

/// Reads a document to its end; it is an error when it has more than `limit` bytes.
fn read_document(content: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    read_at_most(content, limit)?.ok_or_else(|| {
        let message = format!("is larger than the {limit} bytes that such a document may have");
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    })
}

/// Reads content to its end; none when it has more than `limit` bytes.
pub fn read_at_most(content: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    content.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// A store in a directory.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Reads the store at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Refuses a name that leads through a symbolic link: what lies behind one need not be in the store.
    fn refuse_links(&self, name: &str) -> io::Result<()> {
        let ends = name.match_indices('/').map(|(end, _)| end).chain([name.len()]);
        for part in ends.filter_map(|end| name.get(..end)).filter(|part| !part.is_empty()) {
            match fs::symlink_metadata(self.root.join(part)) {
                Ok(metadata) if metadata.is_symlink() => {
                    let message = format!("is not in the store: `{part}` is a symbolic link");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                Ok(_) => {}
                Err(error) if is_absent(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Reader for Directory {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        if !is_plain(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name in a store"));
        }
        self.refuse_links(name)?;
        let path = self.root.join(name);
        let opened = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => plain::open(&path, Links::Refuse)?,
            Ok(_) => None,
            Err(error) if is_absent(&error) => {
                // A store that is not there at all cannot say what is in it.
                fs::read_dir(&self.root)?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let irregular = || io::Error::new(io::ErrorKind::InvalidData, "is not a regular file");
        Ok(Some(Box::new(opened.ok_or_else(irregular)?)))
    }

    fn list(&self, prefix: &str) -> io::Result<Option<Vec<String>>> {
        self.refuse_links(prefix)?;
        let mut names = Vec::new();
        walk(&self.root.join(prefix), prefix, &mut names)?;
        names.sort_unstable();
        Ok(Some(names))
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// True for a name without empty, `.` or `..` parts.
pub(crate) fn is_plain(name: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
    name.split('/').all(plain)
}

/// How deep folders are looked into. A folder below that is listed as if it were a file: nothing of ours lies there.
const DEEPEST: usize = 32;

fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() && name.matches('/').count() < DEEPEST {
            walk(&entry.path(), &name, names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

/// A store and the name of a manifest in it that cannot be made out.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The manifest's path does not end as a manifest's does.
    #[error(
        "`{0}` does not end with `kubernetes-<channel>/kubernetes-<channel>-<number>.yaml`; name the store with --store"
    )]
    Layout(String),
    /// The last part of the path is not the name of a manifest.
    #[error("`{0}` is not the name of a manifest; expected `kubernetes-<channel>-<number>.yaml`")]
    Name(String),
    /// An address that is not one, or not one that is read.
    #[error("cannot read `{0}`: {1}")]
    Address(String, &'static str),
}

/// Finds the store of a manifest: `store` where it is given, else the manifest's path less its layout suffix.
///
/// Returns the store and the manifest's name in it. `proxy` is used for addresses only.
pub fn locate(
    manifest: &str,
    store: Option<&str>,
    proxy: Option<&str>,
) -> Result<(Box<dyn Reader>, String), LocateError> {
    let file = manifest.rsplit('/').next().unwrap_or(manifest);
    let resource = file.strip_suffix(".yaml").unwrap_or(file);
    // EKS-D's names have `eks` before the number; its manifests are read to say that nothing signs them.
    let ours = resource.replacen("-eks-", "-", 1);
    let release =
        ours.strip_prefix("kubernetes-").and_then(|name| name.parse::<ReleaseName>().ok());
    let release = release.ok_or_else(|| LocateError::Name(file.to_owned()))?;
    let name = if ours == resource {
        layout::manifest(&release)
    } else {
        format!("kubernetes-{}/{resource}.yaml", release.channel)
    };
    if let Some(store) = store {
        return Ok((open(store, proxy)?, name));
    }
    let root = manifest.strip_suffix(&name).filter(|root| root.is_empty() || root.ends_with('/'));
    let root = root.ok_or_else(|| LocateError::Layout(manifest.to_owned()))?;
    let root = if root.is_empty() { "." } else { root };
    Ok((open(root, proxy)?, name))
}

/// Opens a store: an address when it looks like one, else a directory.
pub fn open(store: &str, proxy: Option<&str>) -> Result<Box<dyn Reader>, LocateError> {
    if !store.contains("://") {
        return Ok(Box::new(Directory::new(store)));
    }
    #[cfg(feature = "http")]
    return Ok(Box::new(http::Http::new(store, proxy)?));
    #[cfg(not(feature = "http"))]
    {
        let _ = proxy;
        Err(LocateError::Address(store.to_owned(), "built without the feature `http`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_the_path_less_the_layout() {
        for (path, root) in [
            ("/a/store/kubernetes-1-20/kubernetes-1-20-1.yaml", "/a/store/"),
            ("kubernetes-1-20/kubernetes-1-20-1.yaml", "."),
        ] {
            let (reader, name) = locate(path, None, None).unwrap();
            assert_eq!(reader.place(), root);
            assert_eq!(name, "kubernetes-1-20/kubernetes-1-20-1.yaml");
        }
        let (reader, name) = locate("kubernetes-1-20-1.yaml", Some("/s"), None).unwrap();
        assert_eq!(
            (reader.place().as_str(), name.as_str()),
            ("/s", "kubernetes-1-20/kubernetes-1-20-1.yaml")
        );
        let eks = locate("/s/kubernetes-1-35/kubernetes-1-35-eks-7.yaml", None, None).unwrap();
        assert_eq!(eks.1, "kubernetes-1-35/kubernetes-1-35-eks-7.yaml");
    }

    #[test]
    fn says_what_it_could_not_make_out() {
        assert!(matches!(locate("/s/x.yaml", None, None), Err(LocateError::Name(_))));
        assert!(matches!(
            locate("/s/kubernetes-1-20-1.yaml", None, None),
            Err(LocateError::Layout(_))
        ));
    }

    #[test]
    fn a_store_that_is_not_there_cannot_say_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let there = Directory::new(folder.path());
        assert!(there.open("a/b").unwrap().is_none());
        assert!(there.open("../b").is_err());
        assert!(Directory::new(folder.path().join("none")).open("a/b").is_err());
        fs::write(folder.path().join("a"), b"12345").unwrap();
        assert_eq!(read(&there, "a", 5).unwrap().unwrap(), b"12345");
        assert!(read(&there, "a", 4).is_err());
        assert_eq!(there.list("").unwrap().unwrap(), ["a"]);
    }
}
