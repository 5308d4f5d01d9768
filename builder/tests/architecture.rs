//! Holds the order of modules: each may use only those that the diagram gives it, and processes start only where
//! they may.
#![cfg(test)]

use std::{collections::BTreeSet, fs, path::Path};

/// Each module with the modules that it may use, in the pipeline's order: no line may name a later one.
const ALLOWED: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("content", &[]),
    ("home", &[]),
    ("journal", &[]),
    ("report", &[]),
    ("time", &[]),
    ("context", &["config", "content", "home", "report"]),
    ("plan", &["config", "time"]),
    ("fetch", &["config", "content", "home", "plan", "report"]),
    ("build", &["content", "home", "report"]),
    ("image", &["build", "home"]),
    ("locking", &["build", "config", "fetch", "plan"]),
    ("package", &["build", "content", "home", "report"]),
    ("release", &["config", "package"]),
    ("sign", &["home", "journal"]),
    ("place", &["config", "context", "sign"]),
    ("publish", &["build", "config", "content", "journal", "release", "report", "sign"]),
    ("gate", &["config", "context", "home", "journal", "place", "publish"]),
    (
        "cut",
        &[
            "build", "config", "content", "context", "fetch", "gate", "home", "journal", "package",
            "place", "plan", "publish", "release", "sign", "time",
        ],
    ),
    (
        "rebuild",
        &[
            "build", "config", "content", "context", "cut", "fetch", "home", "package", "plan",
            "release",
        ],
    ),
    ("promote", &["config", "content", "context", "cut", "home", "journal", "place", "publish"]),
    ("diff", &["build", "config"]),
    ("new_project", &["config"]),
    ("cli", &["config", "cut"]),
    (
        "commands",
        &[
            "build",
            "cli",
            "config",
            "content",
            "context",
            "cut",
            "diff",
            "fetch",
            "home",
            "image",
            "journal",
            "locking",
            "new_project",
            "place",
            "plan",
            "promote",
            "publish",
            "rebuild",
            "report",
            "sign",
            "time",
        ],
    ),
];

#[test]
fn the_diagram_has_no_cycle() {
    for (index, (module, allowed)) in ALLOWED.iter().enumerate() {
        for other in *allowed {
            let earlier = ALLOWED[..index].iter().any(|(earlier, _)| earlier == other);
            assert!(earlier, "{module} → {other} points forward");
        }
    }
}

#[test]
fn the_diagram_lists_every_module_of_the_library() {
    let library = fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let listed: BTreeSet<_> = ALLOWED.iter().map(|(module, _)| *module).collect();
    assert_eq!(declared.collect::<BTreeSet<_>>(), listed);
}

#[test]
fn modules_use_only_what_they_may() {
    let mut wrong = BTreeSet::new();
    for (module, allowed) in ALLOWED {
        let folder = source().join(module);
        for (_, text) in [files(&folder), files(&folder.with_extension("rs"))].concat() {
            for other in used(&text) {
                let known = ALLOWED.iter().any(|(name, _)| *name == other);
                if known && other != *module && !allowed.contains(&other.as_str()) {
                    wrong.insert(format!("{module} → {other}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the diagram does not have:\n{wrong:#?}");
}

#[test]
fn edges_are_read_out_of_paths_and_of_use_lists() {
    let text =
        "use crate::{\n    a::{self, B, C},\n    d,\n};\nuse crate::e::F;\n x = crate::g::h();\n";
    assert_eq!(used(text), ["a", "d", "e", "g"].map(str::to_owned).into());
    let tests = "use crate::a;\n#[cfg(test)]\nmod tests { use crate::b; }";
    assert_eq!(used(tests), ["a".to_owned()].into());
}

#[test]
fn processes_start_only_in_the_source_and_container_crates() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = Vec::new();
    for folder in ["builder/src", "builder/assemble/src", "verify", "infra/border/src"] {
        sources.extend(files(&top.join(folder)));
    }
    assert!(sources.len() > 80, "only {} files were read", sources.len());
    for (path, text) in sources {
        let starts = path.contains("/src/") && text.contains("process::Command");
        assert!(!starts, "{path} starts a process");
    }
}

#[test]
fn only_main_reads_the_clock_and_the_environment() {
    for (path, text) in files(source()) {
        let code = before_tests(&text);
        for reading in ["SystemTime::now", "env::var"] {
            let is_test = path.ends_with("/tests.rs");
            let reads = code.contains(reading) && !path.ends_with("src/main.rs") && !is_test;
            assert!(!reads, "{path} has {reading}");
        }
    }
}

#[test]
fn a_definition_never_changes_under_the_name_by_which_it_was_published() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../release-manifests/crds");
    let digest = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let digest = kdistro_verify::hash::sha256(&fs::read(entry.path()).unwrap());
        format!("{digest} {name}")
    };
    let mut found: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| digest(entry.unwrap())).collect();
    found.sort();
    // A store that has an older one refuses another under its name. A changed one gets a new name, which is sorted
    // after the old one, so that `kubectl apply` of the whole folder ends with it.
    assert_eq!(
        found,
        [
            "sha256:5b704f7a7ec5bc1f616bf7d7ebe0710a385e3a66cdbb067d8b6c50833bdd0fbe distro.kdistro.dev_releasechannels.v1alpha1.yaml",
            "sha256:6d4ee1152e86406d529dc8cf9a35e08a98e9286fdfcf96d625025bdf6d0600e1 distro.kdistro.dev_releases.v1alpha1_2.yaml",
        ]
    );
}

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

/// The modules of the library that a file names after `crate::`.
fn used(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in before_tests(text).split("crate::").skip(1) {
        let name = |text: &str| {
            let letter = |c: &char| c.is_ascii_lowercase() || *c == '_';
            text.trim_start().chars().take_while(letter).collect::<String>()
        };
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (at, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' if depth == 0 => {
                    found.insert(name(&list[start..at]));
                    start = at + 1;
                }
                '}' => {
                    found.insert(name(&list[start..at]));
                    break;
                }
                _ => {}
            }
        }
    }
    found.remove("");
    found
}

/// Every Rust file at or below a path, with its text.
fn files(path: &Path) -> Vec<(String, String)> {
    if path.is_file() && path.extension().is_some_and(|kind| kind == "rs") {
        return vec![(path.display().to_string(), fs::read_to_string(path).unwrap())];
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| files(path)).collect()
}
