//! What an image is: platforms, layers, configuration and packages, for people and as JSON.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
    path::Path,
};

use kdistro_assemble::{EntryKind, tar::read_tar};
use kdistro_formats::Digest;
use serde::Serialize;

use super::{Image, ImageError, Images, Listed, PlainLayer, PlatformImage};
use crate::build::trees::TreeError;

/// Where dpkg lists what is installed.
const STATUS: &str = "var/lib/dpkg/status";

/// The largest list of packages that is read.
const LARGEST_STATUS: u64 = 16 << 20;

/// What an image is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The component's name.
    pub component: String,
    /// The asset's name.
    pub asset: String,
    /// Repository and tag.
    pub uri: String,
    /// The index.
    pub digest: Digest,
    /// The annotations of the index.
    pub annotations: BTreeMap<String, String>,
    /// What it has for each platform.
    pub platforms: Vec<PlatformFacts>,
}

/// What an image is for one platform.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformFacts {
    /// The platform, such as `linux/arm64`.
    pub platform: String,
    /// The manifest.
    pub manifest: Digest,
    /// The configuration.
    pub config: Digest,
    /// When it was made, RFC 3339 in UTC.
    pub created: Option<String>,
    /// The user; empty for root.
    pub user: String,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that are used when none are given.
    pub command: Vec<String>,
    /// The environment.
    pub env: Vec<String>,
    /// The working directory; empty for the root.
    pub working_directory: String,
    /// Ports that it listens on.
    pub ports: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The layers, the lowest first.
    pub layers: Vec<LayerFacts>,
    /// Its Debian packages, in the order of dpkg's list.
    pub packages: Vec<Package>,
}

/// One layer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerFacts {
    /// The compressed layer.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The plain tar.
    pub diff_id: Digest,
    /// Its length in bytes.
    pub plain_size: u64,
}

/// An installed Debian package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
}

/// Looks at an image of a release; all of it is read and checked. `scratch` is a folder for what is in between.
pub fn inspect(
    images: &Images<'_>,
    listed: &Listed<'_>,
    scratch: &Path,
) -> Result<Facts, ImageError> {
    let Image { index, annotations, platforms, .. } = images.read(&listed.digest()?)?;
    let platforms = platforms.iter().map(|image| platform(images, image, scratch));
    Ok(Facts {
        component: listed.component.to_owned(),
        asset: listed.asset.name.clone(),
        uri: listed.image.uri.clone(),
        digest: index.digest,
        annotations,
        platforms: platforms.collect::<Result<_, _>>()?,
    })
}

fn platform(
    images: &Images<'_>,
    image: &PlatformImage,
    scratch: &Path,
) -> Result<PlatformFacts, ImageError> {
    let (mut layers, mut packages) = (Vec::new(), Vec::new());
    for plain in images.layers(image, scratch) {
        let PlainLayer { layer, diff_id, tar, size: plain_size } = plain?;
        let status = status(BufReader::with_capacity(1 << 20, tar))
            .map_err(|source| ImageError::Layer { digest: layer.digest, source })?;
        if let Some(status) = status {
            packages = read_packages(&status);
        }
        let (digest, size, diff_id) = (layer.digest, layer.size, *diff_id);
        layers.push(LayerFacts { digest, size, diff_id, plain_size });
    }
    let started = image.config.config.clone();
    Ok(PlatformFacts {
        platform: image.platform_name(),
        manifest: image.manifest.digest,
        config: image.config_blob.digest,
        created: image.config.created.clone(),
        user: started.user,
        entrypoint: started.entrypoint,
        command: started.command,
        env: started.env,
        working_directory: started.working_directory,
        ports: started.exposed_ports,
        labels: started.labels,
        layers,
        packages,
    })
}

/// Reads dpkg's list out of a layer, where it has one.
fn status(tar: impl Read) -> Result<Option<String>, TreeError> {
    let mut status = None;
    read_tar(tar, &mut |entry| {
        if entry.path.as_str() == STATUS
            && let EntryKind::File { content, .. } = entry.kind
        {
            let mut text = String::new();
            content
                .take(LARGEST_STATUS)
                .read_to_string(&mut text)
                .map_err(|source| TreeError::Io { path: STATUS.into(), source })?;
            status = Some(text);
        }
        Ok::<_, TreeError>(())
    })?;
    Ok(status)
}

/// Reads the packages of dpkg's list.
fn read_packages(status: &str) -> Vec<Package> {
    let packages = status.split("\n\n").map(|paragraph| {
        let field = |name: &str| {
            let value = |line: &str| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned);
            paragraph.lines().find_map(value).unwrap_or_default()
        };
        let (name, version) = (field("Package"), field("Version"));
        Package { name, version, architecture: field("Architecture") }
    });
    packages.filter(|package| !package.name.is_empty()).collect()
}

impl Facts {
    /// Writes the facts as lines for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("{} of {}", self.asset, self.component),
            format!("  uri         {}", self.uri),
            format!("  digest      {}", self.digest),
        ];
        lines.extend(self.annotations.iter().map(|(name, value)| format!("  {name} = {value}")));
        for platform in &self.platforms {
            platform.add_lines(&mut lines);
        }
        lines
    }
}

impl PlatformFacts {
    fn add_lines(&self, lines: &mut Vec<String>) {
        lines.push(format!("  {}", self.platform));
        let mut add = |name: &str, value: String| {
            if !value.is_empty() {
                lines.push(format!("    {name:<12}{value}"));
            }
        };
        add("manifest", self.manifest.to_string());
        add("config", self.config.to_string());
        add("created", self.created.clone().unwrap_or_default());
        add("user", self.user.clone());
        add("entrypoint", self.entrypoint.join(" "));
        add("command", self.command.join(" "));
        add("env", self.env.join(" "));
        add("directory", self.working_directory.clone());
        add("ports", self.ports.join(" "));
        for (name, value) in &self.labels {
            add("label", format!("{name} = {value}"));
        }
        for layer in &self.layers {
            let (size, plain) = (layer.size, layer.plain_size);
            add("layer", format!("{} {size} bytes, {plain} unpacked", layer.digest));
        }
        for Package { name, version, architecture } in &self.packages {
            add("package", format!("{name} {version} {architecture}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_packages_of_dpkgs_list() {
        let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\nDescription: x\n Package: not\n\nPackage: tzdata\nArchitecture: all\nVersion: 2024a\n\n";
        let package = |name: &str, version: &str, architecture: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
        };
        let expected = [package("libc6", "2.36-9", "amd64"), package("tzdata", "2024a", "all")];
        assert_eq!(read_packages(status), expected);
        assert_eq!(read_packages(""), []);
    }
}
