//! `kdistro promote`: brings a release from one environment to another.

use kdistro_verify::check::Outcome;

use super::{
    Answer, Result,
    output::{count, print_json, say},
    rebuild::public_key,
};
use crate::{
    cli::PromoteArgs,
    context::Context,
    place::{self, Place},
    promote::{self, Origin, PromoteError, Promotion},
};

pub(super) fn run(context: &Context, arguments: &PromoteArgs) -> Result {
    let PromoteArgs { release, from, to, .. } = arguments;
    if from == to {
        return Err(format!("`{from}` is both where the release is and where it goes").into());
    }
    let origin = origin(context, arguments)?;
    let place = Place::open(context, context.target_called(to)?)?;
    let promoted = promote::promote(context, (&origin, &place), release, arguments.dry_run);
    context.reporter.clear();
    let promotion = match promoted {
        Err(PromoteError::NotVerified { from, report }) if report.outcome == Outcome::Differs => {
            return refused(context, &PromoteError::NotVerified { from, report });
        }
        promoted => promoted?,
    };
    if context.json {
        print_json(&promotion)?;
    }
    show(context, &promotion, arguments.dry_run)?;
    Ok(Answer::Yes)
}

/// The environment that the release is in, and the key that must have signed it there.
fn origin(context: &Context, arguments: &PromoteArgs) -> Result<Origin> {
    let target = context.target_called(&arguments.from)?;
    let key = match &arguments.key {
        Some(file) => public_key(file)?,
        None => place::open_keys(context, &target)?.release_key()?,
    };
    Ok(Origin { name: target.name.clone(), store: place::open_store(context, &target)?, key })
}

/// What is forged is a problem that was found, not a failure to look.
fn refused(context: &Context, error: &PromoteError) -> Result {
    if context.json
        && let PromoteError::NotVerified { report, .. } = error
    {
        print_json(report)?;
    }
    say(context, error.to_string())?;
    Ok(Answer::No)
}

fn show(context: &Context, promotion: &Promotion, dry_run: bool) -> Result<()> {
    let Promotion { release, from, to, digest, .. } = promotion;
    let bytes: u64 = promotion.copied.values().sum();
    let files = count(promotion.copied.len(), "file");
    let (copied, pushed, signed) = if dry_run {
        ("would copy", "would push", "would sign")
    } else {
        ("copied", "pushed", "signed")
    };
    say(context, format!("release {release} of {from}, manifest {digest}: verified"))?;
    say(context, format!("{copied} {files}, {bytes} bytes; {} are there", promotion.present))?;
    for image in &promotion.images {
        say(context, format!("{pushed} {image}"))?;
    }
    for document in &promotion.signed {
        say(context, format!("{signed} {document}"))?;
    }
    for (number, reason) in &promotion.withheld {
        say(context, format!("withheld in {to}: {number}, which {reason}"))?;
    }
    let announced = match (dry_run, promotion.announced_before) {
        (_, true) => "announced before",
        (true, false) => "would announce it",
        (false, false) => "announced it",
    };
    say(context, announced)?;
    let verb = if dry_run { "would be" } else { "is" };
    Ok(say(context, format!("release {release} {verb} promoted to {to}"))?)
}
