//! The declarative files: a release publishes those it was made from, and a rebuild reads them.
//!
//! One file of a small build repository is what the fuzzer wrote; the first byte says which.

#![no_main]

use kdistro::config::{Files, Workspace, environment};
use libfuzzer_sys::fuzz_target;

/// Files of which none but the chosen one is wrong.
const FILES: [(&str, &str); 5] = [
    ("projects/inputs.yaml", include_str!("../seeds/inputs.yaml")),
    ("projects/tiny/hello/project.yaml", include_str!("../seeds/project.yaml")),
    ("release-manifests/9-1/channel.yaml", include_str!("../seeds/channel.yaml")),
    ("release-manifests/9-1/channel.lock.yaml", ""),
    ("infra/environments/local.yaml", ""),
];

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    let Some((chosen, _)) = FILES.get(usize::from(*which) % FILES.len()) else { return };
    let mut files = Files::new();
    files.insert(
        "release-manifests/distribution.yaml".to_owned(),
        b"name: tiny\nurl: https://tiny.example\n".to_vec(),
    );
    for (name, text) in FILES.iter().filter(|(_, text)| !text.is_empty()) {
        files.insert((*name).to_owned(), text.as_bytes().to_vec());
    }
    if chosen.starts_with(environment::FOLDER) {
        let files = Files::from([((*chosen).to_owned(), data.to_vec())]);
        let _ = environment::check(&files);
        return;
    }
    files.insert((*chosen).to_owned(), data.to_vec());
    if let Err(problems) = Workspace::read(files) {
        assert!(!problems.is_empty(), "refused without a reason");
        assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
    }
});
