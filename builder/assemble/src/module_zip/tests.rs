//! Zip files that break the rules.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;
use crate::entry::EntryKind;

const PREFIX: &str = "example.org/m@v1.0.0/";

fn archive(names: &[&str]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for name in names {
        let options = SimpleFileOptions::default();
        if name.ends_with('/') {
            writer.add_directory(*name, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer
                .write_all(b"content of some length, so that it is compressed: aaaaaaaaaaaaaaaaaa")
                .unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Zip(#[from] ModuleZipError),
    #[error(transparent)]
    Read(#[from] io::Error),
}

fn names(bytes: &[u8], prefix: &str) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    read_module_zip::<Failure>(Cursor::new(bytes), prefix, &mut |entry| {
        EntryPath::new(entry.path.as_str()).expect("an unsafe path came out");
        let EntryKind::File { executable, content, .. } = entry.kind else { panic!("not a file") };
        io::copy(content, &mut io::sink())?;
        names.push(format!("{}{}", entry.path, if executable { "*" } else { "" }));
        Ok(())
    })?;
    Ok(names)
}

fn refusal(names_in: &[&str]) -> String {
    let error = names(&archive(names_in), PREFIX).unwrap_err();
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

#[test]
fn the_prefix_is_taken_off() {
    let bytes = archive(&[
        "example.org/m@v1.0.0/go.mod",
        "example.org/m@v1.0.0/a/",
        "example.org/m@v1.0.0/a/b.go",
    ]);
    assert_eq!(names(&bytes, PREFIX).unwrap(), ["go.mod", "a/b.go"]);
}

#[test]
fn names_outside_the_module_are_refused() {
    for name in ["go.mod", "example.org/m@v1.0.1/go.mod", "/etc/passwd", "../x"] {
        assert!(refusal(&[name]).contains("expected names that start with"), "accepted {name}");
    }
    for rest in ["../x", "a/../../x", "/etc/passwd", "a//b", "./a"] {
        let error = refusal(&[&format!("{PREFIX}{rest}")]);
        assert!(error.contains("is not a path of an archive entry"), "{rest}: {error}");
    }
}

#[test]
fn a_prefix_is_a_whole_folder() {
    assert!(
        names(&archive(&["example.org/m@v1.0.0-other/go.mod"]), "example.org/m@v1.0.0").is_err()
    );
}

#[test]
fn no_file_is_visited_before_all_names_are_checked() {
    let bytes = archive(&["example.org/m@v1.0.0/a", "example.org/m@v1.0.0/../b"]);
    let mut visited = 0;
    let read = read_module_zip::<ModuleZipError>(Cursor::new(bytes), PREFIX, &mut |_| {
        visited += 1;
        Ok(())
    });
    assert!(read.is_err());
    assert_eq!(visited, 0);
}

#[test]
fn a_name_that_occurs_twice_is_refused() {
    let mut bytes = archive(&["example.org/m@v1.0.0/a", "example.org/m@v1.0.0/b"]);
    let twice =
        bytes.windows(22).enumerate().filter(|(_, name)| *name == b"example.org/m@v1.0.0/b");
    let places: Vec<usize> = twice.map(|(place, _)| place + 21).collect();
    for place in places {
        bytes[place] = b'a';
    }
    let error = names(&bytes, PREFIX).unwrap_err().to_string();
    assert!(error.starts_with("`example.org/m@v1.0.0/a` is twice in the zip file"), "{error}");
}

#[test]
fn a_link_is_refused() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .add_symlink("example.org/m@v1.0.0/a", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    let error = names(&writer.finish().unwrap().into_inner(), PREFIX).unwrap_err().to_string();
    assert!(
        error.contains("`a` in the zip file") && error.contains("expected a plain file"),
        "{error}"
    );
}

#[test]
fn changed_content_is_noticed() {
    let good = archive(&["example.org/m@v1.0.0/a"]);
    let mut noticed = 0;
    // The compressed content lies behind the local header and the name.
    for place in 52..good.len() - 120 {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        noticed += u32::from(names(&bytes, PREFIX).is_err());
    }
    assert_eq!(noticed as usize, good.len() - 120 - 52);
}

#[test]
fn programs_of_a_toolchain_are_executable() {
    let prefix = "golang.org/toolchain@v0.0.1-go1.26.8.linux-amd64/";
    let files = ["bin/go", "pkg/tool/linux_amd64/compile", "src/bin/go", "pkg/tool/x", "lib/a/b/c"];
    let full: Vec<String> = files.iter().map(|file| format!("{prefix}{file}")).collect();
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    assert_eq!(
        names(&archive(&full), prefix).unwrap(),
        ["bin/go*", "pkg/tool/linux_amd64/compile*", "src/bin/go", "pkg/tool/x", "lib/a/b/c"]
    );
    assert_eq!(names(&archive(&["example.org/m@v1.0.0/bin/go"]), PREFIX).unwrap(), ["bin/go"]);
}

#[test]
fn capitals_are_escaped_as_go_does() {
    // Source: the documentation of golang.org/x/mod/module.
    assert_eq!(
        escape_module_path("github.com/Azure/azure-sdk").unwrap(),
        "github.com/!azure/azure-sdk"
    );
    assert_eq!(
        escape_module_path("github.com/GoogleCloudPlatform/x").unwrap(),
        "github.com/!google!cloud!platform/x"
    );
    assert_eq!(
        escape_module_version("v1.0.0-RC1+Incompatible").unwrap(),
        "v1.0.0-!r!c1+!incompatible"
    );
    for path in ["", "../x", "/x", "a//b", "a!b", "a b", "a\u{e9}", "a@v1"] {
        assert!(escape_module_path(path).is_err(), "accepted {path:?}");
    }
    assert!(escape_module_version("v1/2").is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_lead_outside(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = names(&bytes, PREFIX);
    }

    #[test]
    fn no_changed_bytes_make_the_reader_panic_or_lead_outside(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = archive(&["example.org/m@v1.0.0/go.mod", "example.org/m@v1.0.0/a/b.go"]);
        let length = bytes.len();
        for (place, value) in changes {
            bytes[place % length] = value;
        }
        let _ = names(&bytes, PREFIX);
    }
}
