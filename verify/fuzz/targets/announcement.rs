//! Announcements, alone and in the envelope of SNS: what is read is written and read again as the same.

#![no_main]

use kdistro_formats::announcement::{Announcement, Envelope};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(announcement) = serde_json::from_slice::<Announcement>(data) {
        let written = serde_json::to_vec(&announcement).expect("what was read can be written");
        let again: Announcement = serde_json::from_slice(&written).expect("it was written");
        assert_eq!(again, announcement);
    }
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(data) {
        let _ = serde_json::from_str::<Announcement>(&envelope.default);
    }
});
