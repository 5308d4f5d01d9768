//! One small workspace without a problem, and one change for each rule.

use super::*;

const PROJECT: &str = r#"name: etcd
repository: https://github.com/etcd-io/etcd
license: Apache-2.0
recipes:
  - tags: ">=3.4.0, <3.5.0"
    licenses: [LICENSE]
    generate:
      - name: tool
        argv: [/go/bin/go, build]
        outputs: [tool]
      - name: source
        uses: [tool]
        argv: [/tools/tool]
        outputs: [made.go]
        adds: {made.go: made.go}
    builds:
      - module: .
        dependencies: modules
        variables: {main.version: $(gitVersion)}
        programs: [{name: etcd, package: .}, {name: etcdctl, package: ./etcdctl}]
    checks:
      - {programs: [etcd], arguments: [--version], expect: [$(version)]}
    archives:
      - {name: etcd-$(os)-$(arch).tar.gz, description: etcd, programs: [etcd, etcdctl]}
    commands:
      - {name: pause, root: static, argv: [/cc, -o, /out/pause, $(tag)], outputs: [pause]}
    images:
      - {name: etcd, base: small, files: {bin/etcd: etcd}, entrypoint: [/bin/etcd], user: "7", ports: [80/tcp], capabilities: {bin/etcd: [cap_kill]}}
"#;

const CHANNEL: &str = r#"channel: "1-20"
active: true
platforms: [linux/amd64]
components:
  - project: etcd-io/etcd
    tag: v3.4.23
    go: "1.26"
"#;

const INPUTS_FILE: &str = r#"debian: {suite: bookworm, keys: [4D64FEC119C2029067D6E791F8D2585B8783D481]}
go:
  - {minor: "1.26", version: "1.26.8", root: static}
roots:
  - name: static
bases:
  - {name: small, packages: [tzdata], directories: [tmp]}
"#;

const LOCK: &str = "channel: 1-20\nsources: []\ntoolchains: []\nroots: []\n";

const PROJECT_FILE: &str = "projects/etcd-io/etcd/project.yaml";
const CHANNEL_FILE: &str = "release-manifests/1-20/channel.yaml";
const LOCK_FILE: &str = "release-manifests/1-20/channel.lock.yaml";

fn files() -> Files {
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    Files::from([
        file(
            DISTRIBUTION,
            "name: kdistro\nurl: https://distro.example\nregistry: registry.example\n",
        ),
        file(INPUTS, INPUTS_FILE),
        file(PROJECT_FILE, PROJECT),
        file(CHANNEL_FILE, CHANNEL),
        file(LOCK_FILE, LOCK),
    ])
}

/// The problems after one text in one file was replaced.
fn problems(file: &str, from: &str, to: &str) -> Vec<String> {
    let mut files = files();
    let text = String::from_utf8(files[file].clone()).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    files.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
    let problems = Workspace::read(files).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_workspace_has_no_problem() {
    assert_eq!(Workspace::read(files()).err(), None);
}

/// File, what is replaced in it by what, and what the report must then say.
type Rule = (&'static str, &'static str, &'static str, &'static [&'static str]);

const RULES: &[Rule] = &[
    (
        CHANNEL_FILE,
        "    tag:",
        "    tga:",
        &["channel.yaml:6: ", "components[0].tga", "unknown field `tga`, expected one of"],
    ),
    (
        CHANNEL_FILE,
        "tag: v3.4.23",
        "tag:",
        &["channel.yaml:6: at `components[0].tag`: found nothing, expected a text"],
    ),
    (CHANNEL_FILE, "active: true", "active: true\nactive: true", &["channel.yaml:3: ", "active"]),
    (
        CHANNEL_FILE,
        "linux/amd64",
        "linux/x86",
        &["channel.yaml:3: ", "`linux/x86` is not a platform; expected"],
    ),
    (
        CHANNEL_FILE,
        "etcd-io/etcd",
        "etcd-io/etc",
        &[
            "channel.yaml:5: ",
            "projects/etcd-io/etc/project.yaml does not exist; there are `etcd-io/etcd`",
        ],
    ),
    (
        CHANNEL_FILE,
        "v3.4.23",
        "v3.6.0",
        &["channel.yaml:6: ", "no recipe of `etcd-io/etcd` is for tag `v3.6.0`"],
    ),
    (
        CHANNEL_FILE,
        "v3.4.23",
        "latest",
        &["channel.yaml:6: ", "`latest` of `etcd-io/etcd` is not a semantic version"],
    ),
    (
        CHANNEL_FILE,
        "\"1.26\"",
        "\"1.27\"",
        &[
            "channel.yaml:7: ",
            "needs Go 1.27, which projects/inputs.yaml does not list; it lists `1.26`",
        ],
    ),
    (
        CHANNEL_FILE,
        "channel: \"1-20\"",
        "channel: \"1-21\"",
        &["channel.yaml:1: ", "`1-21` stands in the folder of `1-20`"],
    ),
    (CHANNEL_FILE, "[linux/amd64]", "[]", &["channel.yaml: lists no platform"]),
    (INPUTS, "1.26.8", "1.25.8", &["inputs.yaml:3: ", "expected a patch version of 1.26"]),
    (
        INPUTS,
        "root: static",
        "root: libc",
        &["inputs.yaml:3: ", "unknown build root `libc`, expected one of `static`"],
    ),
    (
        INPUTS,
        "  - name: static",
        "  - name: static\n  - name: static",
        &["inputs.yaml:3: build root `static` is listed twice"],
    ),
    (
        INPUTS,
        "keys: [4D64FEC119C2029067D6E791F8D2585B8783D481]",
        "keys: []",
        &["inputs.yaml:1: lists no key"],
    ),
    (PROJECT_FILE, "https://", "http://", &["project.yaml:2: ", "not a public https address"]),
    (
        PROJECT_FILE,
        "[etcd, etcdctl]",
        "[etcd, etcdutl]",
        &[
            "project.yaml:24: ",
            "uses program `etcdutl`, which no build makes; expected one of `etcd`, `etcdctl`",
        ],
    ),
    (
        PROJECT_FILE,
        "programs: [etcd], arguments",
        "programs: [etcx], arguments",
        &["project.yaml:22: ", "uses program `etcx`"],
    ),
    (
        PROJECT_FILE,
        "$(gitVersion)",
        "$(gitVersoin)",
        &["project.yaml:19: unknown name `$(gitVersoin)`, expected one of"],
    ),
    (
        PROJECT_FILE,
        "uses: [tool]",
        "uses: [tol]",
        &["project.yaml:12: step `source` uses `tol`, which is no step before it"],
    ),
    (
        PROJECT_FILE,
        "adds: {made.go: made.go}",
        "adds: {made.go: other.go}",
        &["project.yaml:15: step `source` adds `other.go`, which is none of its outputs"],
    ),
    (
        PROJECT_FILE,
        "package: ./etcdctl",
        "package: ./ctl",
        &["project.yaml:20: ", "the names must agree"],
    ),
    (
        PROJECT_FILE,
        "name: etcdctl,",
        "name: etcd,",
        &["project.yaml", "program `etcd` is built twice"],
    ),
    (PROJECT_FILE, ">=3.4.0, <3.5.0", "three", &["project.yaml:5: ", "recipes[0].tags"]),
    (
        PROJECT_FILE,
        "etcd-$(os)-$(arch).tar.gz",
        "../etcd.tar.gz",
        &["project.yaml:24: ", "no part that is `..`"],
    ),
    (
        PROJECT_FILE,
        "outputs: [made.go]",
        "outputs: [/made.go, made.go]",
        &["project.yaml:14: ", "a relative path"],
    ),
    (
        PROJECT_FILE,
        "licenses: [LICENSE]",
        "licenses: [../LICENSE]",
        &["project.yaml:6: ", "no part that is `..`"],
    ),
    (
        CHANNEL_FILE,
        "    go: \"1.26\"",
        "    go: \"1.26\"\n    debian: {package: etcd, version: 3.4.22-1}",
        &[
            "channel.yaml:8: ",
            "Debian version `3.4.22-1` of `etcd-io/etcd` is not of tag `v3.4.23`",
        ],
    ),
    (
        PROJECT_FILE,
        "files: {bin/etcd: etcd}",
        "files: {bin/etcd: etcx}",
        &["project.yaml:28: ", "image `etcd` holds program `etcx`, which nothing makes"],
    ),
    (
        PROJECT_FILE,
        "entrypoint: [/bin/etcd]",
        "entrypoint: [/bin/sh]",
        &["project.yaml", "image `etcd` starts none of its files"],
    ),
    (
        PROJECT_FILE,
        "user: \"7\"",
        "user: nobody",
        &["project.yaml:28: ", "runs as `nobody`, expected a number"],
    ),
    (PROJECT_FILE, "80/tcp", "80", &["project.yaml", "port `80` is not such as `2379/tcp`"]),
    (
        PROJECT_FILE,
        "{bin/etcd: [cap_kill]}",
        "{bin/other: [cap_kill]}",
        &["project.yaml:28: ", "gives capabilities to `bin/other`, which it does not hold"],
    ),
    (
        PROJECT_FILE,
        "base: small",
        "base: large",
        &["channel.yaml:5: ", "needs image base `large`, which projects/inputs.yaml does not list"],
    ),
    (
        PROJECT_FILE,
        "root: static, argv",
        "root: libc, argv",
        &["channel.yaml:5: ", "needs build root `libc`, which projects/inputs.yaml does not list"],
    ),
    (
        PROJECT_FILE,
        "license: Apache-2.0",
        "license: Apache-2.0\nsource: etcd-io/other",
        &["channel.yaml", "is built from the source of `etcd-io/other`, which is no project"],
    ),
    (INPUTS, "[tmp]", "[/tmp]", &["inputs.yaml:7: ", "a relative path"]),
    (
        PROJECT_FILE,
        "outputs: [tool]",
        "outputs: [tool]\n        limits: {seconds: 99999999}",
        &["project.yaml", "`seconds` is 99999999, expected 1 to 7200"],
    ),
    (LOCK_FILE, "1-20", "1-21", &["channel.lock.yaml:1: locks channel `1-21`"]),
];

#[test]
fn every_rule_names_file_line_and_what_was_expected() {
    for (file, from, to, expected) in RULES {
        let found = problems(file, from, to);
        let named = |problem: &String| expected.iter().all(|part| problem.contains(part));
        assert!(
            found.iter().any(named),
            "{file}: {from:?} -> {to:?}: expected {expected:?}, found {found:#?}"
        );
    }
}

#[test]
fn all_problems_are_listed_at_once() {
    let mut files = files();
    files.insert(CHANNEL_FILE.to_owned(), CHANNEL.replace("tag:", "tga:").into_bytes());
    files.insert(PROJECT_FILE.to_owned(), PROJECT.replace("licenses", "licences").into_bytes());
    files.insert("projects/README".to_owned(), Vec::new());
    let problems = Workspace::read(files).unwrap_err();
    let named: Vec<_> = problems.iter().map(|problem| problem.file.as_str()).collect();
    assert_eq!(named, ["projects/README", PROJECT_FILE, CHANNEL_FILE]);
}

#[test]
fn a_patch_folder_that_no_channel_uses_is_named() {
    let mut files = files();
    let patch = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n\
        From: kdistro <patches@kdistro.dev>\nDate: Sat, 21 Nov 2026 10:00:00 +0000\nSubject: [PATCH] x: y\n\n\
        Why.\n\nUpstream: not submitted, because it is a test\n---\n a | 1 +\n 1 file changed, 1 insertion(+)\n\n\
        diff --git a/a b/a\nnew file mode 100644\nindex 0000000000000000000000000000000000000000..7898192261678d6d2e1a5a1a9b4d9b3e5a1b4d9b\n\
        --- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+a\n";
    let path = "patches/etcd-io/etcd/v3.4.24/0001-x-y.patch";
    files.insert(path.to_owned(), patch.as_bytes().to_vec());
    let problems = Workspace::read(files.clone()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].file, "patches/etcd-io/etcd/v3.4.24");
    assert!(problems[0].message.contains("no channel ships this tag"));
    let patch = patch.replace("Upstream: not submitted, because it is a test\n", "");
    files.insert(path.to_owned(), patch.into_bytes());
    let problems = Workspace::read(files).unwrap_err();
    assert!(problems[0].message.contains("Upstream"), "{problems:?}");
}

/// The problems after texts were replaced, each by file.
fn problems_after(changes: &[(&str, &str, &str)]) -> Vec<String> {
    let mut files = files();
    for (file, from, to) in changes {
        let text = String::from_utf8(files[*file].clone()).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        files.insert((*file).to_owned(), text.replace(from, to).into_bytes());
    }
    let problems = Workspace::read(files).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn every_platform_that_the_toolchain_cannot_compile_for_is_named_with_its_programs() {
    let old = [(INPUTS, "1.26", "1.15"), (CHANNEL_FILE, "1.26", "1.15")];
    assert_eq!(problems_after(&old), [""; 0]);
    let place = "release-manifests/1-20/channel.yaml:5: `etcd-io/etcd` is to build";
    for (change, what) in [
        (
            (CHANNEL_FILE, "[linux/amd64]", "[linux/amd64, windows/arm64]"),
            "`etcd`, `etcdctl` for windows/arm64, which Go 1.15 cannot; Go can from 1.17 on: ",
        ),
        (
            (PROJECT_FILE, "package: .}", "package: ., also: [darwin/arm64]}"),
            "`etcd` for darwin/arm64, which Go 1.15 cannot; Go can from 1.16 on: ",
        ),
        (
            (PROJECT_FILE, "module: .", "module: .\n        platforms: [darwin/arm64]"),
            "`etcd`, `etcdctl` for darwin/arm64, which Go 1.15 cannot; Go can from 1.16 on: ",
        ),
    ] {
        assert_eq!(problems_after(&[change]), [""; 0], "Go 1.26 can");
        let found = problems_after(&[old[0], old[1], change]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("{place} {what}")), "{found:?}");
    }
}

#[test]
fn two_projects_of_one_name_are_named_with_both_folders() {
    let mut files = files();
    files.insert("projects/other/etcd/project.yaml".to_owned(), PROJECT.as_bytes().to_vec());
    let component = "  - project: other/etcd\n    tag: v3.4.23\n    go: \"1.26\"\n";
    files.insert(CHANNEL_FILE.to_owned(), [CHANNEL, component].concat().into_bytes());
    let found = Workspace::read(files).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = "channel.yaml:8: `other/etcd` and `etcd-io/etcd` are both called `etcd`, ";
    let found = found[0].to_string();
    assert!(found.contains(expected), "{found}");
    assert!(found.ends_with("another `name` in projects/other/etcd/project.yaml"), "{found}");
}
