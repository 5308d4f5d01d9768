//! Judges of files: sha256sum, sha512sum, tar, bsdtar, and a bare `go build`.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, process::Command};

use kdistro_formats::{
    Digest, canonical,
    plan::{Content, Plan},
    release::MediaType,
};

use super::released::Released;
use crate::{
    run::{must, run, with},
    shared::{files, scratch, shared},
    tools,
};

/// Has the manifest's sums, every sidecar and every list checked.
pub(super) fn sums_agree(released: &Released) {
    let folder = scratch("sums");
    let list = folder.path().join("list");
    let documents = released.manifest.status.documents.iter();
    let documents =
        documents.map(|one| (released.place(&one.uri), one.sha256.hex(), one.sha512.to_string()));
    let assets = released.files().into_iter().map(|(_, asset, path)| {
        let archive = asset.archive.as_ref().unwrap();
        (path, archive.sha256.hex(), archive.sha512.to_string())
    });
    let everything: Vec<_> = documents.chain(assets).collect();
    for (program, is_long) in [("sha256sum", false), ("sha512sum", true)] {
        let mut text = String::new();
        for (path, short, long) in &everything {
            writeln!(text, "{}  {}", if is_long { long } else { short }, path.display()).unwrap();
        }
        let check = |text: &str| {
            fs::write(&list, text).unwrap();
            run(with(program, ["--check", "--strict", "--quiet"]).arg(&list))
        };
        check(&text).expect(0);
        let digit = if text.starts_with('0') { "1" } else { "0" };
        check(&format!("{digit}{}", &text[1..])).expect(1).prints(&["FAILED"]);
    }
    let folder = released.folder().join("artifacts");
    let (mut sidecars, mut listed) = (0, 0);
    for name in files(&folder) {
        let path = folder.join(&name);
        let (program, is_list) = match path.file_name().unwrap().to_str().unwrap() {
            "SHA256SUM" => ("sha256sum", true),
            "SHA512SUM" => ("sha512sum", true),
            name if name.ends_with(".sha256") => ("sha256sum", false),
            name if name.ends_with(".sha512") => ("sha512sum", false),
            _ => continue,
        };
        let mut check = with(program, ["--check", "--strict"]);
        let said = must(check.arg(&path).current_dir(path.parent().unwrap()));
        *if is_list { &mut listed } else { &mut sidecars } += said.lines().count();
    }
    let expected = 2 * released.files().len();
    assert_eq!((sidecars, listed), (expected, expected), "two sums for each asset, twice");
}

#[test]
fn sha256sum_and_sha512sum_agree_with_the_manifest_every_sidecar_and_every_list() {
    sums_agree(&Released::shared());
}

/// What a judge sees of an entry of an archive.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    mode: String,
    size: u64,
}

/// What GNU tar sees in an archive, by path.
fn seen_by_tar(archive: &Path) -> BTreeMap<String, Seen> {
    let mut list = with("tar", ["--numeric-owner", "--full-time", "-tvzf"]);
    let listed = must(list.env("TZ", "UTC").arg(archive));
    let entries = listed.lines().map(|line| {
        // Mode, owner, size, date, time, path: of a link also where it leads.
        let parts: Vec<_> = line.split_whitespace().collect();
        assert_eq!(parts[1], "0/0", "{line}");
        let bits = parts[0].as_bytes()[1..].chunks(3).map(|of| {
            let bits = of.iter().map(|bit| u8::from(*bit != b'-'));
            (b'0' + bits.fold(0, |sum, bit| 2 * sum + bit)) as char
        });
        let seen = Seen { mode: bits.collect(), size: parts[2].parse().unwrap() };
        (parts[5].trim_start_matches("./").to_owned(), seen)
    });
    entries.collect()
}

/// Has bsdtar describe an archive.
fn mtree(archive: &Path) -> Command {
    let what = "--options=!all,mode,size,sha256,time,uid,gid";
    let mut list = tools::judge("bsdtar");
    list.args(["-cf", "-", "--format=mtree", what]).arg(format!("@{}", archive.display()));
    list
}

/// What bsdtar sees in an archive: everything, and of each file the SHA-256 and the time in seconds since 1970.
fn seen_by_bsdtar(archive: &Path) -> BTreeMap<String, (Seen, String, String)> {
    let listed = must(&mut mtree(archive));
    let entries = listed.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut parts = line.split(' ');
        let path = parts.next().unwrap().trim_start_matches("./").to_owned();
        let facts: BTreeMap<_, _> = parts.filter_map(|part| part.split_once('=')).collect();
        assert_eq!((facts["uid"], facts["gid"]), ("0", "0"), "{line}");
        let size = facts.get("size").map_or(0, |size| size.parse().unwrap());
        let seen = Seen { mode: facts["mode"].to_owned(), size };
        let sum = facts.get("sha256digest").copied().unwrap_or_default();
        let time = facts["time"].trim_end_matches(".0");
        (path, (seen, sum.to_owned(), time.to_owned()))
    });
    entries.collect()
}

/// Has every archive listed by GNU tar and by bsdtar; both must see what the plan and the SBOM say.
pub(super) fn tars_agree(released: &Released) {
    let plan = released.plan();
    for (component, asset, path) in released.files_of(MediaType::Gzip) {
        let (gnu, bsd) = (seen_by_tar(&path), seen_by_bsdtar(&path));
        let modes = |(path, seen): (&String, &Seen)| (path.clone(), seen.mode.clone(), seen.size);
        let theirs = bsd.iter().map(|(path, (seen, ..))| modes((path, seen)));
        assert!(gnu.iter().map(modes).eq(theirs), "tar and bsdtar differ on {}", asset.name);
        let planned = plan.components.iter().find(|planned| planned.name == component.name);
        let planned = planned.unwrap().assets.iter().find(|planned| planned.name == asset.name);
        let Content::Archive { mtime, entries } = &planned.unwrap().content else { continue };
        let ours = entries.iter().map(|entry| {
            let mode = if entry.executable { "755" } else { "644" };
            (entry.path.clone(), mode.to_owned(), mtime.to_string())
        });
        let theirs = bsd
            .iter()
            .map(|(path, (seen, _, time))| (path.clone(), seen.mode.clone(), time.clone()));
        assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>(), "{}", asset.name);
        let programs = released.sbom(component, asset).programs();
        let executable = bsd.values().filter(|(seen, ..)| seen.mode == "755").count();
        assert_eq!(programs.len(), executable, "{}: programs that the SBOM lacks", asset.name);
        for program in programs {
            assert_eq!(bsd[&program.path].1, program.sha256, "{}: {}", asset.name, program.path);
        }
    }
}

#[test]
fn tar_and_bsdtar_see_in_the_archives_what_plan_and_sbom_say() {
    tars_agree(&Released::shared());
}

#[test]
fn tar_refuses_a_changed_archive_and_bsdtar_sees_other_content() {
    let (folder, released) = (scratch("changed"), Released::shared());
    let (_, _, path) = released.files_of(MediaType::Gzip).into_iter().next().unwrap();
    let changed = folder.path().join("changed.tar.gz");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&changed, bytes).unwrap();
    assert_ne!(run(with("tar", ["-tzf"]).arg(&changed)).code, 0);
    // It does not check gzip's own sum; what it unpacks is other bytes, or it ends there.
    let (right, wrong) = (run(&mut mtree(&path)).expect(0), run(&mut mtree(&changed)));
    assert!(wrong.code != 0 || wrong.out != right.out);
}

/// The files of an archive, unpacked by bsdtar.
fn unpack(archive: &str, into: &Path) -> Vec<String> {
    let path = Released::shared().folder().join("artifacts").join(archive);
    must(tools::judge("bsdtar").arg("-xf").arg(path).arg("-C").arg(into));
    files(into)
}

#[test]
fn the_archives_have_eks_ds_names() {
    let folder = scratch("archives");
    let (etcd, plugins) = (folder.path().join("etcd"), folder.path().join("plugins"));
    for folder in [&etcd, &plugins] {
        fs::create_dir(folder).unwrap();
    }
    let found = unpack("etcd/v3.4.23/etcd-linux-amd64-v3.4.23.tar.gz", &etcd);
    let expected = ["ATTRIBUTION.txt", "LICENSE", "NOTICE", "etcd", "etcdctl"];
    assert_eq!(found, expected.map(|name| format!("etcd-v3.4.23-linux-amd64/{name}")));
    let found = unpack("plugins/v1.1.1/cni-plugins-linux-amd64-v1.1.1.tar.gz", &plugins);
    assert_eq!(found.len(), 18, "sixteen plugins, a licence, everybody's licences: {found:?}");
}

/// Where the trees of a step's mounts lie in the shared home.
fn outside(
    plan: &Plan,
    project: &str,
) -> (BTreeMap<String, String>, Vec<String>, BTreeMap<String, String>) {
    let step = plan.steps.iter().find(|step| step.project.to_string() == project).unwrap();
    let place =
        |digest: &Digest| shared().home.join("trees").join(digest.hex()).display().to_string();
    let mounts = step.body.mounts.iter().map(|(path, digest)| (path.clone(), place(digest)));
    (mounts.collect(), step.body.argv.clone(), step.body.env.clone())
}

#[test]
fn a_bare_go_build_outside_the_container_gives_the_same_plugins() {
    let folder = scratch("bare");
    let (published, built) = (folder.path().join("published"), folder.path().join("built"));
    for folder in [&published, &built] {
        fs::create_dir(folder).unwrap();
    }
    let plan = fs::read(shared().store().join("kubernetes-1-20/releases/1/plan.json")).unwrap();
    let plan: Plan = canonical::from_slice(&plan).unwrap();
    let (mounts, argv, mut env) = outside(&plan, "containernetworking/plugins");
    // The same settings, with the folders where they lie out here.
    env.insert("GOROOT".to_owned(), mounts["/go"].clone());
    env.insert("GOMODCACHE".to_owned(), mounts["/modules"].clone());
    env.insert("PATH".to_owned(), format!("{}/bin", mounts["/go"]));
    for (name, place) in
        [("HOME", "home"), ("TMPDIR", "tmp"), ("GOCACHE", "cache"), ("GOPATH", "path")]
    {
        let place = folder.path().join(place);
        fs::create_dir(&place).unwrap();
        env.insert(name.to_owned(), place.display().to_string());
    }
    let arguments = argv[1..].iter().map(|argument| match argument.as_str() {
        "/out/" => format!("{}/", built.display()),
        other => other.to_owned(),
    });
    let mut build = with(format!("{}/bin/go", mounts["/go"]), arguments);
    must(build.env_clear().envs(env).current_dir(&mounts["/src"]));
    let found = unpack("plugins/v1.1.1/cni-plugins-linux-amd64-v1.1.1.tar.gz", &published);
    let texts = ["ATTRIBUTION.txt", "LICENSE"];
    let programs: Vec<_> =
        found.into_iter().filter(|name| !texts.contains(&name.as_str())).collect();
    assert_eq!(programs, files(&built));
    for name in programs {
        assert!(
            fs::read(published.join(&name)).unwrap() == fs::read(built.join(&name)).unwrap(),
            "{name}"
        );
    }
}
