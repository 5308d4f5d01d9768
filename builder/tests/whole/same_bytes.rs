//! Two cuts that have nothing in common but the configuration publish the same bytes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_verify::hash::sha256;

use crate::{
    run::{self, KDISTRO, go_settings, is_root, must, not_judged, verifier, with},
    shared::{DATE, MANIFEST, PART, Shared, copy, files, shared},
};

/// What a signature, a log or a key makes differ; everything else must be the same.
fn may_differ(name: &str) -> bool {
    let folders = ["log/", "keys/"].iter().any(|folder| name.starts_with(folder));
    let files = [".sigstore.json", "/claim"].iter().any(|end| name.ends_with(end));
    folders || files || name.contains("/attestations/")
}

#[test]
fn another_user_folder_time_zone_locale_umask_and_core_count_give_the_same_bytes() {
    let first = shared();
    // Below the system's folder for temporary files, which an ordinary user can reach.
    let folder = tempfile::Builder::new().prefix("kdistro-other-").tempdir().unwrap();
    let second = cut_differently(first, folder.path());
    let names: BTreeSet<String> = files(&first.store()).into_iter().collect();
    assert_eq!(names, files(&second).into_iter().collect(), "other files");
    let different: Vec<_> =
        names.iter().filter(|name| !is_same(&first.store(), &second, name)).collect();
    let unexplained: Vec<_> = different.iter().filter(|name| !may_differ(name)).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    // Two keys signed: had nothing differed, one store was compared with itself.
    assert!(different.iter().any(|name| *name == "keys/release.pub"));
    let key = folder.path().join("key.pub");
    fs::copy(second.join("keys/release.pub"), &key).unwrap();
    must(with(verifier(), ["--key"]).arg(key).arg("--all").arg(second.join(MANIFEST)));
}

fn is_same(a: &Path, b: &Path, name: &str) -> bool {
    sha256(&fs::read(a.join(name)).unwrap()) == sha256(&fs::read(b.join(name)).unwrap())
}

/// Cuts the same release in a folder, as another user where the tests are root; returns its store.
fn cut_differently(first: &Shared, folder: &Path) -> PathBuf {
    let repository = folder.join("a/deeper/repository");
    let home = folder.join("another home");
    let user = folder.join("user");
    fs::create_dir_all(repository.parent().unwrap()).unwrap();
    fs::create_dir_all(&user).unwrap();
    copy(&first.repository, &repository);
    bring_inputs(first, &home.join("content/sha256"));
    let program = folder.join("kdistro");
    fs::copy(KDISTRO, &program).unwrap();
    let mut command = as_other_user(folder);
    let script = "umask 077; exec taskset --cpu-list 0 \"$@\"";
    command.args(["sh", "-c", script, "sh"]).arg(program);
    command.env_clear().env("PATH", run::path()).env("HOME", &user).env("TZ", "Pacific/Chatham");
    command.envs([("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("USER", "somebody")]);
    command.envs(go_settings().iter().map(|(name, value)| (name, value)));
    command.args(["cut", "1-20", "--date", DATE]).args(PART).arg("--home").arg(&home);
    let cut = run::run(command.current_dir(&repository)).expect(0);
    assert!(cut.out.contains("1-20-1"), "{}", cut.out);
    home.join("store")
}

/// Lays the published inputs into an otherwise empty content store, so that nothing is downloaded twice.
fn bring_inputs(first: &Shared, content: &Path) {
    for name in files(&first.store().join("inputs/sha256")) {
        let shard = content.join(&name[..2]);
        fs::create_dir_all(&shard).unwrap();
        fs::copy(first.store().join("inputs/sha256").join(&name), shard.join(&name)).unwrap();
    }
}

fn as_other_user(folder: &Path) -> Command {
    if is_root() {
        must(with("chown", ["-R", "nobody:nogroup"]).arg(folder));
        must(with("chmod", ["755"]).arg(folder));
        return with("setpriv", ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]);
    }
    not_judged("a cut as root and one as an ordinary user", "the tests do not run as root");
    run::program("env")
}
