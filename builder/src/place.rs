//! Where an environment's files, images, announcements and keys are, opened for use.

#[cfg(feature = "aws")]
mod aws;
#[cfg(not(feature = "aws"))]
#[path = "place/no_aws.rs"]
mod aws;
mod credentials;

use std::{fs, io, path::PathBuf, sync::Arc};

use kdistro_border::{
    Address, Announcer, Directory, FileAnnouncer, HttpRegistry, OciLayouts, Registry,
    RegistryError, Store, StoreError, WebhookAnnouncer, WebhookError,
};
use kdistro_formats::layout;
use kdistro_verify::{
    store::{self, Reader},
    trust::{PublicKey, Trust, TrustError},
};

use crate::{
    config::environment::{
        AnnouncementPlace, Environment as Target, KeyPlace, RegistryPlace, StorePlace,
    },
    context::Context,
    sign::{
        Signing,
        keys::{Keys, KeysError},
        log::Log,
    },
};

/// An environment that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The trusted root is not one.
    #[error("the trusted root")]
    Trust(#[from] TrustError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The webhook cannot be used.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// This program was built without AWS.
    #[error(
        "this kdistro was built without AWS, which `{0}` needs\nhelp:  build it with `cargo build --release -p kdistro --features aws`"
    )]
    WithoutAws(&'static str),
    /// AWS cannot be used.
    #[error(transparent)]
    Aws(Box<dyn std::error::Error + Send + Sync>),
    /// What lies in the store was signed by others than this environment's keys, or stands in another log.
    #[error("{}", .0)]
    Stranger(Box<Stranger>),
    /// A file that the environment names cannot be read.
    #[error("cannot read the {what} {}", path.display())]
    Read {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Something by which a store says that another environment, or this one before it was changed, published into it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{store} was published with {what} {published}, and environment `{environment}` has {own}\nhelp:  {}", mending(.what)
)]
pub struct Stranger {
    /// The store.
    pub store: String,
    /// `logOrigin`, or which key.
    pub what: &'static str,
    /// What is published.
    pub published: String,
    /// The environment.
    pub environment: String,
    /// What it has.
    pub own: String,
}

const ORIGIN: &str = "logOrigin";

fn mending(what: &str) -> &'static str {
    if what == ORIGIN {
        "put logOrigin back to what it was: a log keeps its name. For another log make another environment, with another store"
    } else {
        "put back the key that was there: names in a store never change, and its log goes on with its own key only. For another key make another environment, with another store. Where nobody changed the keys here, find out who wrote to the store"
    }
}

/// Where an environment's files, images, announcements and keys are.
pub struct Place {
    /// The environment.
    pub target: Target,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The registry.
    pub registry: Box<dyn Registry>,
    /// The announcer.
    pub announcer: Box<dyn Announcer>,
    /// The keys.
    pub keys: Keys,
}

impl Place {
    /// Opens an environment; a development environment whose keys are files makes them when there are none. One with
    /// other keys, or another log, than its store was published with is refused.
    pub fn open(context: &Context, target: Target) -> Result<Self, PlaceError> {
        let place = Self {
            store: open_store(context, &target)?,
            registry: registry(context, &target)?,
            announcer: announcer(context, &target)?,
            keys: open_keys(context, &target)?,
            target,
        };
        place.refuse_strangers()?;
        Ok(place)
    }

    fn refuse_strangers(&self) -> Result<(), PlaceError> {
        let published =
            (self.store.read(layout::PUBLIC_KEY)?, self.store.read(layout::TRUSTED_ROOT)?);
        let (Some(key), Some(root)) = published else { return Ok(()) };
        let key = PublicKey::from_pem(&String::from_utf8_lossy(&key))?;
        let there = Trust::from_trusted_root(&root, &key)?;
        let own = self.trust()?;
        let name = |key: &PublicKey| key.fingerprint().to_string();
        let origins = [&there, &own].map(|trust| trust.origin().to_owned());
        let keys = [&there, &own].map(|trust| name(trust.key()));
        let log_keys = [&there, &own].map(|trust| name(trust.log_key()));
        let all = [("release key", keys), ("log key", log_keys), (ORIGIN, origins)];
        match all.into_iter().find(|(_, [published, own])| published != own) {
            None => Ok(()),
            Some((what, [published, own])) => {
                let (store, environment) = (self.store.place(), self.target.name.clone());
                let stranger = Stranger { store, what, published, environment, own };
                Err(PlaceError::Stranger(Box::new(stranger)))
            }
        }
    }

    /// The signer and its log.
    pub fn signing(&self, context: &Context) -> Signing<'_> {
        let log = Log {
            store: self.store.as_ref(),
            origin: &self.target.log_origin,
            signer: self.keys.log.as_ref(),
            head: context.home.log_head(&self.target.log_origin),
        };
        Signing { signer: self.keys.release.as_ref(), log }
    }

    /// Whom this environment itself believes.
    fn trust(&self) -> Result<Trust, PlaceError> {
        let root = self.keys.trusted_root(&self.target.log_origin)?;
        Ok(Trust::from_trusted_root(&root, &self.keys.release_key()?)?)
    }
}

/// Opens an environment's store alone, which needs none of its keys.
pub fn open_store(context: &Context, target: &Target) -> Result<Arc<dyn Store>, PlaceError> {
    Ok(match &target.store {
        StorePlace::Directory(directory) => {
            Arc::new(Directory::new(context.home.resolve(directory)))
        }
        StorePlace::S3(bucket) => aws::store(context, bucket)?,
    })
}

/// Opens an environment's keys; a development environment whose keys are files makes them when there are none.
pub fn open_keys(context: &Context, target: &Target) -> Result<Keys, PlaceError> {
    match &target.keys {
        KeyPlace::Directory(directory) => {
            let folder = context.home.resolve(directory);
            let keys =
                if target.development { Keys::open_or_make(&folder) } else { Keys::open(&folder) };
            Ok(keys?)
        }
        KeyPlace::Kms(kms) => aws::keys(kms),
    }
}

fn registry(context: &Context, target: &Target) -> Result<Box<dyn Registry>, PlaceError> {
    Ok(match &target.registry {
        RegistryPlace::Directory(directory) => {
            Box::new(OciLayouts::new(context.home.resolve(directory)))
        }
        RegistryPlace::Ecr(ecr) => aws::registry(context, ecr)?,
        RegistryPlace::Oci(oci) => {
            let ca = certificates(context, oci.ca.as_deref())?;
            let address = Address { url: &oci.address, prefix: &oci.prefix, ca: ca.as_deref() };
            let registry = HttpRegistry::open(address, credentials::of_docker(context))?;
            let mut registry = registry.with_docker_login();
            if let Some(proxy) = context.proxy() {
                registry = registry.with_proxy(&proxy)?;
            }
            Box::new(if oci.immutable { registry.without_fallback_tags() } else { registry })
        }
    })
}

fn announcer(context: &Context, target: &Target) -> Result<Box<dyn Announcer>, PlaceError> {
    Ok(match &target.announcements {
        AnnouncementPlace::Directory(directory) => {
            Box::new(FileAnnouncer::new(context.home.resolve(directory)))
        }
        AnnouncementPlace::Sns(topic) => aws::announcer(topic)?,
        AnnouncementPlace::Webhook(webhook) => {
            let secret = read(context, "secret", &webhook.secret)?;
            let mut announcer = WebhookAnnouncer::open(&webhook.address, secret.trim_ascii())?;
            if let Some(ca) = certificates(context, webhook.ca.as_deref())? {
                announcer = announcer.with_authorities(&ca)?;
            }
            if let Some(proxy) = context.proxy() {
                announcer = announcer.with_proxy(&proxy)?;
            }
            Box::new(announcer)
        }
    })
}

/// Reads the certificates of an own authority, where one is named.
fn certificates(context: &Context, file: Option<&str>) -> Result<Option<Vec<u8>>, PlaceError> {
    file.map(|file| read(context, "certificate", file)).transpose()
}

/// Reads a file that an environment names, from the home folder unless it is absolute.
fn read(context: &Context, what: &'static str, file: &str) -> Result<Vec<u8>, PlaceError> {
    let path = context.home.resolve(file);
    fs::read(&path).map_err(|source| PlaceError::Read { what, path, source })
}

/// A store as the verifier reads one.
pub fn reader(store: Arc<dyn Store>) -> Box<dyn Reader> {
    match store.folder() {
        Some(folder) => Box::new(store::Directory::new(folder)),
        None => Box::new(Readable(store)),
    }
}

/// A store that is no folder of this machine, as the verifier reads one.
struct Readable(Arc<dyn Store>);

impl Reader for Readable {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn io::Read + '_>>> {
        let opened = self.0.open(name).map_err(io::Error::other)?;
        Ok(opened.map(|content| content as Box<dyn io::Read + '_>))
    }

    fn list(&self, prefix: &str) -> io::Result<Option<Vec<String>>> {
        let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        self.0.list(&folder).map(Some).map_err(io::Error::other)
    }

    fn place(&self) -> String {
        self.0.place()
    }
}
