//! `kdistro yank`: says that a published release should not be used any more.

use kdistro_formats::ReleaseName;
use serde_json::json;

use super::{
    Answer, Result, find,
    output::{print_json, say},
    plan::configured,
};
use crate::{
    context::Context,
    cut::{journal, publisher},
    journal::Journal,
    place::Place,
};

pub(super) fn run(context: &Context, release: &ReleaseName, reason: &str) -> Result {
    let workspace = context.workspace()?;
    let channel = configured(&workspace, &release.channel)?;
    find::require_own(context, release)?;
    let what = format!("a cut of channel {}", release.channel);
    let _lock = context.home.lock(&format!("cut-{}", release.channel), what)?;
    let place = Place::open(context, context.target()?)?;
    let (trust, signing) = (place.trust()?, place.signing(context));
    let publisher = publisher(context, &place, &signing);
    let mut journal = Journal::open(&journal(context, &place, release))?;
    let topic = place.target.topic();
    publisher.yank(release, reason, (channel, topic), (&trust, &mut journal))?;
    // Said again when this is run again: of a yank there is no record but the index.
    let announcer = (place.announcer.as_ref(), workspace.distribution.url.as_str());
    publisher.announce_yank(release, reason, announcer)?;
    context.reporter.clear();
    if context.json {
        let release = release.to_string();
        print_json(&json!({"outcome": "yanked", "release": release, "reason": reason}))?;
    }
    say(context, format!("release {release} is yanked: {reason}"))?;
    Ok(Answer::Yes)
}
