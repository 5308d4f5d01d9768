//! A real Go module, read as Go itself unpacks it.
//!
//! Fetches with `go mod download` into a temporary folder.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests run the real programs as judges")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::Command,
};

use kdistro_assemble::{
    EntryKind,
    module_zip::{ModuleZipError, escape_module_path, escape_module_version, read_module_zip},
};

/// Reads every file below a folder, by its path there.
fn files(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read(&path).unwrap());
        }
    }
}

#[test]
fn modules_are_read_as_go_unpacks_them() {
    let folder = tempfile::tempdir().unwrap();
    for (path, version) in
        [("golang.org/x/sync", "v0.7.0"), ("github.com/BurntSushi/toml", "v1.3.2")]
    {
        let output = Command::new("go")
            .args(["mod", "download", "-json", "-modcacherw", &format!("{path}@{version}")])
            .env("GOMODCACHE", folder.path())
            .env("GOTOOLCHAIN", "local")
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |key: &str| json[key].as_str().unwrap().to_owned();

        let (escaped, escaped_version) =
            (escape_module_path(path).unwrap(), escape_module_version(version).unwrap());
        let expected =
            folder.path().join(format!("cache/download/{escaped}/@v/{escaped_version}.zip"));
        assert_eq!(Path::new(&text("Zip")), expected);

        let mut unpacked = BTreeMap::new();
        let root = text("Dir");
        files(Path::new(&root), Path::new(&root), &mut unpacked);
        let mut read = BTreeMap::new();
        let zip = File::open(text("Zip")).unwrap();
        read_module_zip::<ModuleZipError>(zip, &format!("{path}@{version}/"), &mut |entry| {
            let EntryKind::File { executable, content, .. } = entry.kind else {
                panic!("not a file")
            };
            assert!(!executable);
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).unwrap();
            read.insert(entry.path.to_string(), bytes);
            Ok(())
        })
        .unwrap();
        assert!(read.len() > 5 && read == unpacked, "{:?}", read.keys());
    }
}
