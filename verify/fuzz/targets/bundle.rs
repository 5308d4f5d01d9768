//! Sigstore bundles and bare envelopes: none that a fuzzer writes is by the key.

#![no_main]

use kdistro_fuzz::{BUNDLE, DOCUMENT, STATEMENT, trust};
use kdistro_verify::bundle;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fuzz_target!(|data: &[u8]| {
    let trust = trust();
    let _ = bundle::other_signer(data, trust.key());
    // Two seeds are true; whatever else is accepted must be one of them in its one spelling.
    if bundle::verify_message(data, DOCUMENT, trust).is_ok() {
        assert_eq!(data, BUNDLE, "forged");
    }
    if bundle::verify_statement::<IgnoredAny>(data, trust).is_ok() {
        assert_eq!(data, STATEMENT, "forged");
    }
    let _ = bundle::verify_signed_digest(data, trust);
    let _ = bundle::verify_unlogged(data, DOCUMENT, trust.key());
});
