//! What the fuzz targets share: a key, a log and a document that it really signed, made once and kept.
//!
//! Each file of `targets/` reads one kind of bytes from outside. All of them for 20 seconds each, from this folder:
//!
//! ```text
//! for target in $(cargo run --quiet -- ../../target/fuzz/corpus); do
//!     cargo run --quiet --bin "$target" -- "../../target/fuzz/corpus/$target" -max_total_time=20 || break
//! done
//! ```
//!
//! The program `seeds`, which the first line runs, writes what the targets start from and prints their names. The
//! flags of the compiler stand in `.cargo/config.toml`; the stable compiler takes them. What libFuzzer finds it writes
//! as `crash-…` into this folder, and `cargo run --bin TARGET -- crash-…` shows it again.

use std::{io, sync::OnceLock};

use kdistro_assemble::{Entry, EntryKind};
use kdistro_verify::trust::{PublicKey, Trust};

/// A document that the key signed.
pub const DOCUMENT: &[u8] = include_bytes!("../seeds/document");
/// The bundle of [`DOCUMENT`].
pub const BUNDLE: &[u8] = include_bytes!("../seeds/bundle.json");
/// A signed statement about it.
pub const STATEMENT: &[u8] = include_bytes!("../seeds/statement.sigstore.json");
/// The public key.
pub const KEY: &str = include_str!("../seeds/key.pub");
/// The trusted root that names the log.
pub const TRUSTED_ROOT: &[u8] = include_bytes!("../seeds/trusted_root.json");
/// The head of the log with one leaf.
pub const CHECKPOINT: &str = include_str!("../seeds/checkpoint");
/// The module that seeds of zip files are of.
pub const MODULE: &str = "example.org/seed@v1.0.0/";

/// The key.
pub fn key() -> &'static PublicKey {
    static KEY: OnceLock<PublicKey> = OnceLock::new();
    KEY.get_or_init(|| PublicKey::from_pem(self::KEY).expect("a kept key"))
}

/// Whom the targets believe.
pub fn trust() -> &'static Trust {
    static TRUST: OnceLock<Trust> = OnceLock::new();
    TRUST.get_or_init(|| Trust::from_trusted_root(TRUSTED_ROOT, key()).expect("a kept root"))
}

/// Reads the content of an entry to its end, but no more than a few megabytes of what a small input unfolds to.
pub fn read_content(mut entry: Entry<'_>) {
    if let EntryKind::File { content, .. } = &mut entry.kind {
        let mut content = io::Read::take(content, 4 << 20);
        let _ = io::copy(&mut content, &mut io::sink());
    }
}
