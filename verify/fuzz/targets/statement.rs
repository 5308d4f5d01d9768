//! Rebuild statements and provenance, as they stand in an envelope.

#![no_main]

use kdistro_formats::statement::{Provenance, Rebuild, Statement};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fuzz_target!(|data: &[u8]| {
    let read = serde_json::from_slice::<Statement<Rebuild>>(data);
    if let Ok(statement) = read {
        let written = serde_json::to_vec(&statement).expect("what was read can be written");
        let again: Statement<Rebuild> = serde_json::from_slice(&written).expect("it was written");
        assert_eq!(
            serde_json::to_vec(&again).expect("what was read can be written"),
            written,
            "a statement changes when it is read"
        );
    }
    let _ = serde_json::from_slice::<Statement<IgnoredAny>>(data);
    let _ = serde_json::from_slice::<Statement<Provenance>>(data);
});
