//! Our pages in a real Chromium, light and dark, wide and narrow: they are readable by everybody, load nothing, run nothing,
//! and are not too wide.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "pages/samples.rs"]
mod samples;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Where Debian and others put it.
const CHROMIUM: [&str; 3] =
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// What is wrong with pages, as the browser and its judge say.
#[expect(clippy::disallowed_methods, reason = "a browser judges the pages")]
fn judged(chromium: &Path, folder: &Path, pages: &[PathBuf]) -> Value {
    let requirements = include_str!("pages/requirements.txt");
    let python = kdistro_testbed::tool_of("pages-python", requirements, "python").unwrap();
    let judge = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/judge.py");
    let output =
        Command::new(python).arg(judge).arg(chromium).arg(folder).args(pages).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn pages_are_readable_by_everybody_and_run_nothing() {
    let Some(chromium) = CHROMIUM.map(Path::new).into_iter().find(|path| path.is_file()) else {
        println!("not tried: there is no Chromium; install Debian's package chromium");
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(&folder).unwrap();
    let pages = samples::write(&folder);
    let judged = judged(chromium, &folder, &pages);
    for page in &pages {
        let name = page.file_stem().unwrap().to_str().unwrap();
        let page = &judged[name];
        assert_eq!(page["problems"], Value::Array(Vec::new()), "{name}");
        assert_eq!(page["foreign"], 0, "{name}: a text became markup");
        assert_eq!(page["refusesScripts"], true, "{name}");
        let grounds = page["grounds"].as_object().unwrap();
        assert_eq!(grounds.len(), 4, "{name}");
        assert_ne!(grounds["light wide"], grounds["dark wide"], "{name}");
        let text = page["text"].as_str().unwrap();
        if name != "fleet" {
            assert!(text.contains("<script>alert(1)</script>"), "{name} shows it as text: {text}");
        }
    }
}
