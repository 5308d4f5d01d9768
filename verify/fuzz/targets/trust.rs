//! Trusted roots and public keys.

#![no_main]

use kdistro_fuzz::key;
use kdistro_verify::trust::{PublicKey, Trust};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Trust::from_trusted_root(data, key());
    if let Ok(key) = PublicKey::from_spki_der(data) {
        assert_eq!(key.as_der(), data);
    }
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(key) = PublicKey::from_pem(text) {
        assert_eq!(PublicKey::from_pem(&key.to_pem()).expect("it was written"), key);
    }
});
