//! `kdistro promote`: brings a release from one environment to another.

use std::{error::Error, path::Path};

use kdistro_formats::terminal::printable;
use kdistro_verify::check::Outcome as Verdict;

use super::{
    Answer, Result, find,
    output::{count, print_json, say},
    rebuild::public_key,
};
use crate::{
    cli::PromoteArgs,
    config::environment::{self, Environment as Target},
    context::{Context, ContextError},
    place::{self, Place, PlaceError},
    promote::{self, Origin, Outcome, PromoteError, Promotion},
    sign::keys::KeysError,
};

pub(super) fn run(context: &Context, arguments: &PromoteArgs) -> Result {
    let PromoteArgs { release, from, to, .. } = arguments;
    if from == to {
        return Err(format!("`{from}` is both where the release is and where it goes").into());
    }
    let (source, target) = (target(context, "--from", from)?, target(context, "--to", to)?);
    let origin = origin(context, source, arguments.key.as_deref())?;
    find::require_in(origin.store.clone(), release)?;
    let place = Place::open(context, target)?;
    let promoted = promote::promote(context, (&origin, &place), release, arguments.dry_run);
    context.reporter.clear();
    let promotion = match promoted {
        Err(PromoteError::NotVerified { from, report }) if report.outcome == Verdict::Differs => {
            return refused(context, &PromoteError::NotVerified { from, report });
        }
        promoted => promoted?,
    };
    if context.json {
        print_json(&promotion)?;
    }
    show(context, &promotion)?;
    Ok(Answer::Yes)
}

/// The environment that an option names.
fn target(context: &Context, option: &str, name: &str) -> Result<Target> {
    context.target_called(name).map_err(|error| match error {
        ContextError::UnknownEnvironment { name, known } => format!(
            "unknown environment `{name}`, expected one of {known}\nhelp:  name another one with {option}, or write {}",
            environment::file(&name)
        )
        .into(),
        error => error.into(),
    })
}

/// The environment that the release is in, and the key that must have signed it there.
fn origin(context: &Context, target: Target, key: Option<&Path>) -> Result<Origin> {
    let key = match key {
        Some(file) => public_key(file)?,
        None => place::open_keys(context, &target)
            .map_err(|error| match error {
                // New ones would not be those that signed it.
                PlaceError::Keys(KeysError::Missing(folder)) => format!(
                    "there is no key of environment `{}` in {}\nhelp:  name the public key that must have signed the release with --key",
                    target.name,
                    folder.display()
                )
                .into(),
                error => Box::<dyn Error>::from(error),
            })?
            .release_key()?,
    };
    let store = place::open_store(context, &target)?;
    Ok(Origin { name: target.name, store, key })
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

fn show(context: &Context, promotion: &Promotion) -> Result<()> {
    let Promotion { release, from, to, digest, outcome, .. } = promotion;
    let dry_run = *outcome == Outcome::Planned;
    let bytes: u64 = promotion.copied.values().sum();
    let files = count(promotion.copied.len(), "file");
    let (copied, pushed, signed) = if dry_run {
        ("would copy", "would push", "would sign")
    } else {
        ("copied", "pushed", "signed")
    };
    say(context, format!("release {release} of {from}, manifest {digest}: verified"))?;
    if *outcome == Outcome::Unchanged {
        return Ok(say(context, format!("nothing to do: it was promoted to {to} before"))?);
    }
    say(context, format!("{copied} {files}, {bytes} bytes; {} are there", promotion.present))?;
    for image in &promotion.images {
        say(context, format!("{pushed} {image}"))?;
    }
    for document in &promotion.signed {
        say(context, format!("{signed} {document}"))?;
    }
    for (number, reason) in &promotion.withheld {
        let reason = printable(reason);
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
