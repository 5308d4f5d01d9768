//! The channel index: what is read is written and read again as the same.

#![no_main]

use kdistro_formats::{channel::ReleaseChannel, yaml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(index) = ReleaseChannel::from_yaml(text) else { return };
    let written = yaml::to_string(&index).expect("what was read can be written");
    let again = ReleaseChannel::from_yaml(&written).expect("what was written can be read");
    assert_eq!(again, index, "{written}");
});
