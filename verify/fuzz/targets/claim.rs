//! The claim on a number: canonical JSON of one form only.

#![no_main]

use kdistro_formats::{canonical, claim::Claim};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(value) = canonical::from_slice::<Claim>(data) else { return };
    let written = canonical::to_vec(&value).expect("what was read can be written");
    assert_eq!(written, data, "two forms of one document");
});
