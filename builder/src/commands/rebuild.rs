//! `kdistro rebuild`: builds a published release again and compares.

use std::{fs, path::Path};

use kdistro_border::KeyFile;
use kdistro_formats::{canonical, statement::RebuildVerdict};
use kdistro_verify::{
    check::{self, Outcome, Report, Scope, TrustSource},
    hash, store,
    trust::PublicKey,
};

use super::{
    Answer, Result,
    output::{print, print_json},
    plan::proxy,
};
use crate::{
    cli::{InputsFrom, RebuildArgs},
    context::Context,
    rebuild::{self, Rebuilt, Subjected},
    sign,
};

pub(super) fn run(context: &Context, arguments: &RebuildArgs) -> Result {
    let proxy = proxy(context);
    let locate =
        || store::locate(&arguments.manifest, arguments.store.as_deref(), proxy.as_deref());
    let (reader, name) = locate()?;
    let mut verified = None;
    match &arguments.key {
        None => context.reporter.note("the release is not verified: no --key was given"),
        Some(key) => {
            let report = verify(context, reader.as_ref(), &name, key)?;
            match report.outcome {
                Outcome::Verified => verified = report.manifest_digest,
                Outcome::Differs => return Ok(Answer::No),
                Outcome::Unknown => return Ok(Answer::Unknown),
            }
        }
    }
    // With --store, a manifest that lies elsewhere is a claim about which one is meant.
    if arguments.store.is_some()
        && let Some(read) = store::read_given(&arguments.manifest, &name, proxy.as_deref())?
    {
        let given = hash::sha256(&read?);
        if let Some(verified) = verified.filter(|verified| *verified != given) {
            print(format!(
                "{} is {given}, but the store's manifest is {verified}",
                arguments.manifest
            ))?;
            return Ok(Answer::No);
        }
        verified = Some(given);
    }
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
    } else {
        show(&rebuilt)?;
    }
    Ok(if rebuilt.is_same() { Answer::Yes } else { Answer::No })
}

/// Verifies the release as a stranger would, and prints every problem.
pub(super) fn verify(
    context: &Context,
    reader: &dyn store::Reader,
    name: &str,
    key: &Path,
) -> Result<Report> {
    context.reporter.stage("verify");
    let text = fs::read_to_string(key)
        .map_err(|error| format!("cannot read {}: {error}", key.display()))?;
    let source = TrustSource { key: PublicKey::from_pem(&text)?, trusted_root: None };
    let report = check::check(reader, name, &source, Scope::Release);
    context.reporter.clear();
    for problem in &report.problems {
        print(format!("{}: {}", problem.file, problem.message))?;
    }
    if !context.json {
        let word = match report.outcome {
            Outcome::Verified => "verified",
            Outcome::Differs => "differs or forged",
            Outcome::Unknown => "could not tell",
        };
        print(format!(
            "{word}: {} ({} assets, {} bytes)",
            report.manifest, report.assets, report.bytes
        ))?;
    }
    Ok(report)
}

/// Prints every asset and, where it differs, how.
pub(super) fn show(rebuilt: &Rebuilt) -> Result<()> {
    for asset in &rebuilt.assets {
        let word = match asset.verdict {
            RebuildVerdict::Same => "same",
            RebuildVerdict::SameContentOtherCompression => "same content, other compression",
            RebuildVerdict::Different => "different",
        };
        print(format!("{:60} {word}", asset.name))?;
        if let Some(difference) = rebuilt.differences.get(&asset.name) {
            print(format!("    {difference}"))?;
        }
    }
    for name in &rebuilt.left_out {
        print(format!("{name:60} left out"))?;
    }
    if !rebuilt.plan_reproduced {
        print("the published configuration gives another plan than the published one")?;
    }
    let same = rebuilt.assets.iter().filter(|a| a.verdict != RebuildVerdict::Different).count();
    let verdict = if rebuilt.is_same() { "same" } else { "different" };
    print(format!("rebuilt {} assets, {same} the same: {verdict}", rebuilt.assets.len()))?;
    Ok(())
}
