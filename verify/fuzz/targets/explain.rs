//! Two files that differ, as archives, programs and texts.

#![no_main]

use kdistro_verify::{compare, explain};
use libfuzzer_sys::fuzz_target;
use std::{fs, path::PathBuf, sync::OnceLock};

fuzz_target!(|data: &[u8]| {
    let Some((half, rest)) = data.split_first_chunk::<2>() else { return };
    let half = usize::from(u16::from_be_bytes(*half));
    let Some((a, b)) = rest.split_at_checked(half.min(rest.len())) else { return };
    let (first, second) = files();
    fs::write(first, a).and_then(|()| fs::write(second, b)).expect("a file in memory");
    let difference = explain::first_difference(first, second).expect("both can be read");
    assert_eq!(difference.is_none(), a == b, "{difference:?}");
    let verdict = compare::compare_files(first, second).expect("both can be read");
    assert_eq!(verdict == compare::Verdict::Same, a == b, "{verdict}");
});

/// Two files in memory, which this process alone uses.
fn files() -> &'static (PathBuf, PathBuf) {
    static FILES: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = PathBuf::from(format!("/dev/shm/kdistro-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder in memory");
        (folder.join("a"), folder.join("b"))
    })
}
