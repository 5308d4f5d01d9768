//! Where reports lie, one file a cluster: a folder, or a bucket of S3.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kdistro_verify::store;

use super::LARGEST;
use crate::{
    file::{self, FileError},
    policy::Reports,
};

/// How the file of a report ends, after the cluster's name.
const ENDING: &str = ".json";
/// How the address of a bucket begins.
const BUCKET: &str = "s3://";

/// Where reports lie.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A bucket, or what in it begins with a prefix.
    #[cfg(feature = "aws")]
    Bucket(Box<kdistro_aws::S3Store>),
}

/// A place that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The folder cannot be listed.
    #[error("cannot read {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no address of a bucket.
    #[error("`{0}` is no bucket; expected one such as `s3://BUCKET/PREFIX`")]
    Address(String),
    /// This program was built without AWS.
    #[error(
        "this kdistro-rollout was built without AWS, which reports in a bucket need\nhelp:  build it with `cargo build --release -p kdistro-rollout --features aws`"
    )]
    WithoutAws,
    /// The bucket does not do what was asked.
    #[error("cannot use the bucket of reports")]
    Bucket(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A report that cannot be read, while others can.
#[derive(Debug, thiserror::Error)]
pub enum UnreadError {
    /// It is no file, or longer than any report.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The bucket does not give it.
    #[error(transparent)]
    Bucket(Box<dyn std::error::Error + Send + Sync>),
    /// The cluster never reported here.
    #[error("there is none")]
    Missing,
    /// What the bucket gives is longer than any report.
    #[error("it is longer than {LARGEST} bytes")]
    TooLong,
}

impl Place {
    /// Opens the place that a subscriber's file names.
    pub fn of(reports: &Reports) -> Result<Self, PlaceError> {
        match (&reports.folder, &reports.bucket) {
            (_, Some(bucket)) => {
                Self::bucket(bucket, reports.region.as_deref(), reports.endpoint.as_deref())
            }
            (folder, None) => Ok(Self::Folder(folder.clone().unwrap_or_default())),
        }
    }

    /// Opens a folder, or a bucket where it is the address of one: `s3://BUCKET/PREFIX`. Another service than Amazon's is
    /// taken from `endpoint`, else from AWS's usual places, as region and credentials are.
    pub fn open(place: &str, endpoint: Option<&str>) -> Result<Self, PlaceError> {
        if place.starts_with(BUCKET) {
            Self::bucket(place, None, endpoint)
        } else {
            Ok(Self::Folder(PathBuf::from(place)))
        }
    }

    #[cfg(feature = "aws")]
    fn bucket(
        address: &str,
        region: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<Self, PlaceError> {
        use kdistro_aws::{Aws, AwsSettings, S3Settings, S3Store};

        let (bucket, prefix) =
            parts(address).ok_or_else(|| PlaceError::Address(address.to_owned()))?;
        let endpoint = endpoint.map(str::to_owned);
        // Amazon's own wants the bucket in the host's name; others mostly in the path.
        let path_style = endpoint.is_some();
        let settings =
            AwsSettings { region: region.map(str::to_owned), endpoint, ..AwsSettings::default() };
        let aws = Aws::load(&settings).map_err(|error| PlaceError::Bucket(Box::new(error)))?;
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        let settings = S3Settings { bucket, prefix, path_style, conditional_writes: true };
        Ok(Self::Bucket(Box::new(S3Store::new(&aws, settings))))
    }

    #[cfg(not(feature = "aws"))]
    fn bucket(address: &str, _: Option<&str>, _: Option<&str>) -> Result<Self, PlaceError> {
        parts(address).ok_or_else(|| PlaceError::Address(address.to_owned()))?;
        Err(PlaceError::WithoutAws)
    }

    /// Puts the newest report of a cluster in the place of the last one.
    pub fn write(&self, cluster: &str, report: &[u8]) -> Result<(), PlaceError> {
        let name = file_of(cluster);
        match self {
            Self::Folder(folder) => Ok(file::replace(&folder.join(name), report)?),
            #[cfg(feature = "aws")]
            Self::Bucket(bucket) => {
                bucket.overwrite(&name, report).map_err(|error| PlaceError::Bucket(Box::new(error)))
            }
        }
    }

    /// Lists the clusters that have a file here, sorted.
    pub fn clusters(&self) -> Result<Vec<String>, PlaceError> {
        match self {
            Self::Folder(folder) => names(folder, ENDING)
                .map_err(|source| PlaceError::Io { path: folder.clone(), source }),
            #[cfg(feature = "aws")]
            Self::Bucket(bucket) => {
                use kdistro_border::Store;

                let listed =
                    bucket.list("").map_err(|error| PlaceError::Bucket(Box::new(error)))?;
                Ok(listed.iter().filter_map(|name| cluster_of(name, ENDING)).collect())
            }
        }
    }

    /// Reads the file of a cluster.
    pub fn read(&self, cluster: &str) -> Result<Vec<u8>, UnreadError> {
        let name = file_of(cluster);
        let read = match self {
            Self::Folder(folder) => store::read(&store::Directory::new(folder), &name, LARGEST)?,
            #[cfg(feature = "aws")]
            Self::Bucket(bucket) => {
                use kdistro_border::Store;

                bucket.read(&name).map_err(|error| UnreadError::Bucket(Box::new(error)))?
            }
        };
        let read = read.ok_or(UnreadError::Missing)?;
        if read.len() as u64 > LARGEST {
            return Err(UnreadError::TooLong);
        }
        Ok(read)
    }
}

/// The name of a cluster's file.
pub(crate) fn file_of(cluster: &str) -> String {
    format!("{cluster}{ENDING}")
}

/// The names in a folder that have this ending, without it, sorted.
pub(crate) fn names(folder: &Path, ending: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(cluster_of(&entry?.file_name().to_string_lossy(), ending));
    }
    names.sort();
    Ok(names)
}

/// The cluster whose file this is. What begins with a dot is being written, what lies deeper is somebody else's.
fn cluster_of(name: &str, ending: &str) -> Option<String> {
    let name = name.strip_suffix(ending)?;
    (!name.starts_with('.') && !name.contains('/')).then(|| name.to_owned())
}

/// Bucket and prefix of an address.
///
/// Source: Amazon S3 User Guide, "General purpose bucket naming rules".
pub(crate) fn parts(address: &str) -> Option<(&str, &str)> {
    let rest = address.strip_prefix(BUCKET)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_of =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_bucket = (3..=63).contains(&bucket.len()) && bucket.bytes().all(is_of);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let is_part = |part: &str| {
        !matches!(part, "" | "." | "..") && part.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let is_prefix = prefix.is_empty() || prefix.split('/').all(is_part);
    (is_bucket && is_prefix).then_some((bucket, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_bucket_and_prefix_or_is_none() {
        for (address, expected) in [
            ("s3://reports", Some(("reports", ""))),
            ("s3://reports/", Some(("reports", ""))),
            ("s3://my.reports-1/eu/dev/", Some(("my.reports-1", "eu/dev"))),
            ("s3://ab", None),
            ("s3://Reports", None),
            ("s3://user@reports", None),
            ("s3://reports/../other", None),
            ("s3://reports//a", None),
            ("s3://reports/a b", None),
            ("https://reports", None),
        ] {
            assert_eq!(parts(address), expected, "{address}");
        }
    }

    #[test]
    fn a_file_is_a_clusters_where_it_lies_beside_the_others() {
        for (name, cluster) in [
            ("dev.json", Some("dev")),
            ("a.b.json", Some("a.b")),
            (".dev.json", None),
            ("dev.txt", None),
            ("other/dev.json", None),
        ] {
            assert_eq!(cluster_of(name, ENDING).as_deref(), cluster, "{name}");
        }
    }
}
