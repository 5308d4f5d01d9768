//! `kdistro attest`: publishes a keyless signature of a release beside it, once it is checked.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use kdistro_border::{Content, Created};
use kdistro_formats::{layout, terminal::printable};
use kdistro_verify::{check::chain, store::read_at_most};
use serde_json::json;

use super::{
    Answer, Result, find,
    output::{print_json, say},
};
use crate::{
    cli::AttestArgs,
    context::Context,
    place,
    sign::keyless::{self, Identity, KeylessError, Root},
};

/// A file on the command line that cannot be used.
#[derive(Debug, thiserror::Error)]
enum AttestError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("{}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeylessError,
    },
}

pub(super) fn run(context: &Context, arguments: &AttestArgs) -> Result {
    let AttestArgs { release, bundle: file, identity, issuer, .. } = arguments;
    find::require_own(context, release)?;
    let store = place::open_store(context, &context.target()?)?;
    let manifest = store.read(&layout::manifest(release))?;
    let manifest = manifest.ok_or_else(|| find::no_release(release, &store.place()))?;
    let bundle = read(file)?;
    let whom = Identity { name: identity, issuer };
    let signed = match root(arguments)?.verify(&bundle, &manifest, &whom) {
        Err(error) if error.is_refusal() => return refused(context, arguments, &error),
        verified => verified.map_err(in_file(file))?.to_string(),
    };
    let name = keyless::path(release, &bundle);
    let is_new = store.create(&name, Content::Bytes(&bundle))? == Created::New;
    context.reporter.clear();
    if context.json {
        print_json(&json!({
            "outcome": if is_new { "attested" } else { "unchanged" }, "release": release.to_string(),
            "identity": identity, "issuer": issuer, "signed": signed, "published": name,
        }))?;
    }
    say(context, format!("release {release} was signed by {identity}, of {issuer}, at {signed}"))?;
    say(context, format!("{} {name}", if is_new { "published" } else { "was published before:" }))?;
    Ok(Answer::Yes)
}

/// What proves something else is a problem that was found, not a failure to look.
fn refused(context: &Context, arguments: &AttestArgs, error: &KeylessError) -> Result {
    let (release, file) = (&arguments.release, arguments.bundle.display());
    let text = chain(error);
    let (problem, help) = text.split_once("\nhelp:  ").unwrap_or((&text, ""));
    // It quotes what others wrote.
    let problem = printable(problem);
    context.reporter.clear();
    if context.json {
        let release = release.to_string();
        print_json(&json!({"outcome": "refused", "release": release, "problem": problem}))?;
    }
    say(context, format!("{file} is no keyless signature of release {release}: {problem}"))?;
    if !help.is_empty() {
        say(context, format!("help:  {help}"))?;
    }
    Ok(Answer::No)
}

fn root(arguments: &AttestArgs) -> Result<Root> {
    match &arguments.trusted_root {
        Some(file) => Ok(Root::from_json(&read(file)?).map_err(in_file(file))?),
        None => Ok(Root::of_sigstore()?),
    }
}

fn in_file(path: &Path) -> impl FnOnce(KeylessError) -> AttestError {
    let path = path.to_owned();
    |source| AttestError::Content { path, source }
}

fn read(path: &Path) -> std::result::Result<Vec<u8>, AttestError> {
    let failed = |source| AttestError::Read { path: path.to_owned(), source };
    let bytes = File::open(path).and_then(|file| read_at_most(file, keyless::LARGEST));
    bytes.map_err(failed)?.ok_or_else(|| {
        let what = format!("it has more than {} bytes", keyless::LARGEST);
        failed(io::Error::new(io::ErrorKind::FileTooLarge, what))
    })
}
