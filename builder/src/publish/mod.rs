//! Publishes a packaged release, stage by stage, so that it can be killed anywhere and run again.
//!
//! It begins in `release.rs`: the number, keys, plan, inputs and artifacts, provenances, images into the registry,
//! manifest, log entry and bundle, what tests came to (`tested.rs`), channel index; then `announce.rs`. Nothing names what
//! is not there yet, and nothing is announced that is not published and signed.

mod abandon;
pub mod announce;
mod at_once;
mod error;
pub mod files;
pub mod images;
pub mod index;
pub mod number;
pub mod provenance;
mod release;
pub mod tested;
mod upload;
pub mod yank;

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use kdistro_border::{
    Content, Registry, Store, StoreError,
    store::{self},
};
use kdistro_formats::{
    Digest, ReleaseName,
    claim::Claim,
    layout,
    plan::Plan,
    statement::{Provenance, Statement},
};
use kdistro_verify::{
    bundle::{self, BundleError},
    hash::{self, Hashes},
};

pub use self::{error::PublishError, images::ImageParts, release::Offer};
use crate::{
    content::ContentStore,
    journal::{Entry, Journal},
    report::Reporter,
    sign::{Signing, SigningError},
};

/// What a release consists of, ready to be published.
pub struct Ready<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The plan's canonical bytes.
    pub plan_bytes: &'a [u8],
    /// The manifest's text.
    pub manifest: &'a str,
    /// The claim on the number.
    pub claim: &'a Claim,
    /// Digests and size of each asset, by its path below `artifacts/`; of an image, by its repository, those of its
    /// index and the size of all of its content.
    pub assets: &'a BTreeMap<String, Hashes>,
    /// What images consist of, by repository.
    pub images: &'a BTreeMap<String, ImageParts>,
    /// Files of the release as a whole, by name.
    pub documents: &'a BTreeMap<String, Hashes>,
    /// How the assets of each component were built.
    pub provenances: &'a BTreeMap<String, Statement<Provenance>>,
}

impl Ready<'_> {
    /// The release that it is to be.
    pub fn name(&self) -> ReleaseName {
        self.claim.header.release()
    }
}

/// Where a release is published, and by whom.
pub struct Publisher<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The registry.
    pub registry: &'a dyn Registry,
    /// Inputs and assets by digest.
    pub content: &'a ContentStore,
    /// Files outside of it that hold what it lacks.
    pub elsewhere: &'a BTreeMap<Digest, PathBuf>,
    /// How many files or images are on their way at once. A store holds a few parts of each in memory.
    pub at_once: usize,
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
    fn publish_all(
        &self,
        ready: &Ready<'_>,
        journal: &mut Journal,
    ) -> Result<Published, PublishError> {
        let name = ready.name();
        let uploads = files::uploads(ready, &name);
        self.upload_all(&uploads, &name, journal)?;
        let provenances = self.attest(ready, &name, journal)?;
        self.push_images(ready, (&provenances, journal))?;
        let document = layout::manifest(&name);
        let manifest = ready.manifest.to_owned();
        self.create(&document, manifest.as_bytes(), journal)?;
        let bundle = self.sign(&document, manifest.as_bytes(), journal)?;
        Ok(Published { digest: hash::sha256(manifest.as_bytes()), name, manifest, bundle })
    }

    /// A release that was published before, as it stands in the store; none where it has no manifest.
    pub fn published(&self, name: &ReleaseName) -> Result<Option<Published>, PublishError> {
        let document = layout::manifest(name);
        let Some(manifest) = self.store.read(&document)? else { return Ok(None) };
        let bundle = self.store.read(&layout::bundle(&document))?;
        let bundle = bundle.ok_or_else(|| PublishError::Unsigned(document.clone()))?;
        bundle::verify_message(&bundle, &manifest, &self.signing.trust()?)
            .map_err(|source| PublishError::Forged { document, source })?;
        let (name, digest) = (name.clone(), hash::sha256(&manifest));
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        Ok(Some(Published { name, manifest, digest, bundle }))
    }

    /// Refuses, before a number is claimed, what could not be published: bad names, and shared names that are taken.
    fn refuse_early(&self, ready: &Ready<'_>, name: &ReleaseName) -> Result<(), PublishError> {
        for upload in files::uploads(ready, name) {
            store::check_creation(upload.name())?;
            let (name, digest) = (upload.name(), upload.digest());
            if name.starts_with("crds/")
                && let Some(there) = self.store.stat(name)?.filter(|there| there.digest != digest)
            {
                let (name, published) = (name.to_owned(), there.digest);
                return Err(PublishError::Taken { name, published, digest });
            }
        }
        Ok(())
    }

    /// The file that holds some content.
    fn path(&self, digest: &Digest) -> PathBuf {
        self.elsewhere.get(digest).cloned().unwrap_or_else(|| self.content.path(digest))
    }

    /// Reads some content, which must be what its digest says.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, PublishError> {
        let Some(path) = self.elsewhere.get(digest) else { return Ok(self.content.read(digest)?) };
        let failed = |source| PublishError::Elsewhere { path: path.clone(), source };
        let bytes = fs::read(path).map_err(failed)?;
        let found = hash::sha256(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        let what = format!("it is {found}, not {digest}");
        Err(failed(io::Error::new(io::ErrorKind::InvalidData, what)))
    }

    /// Signs a document and puts its bundle beside it, unless a good one is there already.
    fn sign(
        &self,
        document: &str,
        bytes: &[u8],
        journal: &mut Journal,
    ) -> Result<Vec<u8>, PublishError> {
        let name = layout::bundle(document);
        let trust = self.signing.trust()?;
        let is_good = |bundle: &[u8]| bundle::verify_message(bundle, bytes, &trust).map(drop);
        let sign = |journal: &mut Journal| self.signing.message(bytes, journal);
        self.keep_signed((document, &name), journal, (is_good, sign))
    }

    /// Publishes the bundle that `sign` makes of a document under a name, unless a good one is there: no two are alike,
    /// so what is published stands.
    fn keep_signed(
        &self,
        (document, name): (&str, &str),
        journal: &mut Journal,
        (check, sign): (
            impl Fn(&[u8]) -> Result<(), BundleError>,
            impl FnOnce(&mut Journal) -> Result<Vec<u8>, SigningError>,
        ),
    ) -> Result<Vec<u8>, PublishError> {
        let good = |there: Vec<u8>| match check(&there) {
            Ok(()) => Ok(there),
            Err(source) => Err(PublishError::Forged { document: document.to_owned(), source }),
        };
        if let Some(there) = self.store.read(name)? {
            return good(there);
        }
        let signed = sign(journal);
        let bundle = signed
            .map_err(|source| PublishError::Sign { document: document.to_owned(), source })?;
        match self.create(name, &bundle, journal) {
            // Another run signed the same meanwhile: either will do.
            Err(PublishError::Store(StoreError::Conflict { .. })) => {
                good(self.store.read(name)?.unwrap_or(bundle))
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
        let root = self.signing.trusted_root()?;
        self.create(layout::TRUSTED_ROOT, &root, journal)?;
        self.sign(layout::TRUSTED_ROOT, &root, journal)?;
        Ok(root)
    }

    fn create(&self, name: &str, bytes: &[u8], journal: &mut Journal) -> Result<(), PublishError> {
        let digest = hash::sha256(bytes);
        // Whatever the journal says: what is there costs one request, and what is gone is put back.
        self.store.create(name, Content::Bytes(bytes))?;
        if journal.has_published(name, &digest) {
            return Ok(());
        }
        Ok(journal.write(&Entry::Published { name: name.to_owned(), digest })?)
    }
}
