//! The plan: canonical JSON of one form only.

#![no_main]

use kdistro_formats::{canonical, plan::Plan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(value) = canonical::from_slice::<Plan>(data) else { return };
    let written = canonical::to_vec(&value).expect("what was read can be written");
    assert_eq!(written, data, "two forms of one document");
});
