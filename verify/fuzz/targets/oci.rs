//! Indexes, manifests and configurations of images: what is read is written and read again as the same.

#![no_main]

use kdistro_formats::oci::{Config, Index, Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for read in [Index::from_slice, Index::from_layout] {
        if let Ok(index) = read(data) {
            let written = index.to_vec().expect("what was read can be written");
            assert_eq!(read(&written).expect("it was written"), index);
        }
    }
    if let Ok(manifest) = Manifest::from_slice(data) {
        let written = manifest.to_vec().expect("what was read can be written");
        assert_eq!(Manifest::from_canonical(&written).expect("it was written"), manifest);
    }
    if let Ok(config) = Config::from_slice(data) {
        let written = config.to_vec().expect("what was read can be written");
        assert_eq!(Config::from_canonical(&written).expect("it was written"), config);
    }
});
