//! Canonical JSON: a value has one form, which is read as the same value.

#![no_main]

use kdistro_formats::canonical;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = canonical::from_slice::<Value>(data) {
        assert_eq!(canonical::to_vec(&value).expect("it was read"), data, "two forms");
    }
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(written) = canonical::to_vec(&value) else { return };
    let again: Value = canonical::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, value);
});
