//! `kdistro rebuild`: builds a published release again and compares.

use std::{fs, path::Path};

use kdistro_border::KeyFile;
use kdistro_formats::{Digest, canonical, statement::RebuildVerdict};
use kdistro_verify::{
    check::{self, Outcome, Report, Scope, TrustSource},
    hash, store,
    trust::PublicKey,
};
use serde_json::json;

use super::{
    Answer, Result, find,
    output::{column, count, print_json, row, say},
};
use crate::{
    cli::{InputsFrom, RebuildArgs},
    context::Context,
    rebuild::{self, Rebuilt, Subjected},
    sign,
};

pub(super) fn run(context: &Context, arguments: &RebuildArgs) -> Result {
    let proxy = context.proxy();
    let locate =
        || store::locate(&arguments.manifest, arguments.store.as_deref(), proxy.as_deref());
    let (reader, name) = locate()?;
    let mut verified = None;
    match &arguments.key {
        None => {
            find::manifest(context, &arguments.manifest, arguments.store.as_deref())?;
            context.reporter.note("the release is not verified: no --key was given");
        }
        Some(key) => {
            let report = verify(context, reader.as_ref(), &name, key)?;
            if report.outcome != Outcome::Verified {
                return Ok(report.outcome.into());
            }
            verified = report.manifest_digest;
        }
    }
    let given = given(arguments, &name, proxy.as_deref())?;
    if let (Some(given), Some(verified)) = (given, verified)
        && given != verified
    {
        let file = &arguments.manifest;
        let message = format!("is {given}, but the store's manifest is {verified}");
        say(context, format!("{file} {message}"))?;
        if context.json {
            let outcome = Outcome::Differs;
            let problem = json!({"file": file, "outcome": outcome, "message": message});
            print_json(&json!({"outcome": outcome, "problems": [problem]}))?;
        }
        return Ok(Answer::No);
    }
    let verified = given.or(verified);
    let subject = Subjected::read(locate()?.0, &name, verified.as_ref())?;
    let scratch = context.home.scratch("rebuild")?;
    let home = rebuild::home(arguments.work.as_deref().unwrap_or(scratch.path()))?;
    let from_publisher = arguments.inputs_from == InputsFrom::Publisher;
    let rebuilt =
        rebuild::rebuild(context, &subject, (&arguments.components, from_publisher), &home)?;
    context.reporter.clear();
    let from = if from_publisher { "publisher" } else { "upstream" };
    let statement = rebuild::statement(&subject, &rebuilt, from);
    if let Some(path) = &arguments.statement {
        let bytes = match &arguments.sign_with {
            Some(key) => sign::bare_statement(&statement, &KeyFile::open(key)?)?,
            None => canonical::to_vec(&statement)?,
        };
        fs::write(path, bytes)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    if context.json {
        print_json(&statement.predicate)?;
    }
    show(context, &rebuilt)?;
    Ok(if rebuilt.is_same() { Answer::Yes } else { Answer::No })
}

/// The digest of a manifest that lies elsewhere than in `--store`: it is a claim about which one is meant.
fn given(arguments: &RebuildArgs, name: &str, proxy: Option<&str>) -> Result<Option<Digest>> {
    if arguments.store.is_none() {
        return Ok(None);
    }
    let read = store::read_given(&arguments.manifest, name, proxy)?;
    Ok(read.transpose()?.map(|bytes| hash::sha256(&bytes)))
}

/// Reads the public key that a command line names.
pub(super) fn public_key(file: &Path) -> Result<PublicKey> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(PublicKey::from_pem(&text)?)
}

/// Verifies the release as a stranger would, and prints every problem; with `--json` the report, unless it is verified
/// and there is more to come.
pub(super) fn verify(
    context: &Context,
    reader: &dyn store::Reader,
    name: &str,
    key: &Path,
) -> Result<Report> {
    context.reporter.stage("verify");
    let source = TrustSource { key: public_key(key)?, trusted_root: None };
    let report = check::check(reader, name, &source, Scope::Release);
    context.reporter.clear();
    for problem in &report.problems {
        say(context, format!("{}: {}", problem.file, problem.message))?;
    }
    let word = match report.outcome {
        Outcome::Verified => "verified",
        Outcome::Differs => "differs or forged",
        Outcome::Unknown => "could not tell",
    };
    let (manifest, assets) = (&report.manifest, count(report.assets, "asset"));
    say(context, format!("{word}: {manifest} ({assets}, {} bytes)", report.bytes))?;
    if context.json && report.outcome != Outcome::Verified {
        print_json(&report)?;
    }
    Ok(report)
}

/// Prints every asset and, where it differs, how.
pub(super) fn show(context: &Context, rebuilt: &Rebuilt) -> Result<()> {
    let built = rebuilt.assets.iter().map(|asset| asset.name.as_str());
    let names = column(built.chain(rebuilt.left_out.iter().map(String::as_str)), 60);
    for asset in &rebuilt.assets {
        let word = match asset.verdict {
            RebuildVerdict::Same => "same",
            RebuildVerdict::SameContentOtherCompression => "same content, other compression",
            RebuildVerdict::Different => "different",
        };
        row(context, &[(&asset.name, names)], word)?;
        if let Some(difference) = rebuilt.differences.get(&asset.name) {
            say(context, format!("    {difference}"))?;
        }
    }
    for name in &rebuilt.left_out {
        row(context, &[(name, names)], "left out")?;
    }
    if !rebuilt.plan_reproduced {
        say(context, "the published configuration gives another plan than the published one")?;
    }
    let same = rebuilt.assets.iter().filter(|a| a.verdict != RebuildVerdict::Different).count();
    let verdict = if rebuilt.is_same() { "same" } else { "different" };
    let assets = count(rebuilt.assets.len(), "asset");
    say(context, format!("rebuilt {assets}, {same} the same: {verdict}"))?;
    Ok(())
}
