//! Publishes a packaged release, stage by stage, so that it can be killed anywhere and run again.
//!
//! Order: inputs and artifacts, plan, provenances, images into the registry, manifest, log entry and bundle, channel
//! index, announcement. Nothing names what is not there yet, and nothing is announced that is not published and signed.

pub mod announce;
pub mod files;
mod images;
pub mod index;
pub mod number;
mod provenance;
pub mod yank;

use std::collections::BTreeMap;

use kdistro_assemble::image::ImageError;
use kdistro_border::{
    Content, Registry, RegistryError, Store, StoreError,
    store::{self},
};
use kdistro_formats::{
    Digest, ReleaseName, canonical::CanonicalError, claim::Claim, layout, plan::Plan,
    release::ManifestError, yaml::WriteError,
};
use kdistro_verify::{
    bundle::BundleError,
    hash::{self, Hashes},
    trust::TrustError,
};

use self::files::Upload;
use crate::{
    build::Records,
    config::{Files, distribution::Distribution},
    content::{ContentError, ContentStore},
    journal::{Entry, Journal, JournalError},
    package::Packaged,
    release::{self, ReleaseError},
    report::Reporter,
    sign::{Signing, SigningError, keys::KeysError},
};

/// Why a release could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What is said about an image cannot be written.
    #[error("cannot write what refers to image `{repository}`")]
    Image {
        /// Its repository.
        repository: String,
        /// Why.
        source: ImageError,
    },
    /// A document could not be signed.
    #[error("cannot sign `{document}`")]
    Sign {
        /// Its name in the store.
        document: String,
        /// Why.
        source: SigningError,
    },
    /// The manifest cannot be made.
    #[error("cannot make the manifest")]
    Release(#[from] ReleaseError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A document in the store is not what it should be.
    #[error("`{document}` in the store")]
    Published {
        /// Its name.
        document: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// A name that all releases share holds something else.
    #[error(
        "`{name}` is already published with other content: {published}, not {digest}\nhelp:  a published name never changes: give the changed file a new name"
    )]
    Taken {
        /// The name.
        name: String,
        /// What is there.
        published: Digest,
        /// What was to be stored.
        digest: Digest,
    },
    /// What is to be published is damaged on this machine.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A document in the store is not signed by this environment.
    #[error(
        "`{document}` in the store is not signed by this environment's key\nhelp:  find out who wrote it before anything else is published"
    )]
    Forged {
        /// Its name.
        document: String,
        /// What is wrong.
        source: BundleError,
    },
    /// A signed document has no bundle.
    #[error("`{0}` has no bundle in the store")]
    Unsigned(String),
    /// A document cannot be written.
    #[error("cannot write a document")]
    Write(#[from] WriteError),
    /// A document cannot be written.
    #[error("cannot write a document")]
    Canonical(#[from] CanonicalError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A public key is not one.
    #[error("the public key")]
    Trust(#[from] TrustError),
    /// Something that was to be there is not.
    #[error(
        "`{0}` is missing in the store although the journal says that it was published\nhelp:  move the journal away and run this again: everything is then compared with the store"
    )]
    Vanished(String),
    /// Others kept changing the index.
    #[error("`{0}` was changed by others again and again; try again")]
    Crowded(String),
    /// The claim of a number is held by others.
    #[error(transparent)]
    Number(#[from] number::NumberError),
}

/// What a release consists of, ready to be published.
pub struct Ready<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The plan's canonical bytes.
    pub plan_bytes: &'a [u8],
    /// The assets.
    pub packaged: &'a Packaged,
    /// The claim on the number.
    pub claim: &'a Claim,
    /// The public names and addresses.
    pub distribution: &'a Distribution,
    /// Files of the release as a whole, by name.
    pub documents: &'a BTreeMap<String, Hashes>,
    /// What the steps gave, and what isolated them.
    pub records: &'a Records,
    /// The configuration files; the custom resource definitions among them are published by name too.
    pub files: &'a Files,
}

/// Where a release is published, and by whom.
pub struct Publisher<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The registry.
    pub registry: &'a dyn Registry,
    /// Inputs and assets by digest.
    pub content: &'a ContentStore,
    /// Signer and log.
    pub signing: &'a Signing<'a>,
    /// The environment's name.
    pub environment: &'a str,
    /// Who is told.
    pub reporter: &'a Reporter,
}

/// A release that stands in the store, signed.
#[derive(Clone, Debug)]
pub struct Published {
    /// The release.
    pub name: ReleaseName,
    /// The manifest's text.
    pub manifest: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's bundle.
    pub bundle: Vec<u8>,
}

impl Publisher<'_> {
    /// Publishes everything up to the signed manifest. What the journal says is done is not done again.
    pub fn publish(
        &self,
        ready: &Ready<'_>,
        journal: &mut Journal,
    ) -> Result<Published, PublishError> {
        let header = &ready.claim.header;
        let name = ReleaseName { channel: header.channel.clone(), number: header.number };
        let plan_digest = hash::sha256(ready.plan_bytes);
        let manifest = release::manifest(
            (ready.plan, &plan_digest),
            (ready.packaged, ready.documents),
            header,
            ready.distribution,
        )?;
        let uploads = files::uploads(ready, &name);
        for (done, upload) in uploads.iter().enumerate() {
            self.reporter.progress(format!(
                "publishing {} of {}: {}",
                done + 1,
                uploads.len(),
                upload.name()
            ));
            self.upload(upload, journal)?;
        }
        self.refuse_gaps(&name, &uploads)?;
        let provenances = self.attest(ready, &name, journal)?;
        self.push_images(ready, &name, (&provenances, journal))?;
        let document = layout::manifest(&name);
        self.create(&document, manifest.as_bytes(), journal)?;
        let bundle = self.sign(&document, manifest.as_bytes(), journal)?;
        Ok(Published { digest: hash::sha256(manifest.as_bytes()), name, manifest, bundle })
    }

    /// Refuses, before a number is claimed, what could not be published: bad names, and shared names that are taken.
    pub fn refuse_early(&self, ready: &Ready<'_>, name: &ReleaseName) -> Result<(), PublishError> {
        for upload in files::uploads(ready, name) {
            store::check_creation(upload.name())?;
            let Upload::Bytes { name, bytes } = &upload else { continue };
            let digest = hash::sha256(bytes);
            if name.starts_with("crds/")
                && let Some(there) = self.store.stat(name)?.filter(|there| there.digest != digest)
            {
                let (name, published) = (name.clone(), there.digest);
                return Err(PublishError::Taken { name, published, digest });
            }
        }
        Ok(())
    }

    /// Signs a document and puts its bundle beside it, unless a good one is there already.
    fn sign(
        &self,
        document: &str,
        bytes: &[u8],
        journal: &mut Journal,
    ) -> Result<Vec<u8>, PublishError> {
        let name = layout::bundle(document);
        self.keep_signed((document, &name), journal, |journal| self.signing.message(bytes, journal))
    }

    /// Publishes the bundle that `sign` makes of a document under a name, unless one is there: no two are alike, so
    /// what is published stands.
    fn keep_signed(
        &self,
        (document, name): (&str, &str),
        journal: &mut Journal,
        sign: impl FnOnce(&mut Journal) -> Result<Vec<u8>, SigningError>,
    ) -> Result<Vec<u8>, PublishError> {
        if let Some(there) = self.store.read(name)? {
            return Ok(there);
        }
        let signed = sign(journal);
        let bundle = signed
            .map_err(|source| PublishError::Sign { document: document.to_owned(), source })?;
        match self.create(name, &bundle, journal) {
            // Another run signed the same meanwhile: either will do.
            Err(PublishError::Store(StoreError::Conflict { .. })) => {
                Ok(self.store.read(name)?.unwrap_or(bundle))
            }
            created => created.map(|()| bundle),
        }
    }

    /// Publishes the keys by which strangers verify, once a store.
    pub fn publish_keys(
        &self,
        keys: &crate::sign::keys::Keys,
        journal: &mut Journal,
    ) -> Result<Vec<u8>, PublishError> {
        self.create(layout::PUBLIC_KEY, keys.release_key()?.to_pem().as_bytes(), journal)?;
        self.create(layout::LOG_KEY, keys.log_key()?.to_pem().as_bytes(), journal)?;
        let root = keys.trusted_root(self.signing.log.origin)?;
        self.create(layout::TRUSTED_ROOT, &root, journal)?;
        self.sign(layout::TRUSTED_ROOT, &root, journal)?;
        Ok(root)
    }

    fn upload(&self, upload: &Upload, journal: &mut Journal) -> Result<(), PublishError> {
        match upload {
            Upload::Bytes { name, bytes } => self.create(name, bytes, journal),
            Upload::Stored { name, digest, size } => {
                if journal.has_published(name, digest) {
                    return Ok(());
                }
                let path = self.content.path(digest);
                let content = Content::File { path: &path, digest: *digest, size: *size };
                if let Err(error) = self.store.create(name, content) {
                    // Damaged content is removed, so that the next run makes or fetches it again.
                    return self
                        .content
                        .check(digest)
                        .map_or_else(|damage| Err(damage.into()), |()| Err(error.into()));
                }
                let entry = Entry::Published { name: name.clone(), digest: *digest };
                Ok(journal.write(&entry)?)
            }
        }
    }

    fn create(&self, name: &str, bytes: &[u8], journal: &mut Journal) -> Result<(), PublishError> {
        let digest = hash::sha256(bytes);
        if journal.has_published(name, &digest) {
            return Ok(());
        }
        self.store.create(name, Content::Bytes(bytes))?;
        Ok(journal.write(&Entry::Published { name: name.to_owned(), digest })?)
    }

    /// Before the manifest names them: everything in the release's folder must really be there.
    fn refuse_gaps(&self, name: &ReleaseName, uploads: &[Upload]) -> Result<(), PublishError> {
        let prefix = format!("{}/", layout::release(name));
        let listed = self.store.list(&prefix)?;
        let gone = uploads.iter().map(Upload::name).find(|upload| {
            upload.starts_with(&prefix)
                && listed.binary_search_by(|name| name.as_str().cmp(upload)).is_err()
        });
        gone.map_or(Ok(()), |gone| Err(PublishError::Vanished(gone.to_owned())))
    }
}
