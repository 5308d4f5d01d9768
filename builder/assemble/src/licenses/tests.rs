use std::{collections::BTreeSet, io::Cursor, sync::LazyLock};

use proptest::prelude::*;

use super::*;
use crate::{deb::tests::deb, entry::EntryPath, tar::TarWriter};

static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::load().unwrap());

const MIT: &str = "The MIT License (MIT)

Copyright (c) 2014 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the \"Software\"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
";

const BSD: &str = "Copyright (c) 2012 The Go Authors. All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are
met:

   * Redistributions of source code must retain the above copyright
notice, this list of conditions and the following disclaimer.
   * Redistributions in binary form must reproduce the above
copyright notice, this list of conditions and the following disclaimer
in the documentation and/or other materials provided with the
distribution.
   * Neither the name of Google Inc. nor the names of its
contributors may be used to endorse or promote products derived from
this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS
\"AS IS\" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT
LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR
A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT
OWNER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT
LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE,
DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY
THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT
(INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
";

/// This repository's own licence.
const APACHE: &str = include_str!("../../../../LICENSE");

const UNKNOWN: &str = "You may use this only on Tuesdays, and only while it rains.\n";

fn module(path: &str) -> ModuleId {
    ModuleId { path: path.to_owned(), version: "v1.0.0".to_owned() }
}

fn file(path: &str, text: &str) -> LicenseFile {
    let kind = kind_of(path.rsplit('/').next().unwrap()).unwrap();
    LicenseFile { path: path.to_owned(), kind, text: Arc::from(text) }
}

#[test]
fn texts_are_named_also_without_their_end_and_beside_each_other() {
    assert_eq!(LIBRARY.identify(MIT), ["MIT"]);
    assert_eq!(LIBRARY.identify(BSD), ["BSD-3-Clause"]);
    assert_eq!(LIBRARY.identify(APACHE), ["Apache-2.0"]);
    let (terms, _) = APACHE.split_once("END OF TERMS").unwrap();
    assert_eq!(LIBRARY.identify(terms), ["Apache-2.0"], "and not its likeness, Pixar");
    assert_eq!(LIBRARY.identify(&format!("{MIT}\n\n{BSD}")), ["BSD-3-Clause", "MIT"]);
    assert_eq!(LIBRARY.identify(UNKNOWN), Vec::<String>::new());
    assert_eq!(LIBRARY.identify(""), Vec::<String>::new());
    assert!(LICENSE_LIST.starts_with("3."));
}

#[test]
fn what_binds_together_is_joined_and_unknown_texts_are_kept() {
    let files = vec![file("LICENSE", MIT), file("x/COPYING", UNKNOWN), file("NOTICE", BSD)];
    let found = license(&LIBRARY, &module("a.org/a"), files, &[]).unwrap();
    let [text] = found.extracted.as_slice() else { panic!("{found:?}") };
    assert_eq!(found.expression, format!("{} AND MIT", text.id));
    assert_eq!(&*text.text, UNKNOWN);
    spdx::Expression::parse(&found.expression).unwrap();
    assert_eq!(found.files.len(), 3, "the notice is kept, though it names no licence");
}

#[test]
fn a_module_without_licence_is_refused_unless_excepted_by_name() {
    let none = || vec![file("NOTICE", "hello")];
    let error = license(&LIBRARY, &module("a.org/a"), none(), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "module a.org/a v1.0.0 has no licence file; expected one, or an entry of `unlicensed`"
    );
    let exception = |license: &str| Unlicensed {
        module: "a.org/a".to_owned(),
        license: license.to_owned(),
        reason: "its readme says so".to_owned(),
    };
    let found = license(&LIBRARY, &module("a.org/a"), none(), &[exception("MIT")]).unwrap();
    assert_eq!((found.expression.as_str(), found.excepted.is_some()), ("MIT", true));
    assert!(license(&LIBRARY, &module("a.org/b"), none(), &[exception("MIT")]).is_err());
    let error = license(&LIBRARY, &module("a.org/a"), none(), &[exception("My own")]).unwrap_err();
    assert!(matches!(error, LicenseError::Exception { .. }), "{error}");
    let files = vec![file("LICENSE", MIT)];
    let error = license(&LIBRARY, &module("a.org/a"), files, &[exception("MIT")]).unwrap_err();
    assert!(matches!(error, LicenseError::NotNeeded { .. }), "{error}");
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new(), 0);
    let mut made = BTreeSet::new();
    let mut all: Vec<(String, Option<&str>)> = Vec::new();
    for (path, text) in files {
        for (at, _) in path.match_indices('/') {
            if made.insert(&path[..at]) {
                all.push((path[..at].to_owned(), None));
            }
        }
        all.push(((*path).to_owned(), Some(text)));
    }
    all.sort();
    for (path, text) in all {
        let path = EntryPath::new(path).unwrap();
        match text {
            None => writer.append(crate::Entry::directory(path)).unwrap(),
            Some(text) => {
                let mut content = text.as_bytes();
                let size = content.len() as u64;
                writer.append(crate::Entry::file(path, false, size, &mut content)).unwrap();
            }
        }
    }
    writer.finish().unwrap()
}

const TREE: &[(&str, &str)] = &[
    ("LICENSE", APACHE),
    ("LICENSES/vendor/c.org/c/LICENSE", BSD),
    ("api/LICENSE", BSD),
    ("api/a.go", ""),
    ("api/go.mod", ""),
    ("go.mod", "// of the top\nmodule top.org/top\n\ngo 1.15\n"),
    ("logo/LICENSE", UNKNOWN),
    ("main.go", ""),
    ("server/etc/x.go", ""),
    ("server/go.mod", ""),
    ("staging/src/k8s.io/api/LICENSE", APACHE),
    ("staging/src/k8s.io/api/go.mod", ""),
    ("staging/src/k8s.io/api/x.go", ""),
    ("testdata/LICENSE", UNKNOWN),
    ("testdata/x.go", ""),
    ("third_party/forked/LICENSE", BSD),
    ("third_party/forked/x.go", ""),
    ("vendor/a.org/a/LICENSE", MIT),
    ("vendor/a.org/a/b/LICENSE", BSD),
    ("vendor/a.org/a/b/x.go", ""),
    ("vendor/a.org/a/sub/x/LICENSE", BSD),
    ("vendor/a.org/a/sub/x/x.go", ""),
    ("vendor/a.org/a/x.go", ""),
    ("vendor/c.org/c/x.go", ""),
    (
        "vendor/modules.txt",
        "# a.org/a v1.0.0\n## explicit\na.org/a\n# a.org/a/b v0.1.0\na.org/a/b\n# a.org/a/gone v1.0.0\n# c.org/c v1.0.0\nc.org/c\n# d.org/api v0.0.0 => ./api\nd.org/api\n",
    ),
];

#[test]
fn sums_of_modules_are_those_of_the_tree() {
    let sums = "a.org/a v1.0.0 h1:AA=\na.org/a v1.0.0/go.mod h1:BB=\n";
    let tree = [("go.sum", sums), ("server/go.sum", "c.org/c v1.0.0 h1:CC=\nbroken line\n")];
    let tree = SourceLicenses::read(Cursor::new(tar(&tree))).unwrap();
    assert_eq!(tree.sum("a.org/a", "v1.0.0"), Some("h1:AA="));
    assert_eq!(tree.sum("c.org/c", "v1.0.0"), Some("h1:CC="));
    assert_eq!(tree.sum("a.org/a", "v1.0.0/go.mod"), None);
    assert_eq!(tree.sum("a.org/a", "v1.0.1"), None);
}

#[test]
fn licences_of_a_source_tree_go_to_the_module_that_they_bind() {
    let tree = SourceLicenses::read(Cursor::new(tar(TREE))).unwrap();
    let paths = |files: Vec<LicenseFile>| -> Vec<String> {
        files.into_iter().map(|file| file.path).collect()
    };
    assert_eq!(paths(tree.folder("")), ["LICENSE", "third_party/forked/LICENSE"]);
    assert_eq!(paths(tree.folder("server")), ["LICENSE"], "that of the folder above");
    assert_eq!(paths(tree.folder("api")), ["api/LICENSE"]);
    let expected = ["vendor/a.org/a/LICENSE", "vendor/a.org/a/sub/x/LICENSE"];
    assert_eq!(paths(tree.vendored("a.org/a")), expected, "without those of a.org/a/b");
    assert_eq!(paths(tree.vendored("a.org/a/b")), ["vendor/a.org/a/b/LICENSE"]);
    assert_eq!(paths(tree.vendored("a.org/a/gone")), expected, "those of the module above");
    assert_eq!(paths(tree.vendored("c.org/c")), ["LICENSES/vendor/c.org/c/LICENSE"]);
    assert_eq!(paths(tree.vendored("d.org/api")), ["api/LICENSE"], "what stands in for it");
    assert_eq!(paths(tree.vendored("k8s.io/api")), ["staging/src/k8s.io/api/LICENSE"]);
    assert_eq!(paths(tree.vendored("e.org/e")), Vec::<String>::new());
    let [first, second] = [tree.vendored("a.org/a/b"), tree.vendored("c.org/c")];
    assert!(Arc::ptr_eq(&first[0].text, &second[0].text), "equal texts are kept once");
}

#[test]
fn modules_below_vendor_are_found_by_the_folders_of_their_packages() {
    let tree = SourceLicenses::read(Cursor::new(tar(TREE))).unwrap();
    assert_eq!((tree.module(""), tree.module("vendor")), (Some("top.org/top"), None));
    let folders = ["a.org/a/b/deep", "a.org/a/sub", "d.org/api", "fmt", "top.org/top/x"];
    let carried = tree.carried(&folders.map(str::to_owned).into());
    let names = carried.iter().map(|found| (found.module.path.as_str(), &*found.linked().version));
    let expected = [("a.org/a", "v1.0.0"), ("a.org/a/b", "v0.1.0"), ("d.org/api", "")];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    assert_eq!(carried[2].folder("").as_deref(), Some("api"), "what stands in for it");
}

const DEP5: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: x

Files: *
Copyright: 2001 Somebody
License: GPL-2+

Files: b/*
Copyright: 2002 Somebody
License: Expat or LGPL-2.1

Files: c/*
Copyright: 2003 Somebody
License: Weird
 You may use this only on Tuesdays.
 .
 And only while it rains.

License: GPL-2+
 On Debian systems the text is elsewhere.
";

#[test]
fn debian_names_become_spdx_names_and_others_are_kept_with_their_text() {
    let found = debian_license(&LIBRARY, "x", "1.0-1", DEP5);
    let [text] = found.extracted.as_slice() else { panic!("{found:?}") };
    let expected = format!("GPL-2.0-or-later AND {} AND (MIT OR LGPL-2.1-only)", text.id);
    assert_eq!(found.expression, expected);
    assert_eq!(&*text.text, "You may use this only on Tuesdays.\n\nAnd only while it rains.");
    spdx::Expression::parse(&found.expression).unwrap();
    assert_eq!(&*found.files[0].text, DEP5);

    let free =
        debian_license(&LIBRARY, "libc6", "2.36-9", "This is the GNU C Library.\nIt is free.\n");
    assert_eq!(free.extracted[0].id, free.expression);
    spdx::Expression::parse(&free.expression).unwrap();
}

#[test]
fn the_copyright_file_of_a_package_may_be_linked_to_another() {
    let path = "usr/share/doc/x/copyright";
    let own = deb("data.tar", &[(path, DEP5)]);
    assert_eq!(debian_copyright(&own, "x").unwrap(), DebianCopyright::Text(DEP5.to_owned()));
    for linked in [("usr/share/doc/x", "-> y"), (path, "-> ../y/copyright")] {
        let linked = deb("data.tar", &[linked]);
        assert_eq!(debian_copyright(&linked, "x").unwrap(), DebianCopyright::In("y".to_owned()));
    }
    let none = deb("data.tar", &[("usr/share/doc/y/copyright", DEP5)]);
    assert_eq!(debian_copyright(&none, "x").unwrap(), DebianCopyright::Missing);
}

#[test]
fn a_source_archive_that_is_cut_off_is_refused() {
    let whole = tar(TREE);
    let cut = SourceLicenses::read(Cursor::new(&whole[..whole.len() - 1024]));
    assert!(matches!(cut, Err(SourceError::Tar(_))), "{cut:?}");
    let long = "x".repeat(usize::try_from(LONGEST_TEXT).unwrap() + 1);
    let error = SourceLicenses::read(Cursor::new(tar(&[("LICENSE", &long)]))).unwrap_err();
    assert!(matches!(error, SourceError::TooLong { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_copyright_file_gives_an_expression_that_spdx_reads(
        names in prop::collection::vec("[A-Za-z0-9.+ ,()-]{0,24}", 1..6),
    ) {
        let mut text = String::from("Format: 1.0\n");
        for name in names {
            for part in ["\nFiles: *\nLicense: ", &name, "\n text of it\n"] {
                text.push_str(part);
            }
        }
        let found = debian_license(&LIBRARY, "p", "1", &text);
        prop_assert!(spdx::Expression::parse(&found.expression).is_ok(), "{}", found.expression);
        for text in &found.extracted {
            prop_assert!(found.expression.contains(&text.id));
        }
    }

    #[test]
    fn any_list_of_vendored_modules_is_read(text in "(#{1,2} [a-z./ =>]{0,20}\n){0,8}", path in "[a-z./]{0,20}") {
        let read = vendor::Vendored::parse(&text);
        if let Some(module) = read.module_of(&path) {
            prop_assert!(path.starts_with(module));
        }
    }
}
