//! Checkpoints of the log: one form only, and none that a fuzzer writes is signed.

#![no_main]

use kdistro_fuzz::{CHECKPOINT, trust};
use kdistro_verify::log::open_checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let trust = trust();
    if open_checkpoint(text, trust.origin(), trust.log_key()).is_ok() {
        assert_eq!(text, CHECKPOINT, "another spelling of a signed checkpoint");
    }
});
