//! Every reader of bytes from outside on its seeds, on seeds that were changed, and on any bytes at all.
//!
//! libFuzzer does the same for as long as one likes (`verify/fuzz`); here each has some hundred tries in every run.
#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::Path,
};

use kdistro_outside::seeds;
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};

/// How much oftener each is tried than proptest does by itself; `PROPTEST_CASES=n` is for whoever wants more.
const OFTENER: u32 = 8;

/// What means something to one reader or another.
const WORDS: [&[u8]; 32] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u0000",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e9",
    b"18446744073709551616",
    b"\"\":{}",
    b"{}",
    b"[]",
    b"=",
    b"==",
    b"../",
    b"//",
    b"@",
    b"?",
    b"#",
    b"%2f",
    b"\r\n",
    b"\n",
    b"\0",
    b"\t",
    b" ",
    b"\xc3\xa9",
];

/// An input, shown as text.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Cut(Index, Index),
    Repeat(Index, Index),
    Insert(Index, Vec<u8>),
    /// The end of another seed in place of the own.
    Splice(Index, Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let places = bytes.len() + 1;
        let range = |one: &Index, other: &Index| {
            let (one, other) = (one.index(places), other.index(places));
            one.min(other)..one.max(other)
        };
        match self {
            Self::Set(at, byte) => {
                if let Some(there) = bytes.get_mut(at.index(places)) {
                    *there = *byte;
                }
            }
            Self::Flip(at, bit) => {
                if let Some(there) = bytes.get_mut(at.index(places)) {
                    *there ^= 1 << (bit % 8);
                }
            }
            Self::Cut(one, other) => drop(bytes.drain(range(one, other))),
            Self::Repeat(one, other) => {
                let range = range(one, other);
                let (end, again) = (range.end, bytes[range].to_vec());
                bytes.splice(end..end, again);
            }
            Self::Insert(at, word) => {
                let at = at.index(places);
                bytes.splice(at..at, word.iter().copied());
            }
            Self::Splice(at, which) => {
                let (at, other) = (at.index(places), which.get(seeds));
                bytes.truncate(at);
                bytes.extend(&other[at.min(other.len())..]);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let place = || any::<Index>();
    let word = prop_oneof![
        3 => prop::sample::select(WORDS.as_slice()).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..6),
    ];
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (place(), any::<u8>()).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (place(), place()).prop_map(|(one, other)| Change::Cut(one, other)),
        (place(), place()).prop_map(|(one, other)| Change::Repeat(one, other)),
        (place(), word).prop_map(|(at, word)| Change::Insert(at, word)),
        (place(), place()).prop_map(|(at, which)| Change::Splice(at, which)),
    ]
}

/// Seeds with a few changes, and anything.
fn inputs(seeds: &[Vec<u8>]) -> impl Strategy<Value = Bytes> {
    let all = seeds.to_vec();
    let changed = (prop::sample::select(all.clone()), prop::collection::vec(change(), 1..5));
    let changed = changed.prop_map(move |(mut bytes, changes)| {
        for change in changes {
            change.apply(&mut bytes, &all);
        }
        bytes
    });
    let words = prop::collection::vec(prop::sample::select(WORDS.as_slice()), 0..24);
    let any = prop_oneof![
        6 => changed,
        1 => words.prop_map(|words| words.concat()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ];
    any.prop_map(Bytes)
}

/// Tries a reader; what it panics on is made as small as it goes.
fn try_out(name: &str, read: fn(&[u8])) {
    let seeds = seeds::of(name).unwrap();
    for seed in &seeds {
        read(seed);
    }
    let usual = Config::default();
    let config = Config { cases: usual.cases * OFTENER, failure_persistence: None, ..usual };
    let tried = TestRunner::new(config).run(&inputs(&seeds), |bytes| {
        read(&bytes.0);
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
}

macro_rules! targets {
    ($($function:ident: $name:literal),+ $(,)?) => {
        /// The names of what is tried here.
        const TRIED: &[&str] = &[$($name),+];
        $(
            #[test]
            fn $function() {
                try_out($name, kdistro_outside::$function);
            }
        )+
    };
}

targets! {
    announcement: "announcement",
    bundle: "bundle",
    canonical: "canonical",
    challenge: "challenge",
    channel_index: "channel-index",
    checkpoint: "checkpoint",
    claim: "claim",
    configuration: "configuration",
    credential_helper: "credential-helper",
    deb: "deb",
    docker_config: "docker-config",
    environment: "environment",
    explain: "explain",
    go_build_info: "go-build-info",
    keyless: "keyless",
    log: "log",
    manifest: "manifest",
    module_zip: "module-zip",
    names: "names",
    oci: "oci",
    patch: "patch",
    plan: "plan",
    registry_answer: "registry-answer",
    registry_reference: "registry-reference",
    statement: "statement",
    tar: "tar",
    trust: "trust",
    yaml: "yaml",
}

#[test]
fn each_has_seeds_and_is_a_target_of_libfuzzer() {
    let tried: BTreeSet<_> = TRIED.iter().map(|name| (*name).to_owned()).collect();
    let seeds = seeds::all().unwrap();
    assert!(seeds.iter().all(|(_, seeds)| !seeds.is_empty()));
    let seeded: BTreeSet<_> = seeds.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(seeded, tried);
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let files = fs::read_dir(fuzz.join("targets")).unwrap().map(|file| file.unwrap().path());
    let files = files.map(|file| file.file_stem().unwrap().to_str().unwrap().replace('_', "-"));
    assert_eq!(files.collect::<BTreeSet<_>>(), tried);
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let bins =
        manifest.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let bins = bins.filter(|name| !["kdistro-fuzz", "seeds"].contains(name)).map(str::to_owned);
    assert_eq!(bins.collect::<BTreeSet<_>>(), tried);
}

/// Every package of a lock file, by name, with its versions.
fn locked(path: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for package in text.split("[[package]]\n").skip(1) {
        let value = |key: &str| {
            let prefix = format!("{key} = \"");
            let mut lines = package.lines();
            let value = lines.find_map(|line| line.strip_prefix(&prefix)?.strip_suffix('"'));
            value.unwrap().to_owned()
        };
        found.entry(value("name")).or_default().insert(value("version"));
    }
    found
}

#[test]
fn libfuzzer_tries_what_is_shipped() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (ours, its) =
        (locked(&top.join("Cargo.lock")), locked(&top.join("verify/fuzz/Cargo.lock")));
    assert!(its.contains_key("serde-saphyr") && its.contains_key("kdistro-outside"), "{its:?}");
    for (name, versions) in its {
        let shipped = ours.get(&name).is_none_or(|shipped| versions.is_subset(shipped));
        assert!(
            shipped,
            "{name}: {versions:?} in verify/fuzz/Cargo.lock, {:?} in ours",
            ours[&name]
        );
    }
}
