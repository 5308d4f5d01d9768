//! The keys of the store: what they must be, and whether the trusted root is believed.

use kdistro_formats::layout;

use super::{
    TrustSource,
    reading::{Checker, SMALL},
    report::chain,
};
use crate::{
    bundle,
    trust::{Trust, TrustError},
};

impl Checker<'_> {
    /// Checks `keys/` and returns whom to believe; none when that could not be made out.
    pub(super) fn check_keys(&mut self, source: &TrustSource) -> Option<Trust> {
        if source.is_unpinned() {
            self.unknown(layout::TRUSTED_ROOT, TrustError::Revocation.to_string());
            return None;
        }
        let published = self.document(layout::TRUSTED_ROOT, SMALL);
        let bundle_name = layout::bundle(layout::TRUSTED_ROOT);
        let bundle_json = self.document(&bundle_name, SMALL);
        let authentic = match (&published, &bundle_json) {
            (Some(root), Some(json)) => self.check_root(source, root, (&bundle_name, json)),
            _ => false,
        };
        let root = match &source.trusted_root {
            Some(given) => {
                if published.as_ref().is_some_and(|root| root != given) {
                    self.differs(layout::TRUSTED_ROOT, "is not the trusted root that was given");
                }
                given
            }
            None => published.as_ref().filter(|_| authentic)?,
        };
        let trust = match Trust::from_trusted_root(root, &source.key) {
            Ok(trust) => trust,
            Err(error) => {
                self.differs(layout::TRUSTED_ROOT, chain(&error));
                return None;
            }
        };
        if authentic && let Some(bytes) = &published {
            self.check_bundle((layout::TRUSTED_ROOT, bytes), &bundle_name, &trust);
        }
        self.exact(layout::PUBLIC_KEY, &source.key.to_pem(), "the key that was given");
        self.exact(layout::LOG_KEY, &trust.log_key().to_pem(), "the key of the trusted root's log");
        self.check_nothing_else("keys");
        Some(trust)
    }

    /// True when the release key signed the store's trusted root, or is revoked: then the log says when it did, and
    /// which log that is, the root that was given.
    fn check_root(&mut self, source: &TrustSource, root: &[u8], bundle: (&str, &[u8])) -> bool {
        if source.key.revoked_from().is_some() {
            return true;
        }
        let Err(error) = bundle::verify_unlogged(bundle.1, root, &source.key) else { return true };
        let blamed = if error.is_about_the_document() { layout::TRUSTED_ROOT } else { bundle.0 };
        self.differs(blamed, chain(&error));
        false
    }
}
