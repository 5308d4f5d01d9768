//! The newest release that a folder offers: a store with one channel, or the folder of a channel in it.
//!
//! It only chooses. Index and release are verified as if its manifest had been named.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kdistro_formats::{ChannelName, ReleaseName, channel::ReleaseChannel, layout};
use kdistro_verify::store::{self, Directory, Reader};

use super::{Result, unreadable};
use crate::DevclusterError;

/// How the folder of a channel begins.
const CHANNEL: &str = "kubernetes-";
/// Where a store keeps the indexes of its channels.
const INDEXES: &str = "releasechannels/";

/// The manifest of the newest release that is neither yanked nor withheld.
pub fn newest(folder: &Path) -> Result<PathBuf> {
    let folder = fs::canonicalize(folder).map_err(DevclusterError::io("open", folder))?;
    let (root, channel) = match channel_of(&folder) {
        Some(found) => found,
        None => (folder.clone(), only_channel(&folder)?),
    };
    let name = layout::channel_index(&channel);
    let bytes = store::read(&Directory::new(&root), &name, layout::LARGEST_DOCUMENT);
    let bytes = bytes.map_err(|error| unreadable(&name, error))?;
    let bytes = bytes.ok_or_else(|| DevclusterError::NoStore(folder.display().to_string()))?;
    let index = ReleaseChannel::from_yaml(&String::from_utf8_lossy(&bytes));
    let index = index.map_err(|error| unreadable(&name, error))?;
    let number = offered(&index).ok_or_else(|| DevclusterError::Empty {
        channel: channel.to_string(),
        folder: root.display().to_string(),
    })?;
    Ok(root.join(layout::manifest(&ReleaseName { channel, number })))
}

/// The store of a channel's folder, and the channel.
fn channel_of(folder: &Path) -> Option<(PathBuf, ChannelName)> {
    let channel = folder.file_name()?.to_str()?.strip_prefix(CHANNEL)?.parse().ok()?;
    let root = folder.parent()?;
    // A store may be called like a channel.
    let is_store = folder.join(INDEXES).is_dir();
    (!is_store).then(|| (root.to_owned(), channel))
}

fn only_channel(root: &Path) -> Result<ChannelName> {
    let said = root.display().to_string();
    let names = Directory::new(root).list(INDEXES.trim_end_matches('/'));
    let names = names.map_err(|error| unreadable(&said, error))?.unwrap_or_default();
    let channel = |name: &String| {
        name.strip_prefix(INDEXES)?.strip_suffix(".yaml")?.parse::<ChannelName>().ok()
    };
    let channels: Vec<_> = names.iter().filter_map(channel).collect();
    match &channels[..] {
        [] => Err(DevclusterError::NoStore(said)),
        [channel] => Ok(channel.clone()),
        several => {
            let paths = several.iter().map(|one| root.join(format!("{CHANNEL}{one}")));
            let paths: Vec<_> = paths.map(|path| path.display().to_string()).collect();
            Err(DevclusterError::Channels { folder: said, paths: paths.join(", ") })
        }
    }
}

fn offered(index: &ReleaseChannel) -> Option<u32> {
    let numbers = index.status.releases.iter().map(|release| release.number);
    numbers.filter(|number| index.status.yanked.iter().all(|one| one.number != *number)).max()
}

#[cfg(test)]
mod tests {
    use kdistro_formats::failure;

    use super::*;

    /// A store with an index of each channel that offers 1 to 3.
    fn store(channels: &[&str], more: &str) -> tempfile::TempDir {
        let store = tempfile::tempdir().unwrap();
        let indexes = store.path().join("releasechannels");
        fs::create_dir_all(indexes.join("bundles")).unwrap();
        for channel in channels {
            fs::create_dir(store.path().join(format!("kubernetes-{channel}"))).unwrap();
            let digest = "ab".repeat(32);
            let mut text = format!(
                "apiVersion: distro.kdistro.dev/v1alpha1\nkind: ReleaseChannel\n\
                 metadata:\n  name: {channel}\nspec:\n  channel: {channel}\n\
                 status:\n  active: true\n  latestRelease: 3\n  releases:\n"
            );
            for number in ["1", "2", "3"] {
                text +=
                    &["    - number: ", number, "\n      digest: sha256:", &digest, "\n"].concat();
            }
            fs::write(indexes.join(format!("{channel}.yaml")), text + more).unwrap();
        }
        store
    }

    fn found(folder: &Path) -> String {
        let text = match newest(folder) {
            Ok(path) => path.display().to_string(),
            Err(error) => failure::told(&error),
        };
        text.replace(&fs::canonicalize(folder).unwrap().display().to_string(), "FOLDER")
    }

    #[test]
    fn the_newest_that_is_not_yanked_is_found_in_a_store_and_in_a_channel() {
        let whole = store(&["1-20"], "");
        assert_eq!(found(whole.path()), "FOLDER/kubernetes-1-20/kubernetes-1-20-3.yaml");
        let channel = whole.path().join("kubernetes-1-20/.");
        assert_eq!(found(&channel), "FOLDER/kubernetes-1-20-3.yaml");
        let yanked = store(&["1-20"], "  yanked:\n    - number: 3\n      reason: broken\n");
        assert_eq!(found(yanked.path()), "FOLDER/kubernetes-1-20/kubernetes-1-20-2.yaml");
    }

    #[test]
    fn of_several_channels_each_is_named_and_what_is_no_store_too() {
        let several = store(&["1-20", "1-36"], "");
        assert_eq!(
            found(several.path()),
            "`FOLDER` has several channels\nhelp:  name one of FOLDER/kubernetes-1-20, FOLDER/kubernetes-1-36"
        );
        let channel = several.path().join("kubernetes-1-36");
        assert_eq!(found(&channel), "FOLDER/kubernetes-1-36-3.yaml");
        let none = tempfile::tempdir().unwrap();
        assert!(found(none.path()).starts_with("`FOLDER` is neither a store nor a channel of one"));
        let all = ["1", "2", "3"].map(|n| format!("    - number: {n}\n      reason: r\n"));
        let all = ["  yanked:\n", &all.concat()].concat();
        let said = found(store(&["1-20"], &all).path());
        assert!(said.ends_with("offers no release of channel 1-20"), "{said}");
    }
}
