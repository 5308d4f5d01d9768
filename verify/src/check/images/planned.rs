//! Compares the documents of an image with what the plan says: all that follows from it, and nothing more may stand there.
//!
//! Left out is what only a build knows: what the layers hold, and so the digests and sizes of layers and documents. A
//! rebuild tells whether they are what the plan's steps make. The name in the flat repository of a release, too, is a
//! registry's and not the image's.

use kdistro_formats::{
    Digest,
    oci::{self, Config, Descriptor, Index, Manifest, OciError},
    plan,
};

use crate::{
    check::{reading::Checker, report::chain},
    explain::json::{self, Field},
};

/// The most fields of one document that are listed.
const MOST: usize = 20;

impl Checker<'_> {
    /// Compares the index of an image: its platforms in their order, and its annotations.
    pub(super) fn compare_index(
        &mut self,
        (file, bytes): (&str, &[u8]),
        index: &Index,
        planned: &plan::Image,
    ) {
        let mut manifests: Vec<Descriptor> = Vec::new();
        for platform in &planned.platforms {
            let platform = oci::Platform::from(&platform.platform);
            let mut named = index.manifests.iter();
            let named = named.find(|manifest| manifest.platform.as_ref() == Some(&platform));
            let Some(named) = named else {
                return self.differs(file, format!("is not for {platform}, which the plan lists"));
            };
            manifests.push(named.clone());
        }
        self.compare_document((file, bytes), Index::planned(planned, &manifests).to_vec());
    }

    /// Compares the manifest of one platform: its annotations.
    pub(super) fn compare_manifest(
        &mut self,
        document: (&str, &[u8]),
        manifest: &Manifest,
        planned: &plan::Image,
    ) {
        let expected = Manifest::planned(planned, &manifest.config, &manifest.layers);
        self.compare_document(document, expected.to_vec());
    }

    /// Compares the configuration of one platform: how a container is started, when it was made, and of how many layers.
    pub(super) fn compare_config(
        &mut self,
        (file, bytes): (&str, &[u8]),
        diff_ids: &[Digest],
        of: (&plan::Image, &oci::Platform),
    ) {
        let (planned, platform) = of;
        let mut platforms = planned.platforms.iter();
        let planned_platform =
            platforms.find(|planned| oci::Platform::from(&planned.platform) == *platform);
        // What the plan does not list was said of the index.
        let Some(planned_platform) = planned_platform else { return };
        let layers = usize::from(planned_platform.base.is_some()) + 1;
        if diff_ids.len() != layers {
            let found = diff_ids.len();
            self.differs(file, format!("has {found} layers, but the plan says {layers}"));
        }
        let diff_ids: Vec<_> = diff_ids.iter().take(layers).copied().collect();
        let count = diff_ids.len();
        let expected = Config::planned(planned, planned_platform, diff_ids);
        // A history is about as many layers as there are.
        let expected = expected.and_then(|mut expected| {
            expected.history.truncate(count);
            expected.to_vec()
        });
        self.compare_document((file, bytes), expected);
    }

    fn compare_document(
        &mut self,
        (file, bytes): (&str, &[u8]),
        expected: Result<Vec<u8>, OciError>,
    ) {
        let expected = match expected {
            Ok(expected) => expected,
            Err(error) => {
                let why = chain(&error);
                return self.differs(file, format!("cannot be what the plan says: {why}"));
            }
        };
        if expected == bytes {
            return;
        }
        let fields = json::differences(bytes, &expected, MOST).unwrap_or_default();
        if fields.is_empty() {
            self.differs(file, "is not what the plan says");
        }
        for Field { path, first, second } in fields {
            self.differs(
                file,
                match (first, second) {
                    (Some(found), Some(said)) => {
                        format!("`{path}` is {found}, but the plan says {said}")
                    }
                    (Some(found), None) => {
                        format!("`{path}` is {found}, of which the plan says nothing")
                    }
                    (None, said) => {
                        let said = said.unwrap_or_default();
                        format!("lacks `{path}`, which the plan says is {said}")
                    }
                },
            );
        }
    }
}
