//! What the documents of an image must say that was made as a plan has it.
//!
//! Everything follows from the plan but what the layers come to: their digests and sizes, and so those of the documents.
//! Those are taken as given; only a rebuild can tell whether they are what the plan's steps make.

use super::{
    Config, Descriptor, Execution, History, Index, Manifest, OciError, Platform, config::RootFs,
};
use crate::{
    Digest,
    plan::{self, PlatformImage},
    time::rfc3339,
};

/// What the history says of the layer with the packages of the base.
pub const BASE_LAYER: &str = "packages of the base";
/// What the history says of the layer with our programs.
pub const OWN_LAYER: &str = "programs";

impl Config {
    /// The configuration of one platform of a planned image, given the digests of its layers' plain tars.
    ///
    /// Its history is about the layers that are planned, however many are given.
    pub fn planned(
        image: &plan::Image,
        platform: &PlatformImage,
        diff_ids: Vec<Digest>,
    ) -> Result<Self, OciError> {
        let made_by = platform.base.iter().map(|_| BASE_LAYER).chain([OWN_LAYER]);
        Self::made(&platform.platform, &platform.config, (diff_ids, made_by), image.created)
    }

    /// The configuration of an image for one platform, given the digests of its layers' plain tars and what made them,
    /// the lowest first. `created` is in seconds since 1970 and stands for the image and each of its layers.
    pub fn made<'a>(
        platform: &crate::Platform,
        config: &plan::ImageConfig,
        (diff_ids, made_by): (Vec<Digest>, impl Iterator<Item = &'a str>),
        created: u64,
    ) -> Result<Self, OciError> {
        let created = rfc3339(created).ok_or_else(|| OciError::Value {
            place: "created".to_owned(),
            found: format!("{created} seconds since 1970"),
            expected: "a time before the year 10000",
        })?;
        let history = made_by.map(|made_by| History {
            created: Some(created.clone()),
            created_by: Some(made_by.to_owned()),
            ..History::default()
        });
        let Platform { architecture, os, variant } = Platform::from(platform);
        Ok(Self {
            history: history.collect(),
            created: Some(created),
            architecture,
            os,
            variant,
            config: Execution::from(config),
            rootfs: RootFs::of(diff_ids),
        })
    }
}

impl Manifest {
    /// The manifest of one platform of a planned image, given what names its configuration and its layers.
    #[must_use]
    pub fn planned(image: &plan::Image, config: &Descriptor, layers: &[Descriptor]) -> Self {
        Self {
            config: config.bare(),
            layers: layers.iter().map(Descriptor::bare).collect(),
            artifact_type: None,
            subject: None,
            annotations: image.annotations.clone(),
        }
    }
}

impl Index {
    /// The index of a planned image, given what names its manifests, in the plan's order of platforms.
    #[must_use]
    pub fn planned(image: &plan::Image, manifests: &[Descriptor]) -> Self {
        let platforms = image.platforms.iter().map(|platform| Platform::from(&platform.platform));
        let named = platforms
            .zip(manifests)
            .map(|(platform, manifest)| Descriptor { platform: Some(platform), ..manifest.bare() });
        Self {
            manifests: named.collect(),
            annotations: image.annotations.clone(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ImageConfig;

    fn image(base: Option<Digest>) -> plan::Image {
        let config = ImageConfig {
            entrypoint: vec!["/etcd".to_owned()],
            command: vec!["--help".to_owned()],
            user: "65535:65535".to_owned(),
            env: [("B".to_owned(), "2".to_owned()), ("A".to_owned(), "1".to_owned())].into(),
            working_directory: "/data".to_owned(),
            ports: vec!["2380/tcp".to_owned(), "2379/tcp".to_owned()],
            labels: [("title".to_owned(), "etcd".to_owned())].into(),
        };
        let platforms = ["linux/amd64", "linux/arm64"].map(|platform| PlatformImage {
            platform: platform.parse().unwrap(),
            base,
            entries: Vec::new(),
            config: config.clone(),
        });
        plan::Image {
            repository: "etcd-io/etcd".to_owned(),
            created: 1_610_543_941,
            flat: None,
            annotations: [("a".to_owned(), "b".to_owned())].into(),
            platforms: platforms.to_vec(),
        }
    }

    #[test]
    fn a_configuration_follows_from_the_plan() {
        let (base, own) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        let image = image(Some(base));
        let written = Config::planned(&image, &image.platforms[1], vec![base, own]).unwrap();
        let expected = format!(
            "{{\"architecture\":\"arm64\",\"config\":{{\"Cmd\":[\"--help\"],\"Entrypoint\":[\"/etcd\"],\
             \"Env\":[\"A=1\",\"B=2\"],\"ExposedPorts\":{{\"2379/tcp\":{{}},\"2380/tcp\":{{}}}},\
             \"Labels\":{{\"title\":\"etcd\"}},\"User\":\"65535:65535\",\"WorkingDir\":\"/data\"}},\
             \"created\":\"2021-01-13T13:19:01Z\",\"history\":[\
             {{\"created\":\"2021-01-13T13:19:01Z\",\"created_by\":\"packages of the base\"}},\
             {{\"created\":\"2021-01-13T13:19:01Z\",\"created_by\":\"programs\"}}],\
             \"os\":\"linux\",\"rootfs\":{{\"diff_ids\":[\"{base}\",\"{own}\"],\"type\":\"layers\"}},\
             \"variant\":\"v8\"}}"
        );
        assert_eq!(String::from_utf8(written.to_vec().unwrap()).unwrap(), expected);
        let image = self::image(None);
        let written = Config::planned(&image, &image.platforms[0], vec![own]).unwrap();
        assert_eq!(written.history.len(), 1);
        assert_eq!(written.variant, None);
    }

    #[test]
    fn manifest_and_index_say_no_more_than_the_plan() {
        let image = image(None);
        let mut named = Descriptor::new(super::super::CONFIG, Digest::from_bytes([3; 32]), 9);
        let bare = named.clone();
        named.annotations.insert("more".to_owned(), "said".to_owned());
        let manifest = Manifest::planned(&image, &named, std::slice::from_ref(&named));
        assert_eq!((&manifest.config, &manifest.layers), (&bare, &vec![bare.clone()]));
        assert_eq!(manifest.annotations, image.annotations);
        let index = Index::planned(&image, &[named.clone(), named]);
        let platforms: Vec<_> =
            index.manifests.iter().map(|m| m.platform.as_ref().unwrap().to_string()).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64/v8"]);
        assert!(index.manifests.iter().all(|manifest| manifest.annotations.is_empty()));
        assert_eq!(index.annotations, image.annotations);
    }
}
