//! Small sources that look like the real ones.

use super::*;
use crate::config::project::Project;

const MAIN: &str = "package main\n\nvar gitVersion = \"dev\"\n\nfunc main() {\n\trun()\n}\n";
const VERSION: &str = "package version\n\nvar (\n\tGitSHA = \"none\"\n\tVersion = \"3.6.12\"\n)\n";

fn subject(url: &str, tag: &str) -> Subject {
    Subject::new(url, &tag.parse().unwrap(), None).unwrap()
}

fn files(listed: &[(&str, &str)]) -> Files {
    listed.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

/// Names a licence by its first word.
fn identify(text: &str) -> Vec<String> {
    text.split(' ').next().filter(|word| *word != "Nobody").map(str::to_owned).into_iter().collect()
}

fn sketched(subject: &Subject, listed: &[(&str, &str)]) -> (Sketch, Project) {
    let sketch = sketch(subject, &files(listed), &identify).unwrap();
    let text = text(subject, &sketch);
    let project = kdistro_formats::yaml::from_str::<Project>(&text);
    (sketch, project.unwrap_or_else(|error| panic!("{error}\n{text}")))
}

/// Three modules of which two make programs, a workspace script, and much that is not shipped: as etcd.
fn etcd() -> Vec<(&'static str, &'static str)> {
    vec![
        (".go-version", "1.25.10\n"),
        ("LICENSE", "Apache-2.0 and so on"),
        ("go.mod", "module go.etcd.io/etcd/v3\n\ngo 1.25.0\n"),
        ("api/go.mod", "module go.etcd.io/etcd/api/v3\n\ngo 1.25.0\n"),
        ("api/version/version.go", VERSION),
        ("server/go.mod", "module go.etcd.io/etcd/server/v3\n\ngo 1.25.0\n"),
        ("server/main.go", MAIN),
        ("etcdctl/go.mod", "module go.etcd.io/etcd/etcdctl/v3\n\ngo 1.25.0\n"),
        ("etcdctl/main.go", MAIN),
        ("tools/dump/main.go", MAIN),
        ("contrib/lock/main.go", MAIN),
        (
            "scripts/build_lib.sh",
            "GIT_SHA=$(git rev-parse --short HEAD || echo x)\nS=\"${ROOT}/api/v3/version.GitSHA\"\nF=(${F:-} \"-X=${S}=${GIT_SHA}\")\n",
        ),
        ("scripts/test_lib.sh", "ROOT=\"go.etcd.io/etcd\"\n"),
    ]
}

#[test]
fn several_modules_are_several_builds() {
    let subject = subject("https://github.com/etcd-io/etcd.git", "v3.6.12");
    let (sketch, project) = sketched(&subject, &etcd());
    assert_eq!(project.name, "etcd");
    assert_eq!(project.repository, "https://github.com/etcd-io/etcd");
    assert_eq!(
        (sketch.go.as_deref(), sketch.license.as_deref()),
        (Some("1.25"), Some("Apache-2.0"))
    );
    let recipe = project.recipe(&"v3.6.40".parse().unwrap()).unwrap();
    assert!(project.recipe(&"v3.5.1".parse().unwrap()).is_none());
    let builds: Vec<_> = recipe.builds.iter().map(|b| (b.module.as_str(), &b.programs)).collect();
    let [(first, ctl), (second, server)] = builds.as_slice() else { panic!("{builds:?}") };
    assert_eq!((*first, *second), ("etcdctl", "server"));
    assert_eq!((ctl[0].name.as_str(), server[0].name.as_str()), ("etcdctl", "etcd"));
    for build in &recipe.builds {
        assert_eq!(build.variables["go.etcd.io/etcd/api/v3/version.GitSHA"], "$(commit7)");
        assert_eq!(build.variables.len(), 1);
    }
    assert_eq!(sketch.remarks, ["left out as not shipped: ./contrib/lock, ./tools/dump"]);
}

#[test]
fn a_vendored_module_with_many_programs_is_one_build() {
    let subject = subject("https://github.com/containernetworking/plugins", "v1.9.1");
    let (sketch, project) = sketched(
        &subject,
        &[
            ("LICENSE", "Apache-2.0"),
            ("NOTICE", "x"),
            ("THIRD-PARTY-LICENSES", "MIT"),
            ("go.mod", "module github.com/containernetworking/plugins\n\ngo 1.24.2\n"),
            ("vendor/modules.txt", "# a v1\n"),
            ("plugins/main/bridge/bridge.go", MAIN),
            ("plugins/main/windows/win/win_windows.go", MAIN),
            ("plugins/meta/tuning/tuning.go", MAIN),
            ("pkg/buildversion/b.go", "package buildversion\n\nvar BuildVersion string\n"),
            (
                ".github/workflows/release.yaml",
                "run: ./b.sh -ldflags '-X github.com/containernetworking/plugins/pkg/buildversion.BuildVersion=${{ github.ref_name }}'\n",
            ),
        ],
    );
    let [build] = sketch.builds.as_slice() else { panic!("{sketch:?}") };
    assert!(build.vendored && !build.workspace);
    let names: Vec<_> =
        build.programs.iter().map(|(name, package)| (name.as_str(), package.as_str())).collect();
    assert_eq!(names, [("bridge", "./plugins/main/bridge"), ("tuning", "./plugins/meta/tuning")]);
    assert_eq!(
        build.variables["github.com/containernetworking/plugins/pkg/buildversion.BuildVersion"],
        "$(tag)"
    );
    assert_eq!(project.recipes[0].licenses, ["LICENSE", "NOTICE"]);
    assert_eq!(sketch.go.as_deref(), Some("1.24"));
}

#[test]
fn without_a_script_variables_that_are_called_like_versions_are_set() {
    let subject = subject("https://example.org/a/b", "v1.0.0-rc.1");
    let listed = [
        ("go.mod", "module example.org/a/b\n\ngo 1.26\n"),
        ("LICENSE", "Nobody knows"),
        ("cmd/b/main.go", MAIN),
        ("pkg/version/version.go", VERSION),
        ("pkg/other/other.go", "package other\n\nvar Version = \"1\"\n"),
    ];
    let (sketch, project) = sketched(&subject, &listed);
    let symbols: Vec<_> = sketch.builds[0].variables.keys().map(String::as_str).collect();
    assert_eq!(
        symbols,
        [
            "example.org/a/b/pkg/version.GitSHA",
            "example.org/a/b/pkg/version.Version",
            "main.gitVersion"
        ]
    );
    assert_eq!(project.license, "LicenseRef-unknown");
    assert_eq!(sketch.remarks.len(), 2, "{:?}", sketch.remarks);
    assert!(project.recipe(&"v1.0.0-rc.1".parse().unwrap()).is_some());
}

#[test]
fn a_workspace_counts_where_it_is_vendored() {
    let subject = subject("https://example.org/a/b", "v1.0.0");
    let listed = |modules: &'static str| {
        let listed = [
            ("go.mod", "module example.org/a/b\n\ngo 1.26\n"),
            ("go.work", "use .\n"),
            ("vendor/modules.txt", modules),
            ("main.go", MAIN),
        ];
        sketch(&subject, &files(&listed), &identify).unwrap().builds[0].workspace
    };
    assert!(listed("## workspace\n"));
    assert!(!listed("# a v1\n"));
}

#[test]
fn symbols_that_do_not_exist_are_named_and_left_out() {
    let subject = subject("https://example.org/a/b", "v1.0.0");
    let (sketch, _) = sketched(
        &subject,
        &[
            ("go.mod", "module example.org/a/b\n\ngo 1.26\n"),
            ("main.go", MAIN),
            (
                "Makefile",
                "x:\n\tgo build -tags one,two -ldflags \"-X main.gitVersion=$(V) -X main.gone=1 -X $(P).x=1 -X k8s.io/component-base/version.gitVersion=$(V)\"\n",
            ),
        ],
    );
    let build = &sketch.builds[0];
    let symbols: Vec<_> = build.variables.keys().map(String::as_str).collect();
    assert_eq!(symbols, ["k8s.io/component-base/version.gitVersion", "main.gitVersion"]);
    assert_eq!(build.tags, ["one", "two"]);
    let remarks = sketch.remarks.join("\n");
    for text in ["Makefile sets `main.gone`", "`$(P).x`, which could not be made out"] {
        assert!(remarks.contains(text), "{remarks}");
    }
}

#[test]
fn what_cannot_be_sketched_says_why() {
    let tag = "v1.0.0".parse().unwrap();
    for (url, name) in [
        ("http://example.org/a/b", None),
        ("https://example.org/b", None),
        ("https://example.org/a/b", Some("../x")),
        ("https://example.org/a/b", Some("")),
    ] {
        assert!(Subject::new(url, &tag, name).is_err(), "{url} {name:?}");
    }
    assert!(matches!(
        Subject::new("https://example.org/a/b", &"release-1".parse().unwrap(), None),
        Err(NewProjectError::Tag(_))
    ));
    let subject = subject("https://example.org/a/b", "v1.0.0");
    let none = sketch(&subject, &files(&[("main.go", MAIN)]), &identify);
    assert!(matches!(none, Err(NewProjectError::NoModule)));
    let library = [("go.mod", "module a.b/c\n"), ("c.go", "package c\n")];
    assert!(matches!(
        sketch(&subject, &files(&library), &identify),
        Err(NewProjectError::NoProgram)
    ));
}

#[test]
fn texts_that_mean_something_in_yaml_are_quoted() {
    let subject =
        Subject { name: "1.30".to_owned(), ..subject("https://example.org/a/b", "v1.0.0") };
    let (_, project) = sketched(
        &subject,
        &[
            ("go.mod", "module example.org/a/b\n"),
            ("cmd/yes/main.go", MAIN),
            ("cmd/007/main.go", MAIN),
        ],
    );
    assert_eq!(project.name, "1.30");
    let names: Vec<_> =
        project.recipes[0].builds[0].programs.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["007", "yes"]);
}
