//! The manifest, ours and EKS-D's: what is read is written and read again as the same.

#![no_main]

use kdistro_formats::{release::Release, yaml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(release) = Release::from_yaml(text) else { return };
    let written = yaml::to_string(&release).expect("what was read can be written");
    let again = Release::from_yaml(&written).expect("what was written can be read");
    assert_eq!(again, release, "{written}");
});
