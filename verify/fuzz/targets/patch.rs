//! Patch files with their trailers.

#![no_main]

use kdistro_source::patch::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(patch) = parse("0001-seed.patch", data) {
        assert!(!patch.subject.contains('\n'), "{:?}", patch.subject);
        assert!(patch.fixes.iter().all(|fix| !fix.contains(char::is_whitespace)));
    }
});
