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
    publish::announce::AnnouncementError,
};

/// A yank that nobody was told of.
#[derive(Debug, thiserror::Error)]
#[error(
    "the channel's index says that release {release} is yanked, but it was not announced\nhelp:  run this again: the next run announces it"
)]
struct NotTold {
    release: ReleaseName,
    source: AnnouncementError,
}

pub(super) fn run(context: &Context, release: &ReleaseName, reason: &str) -> Result {
    let workspace = context.workspace()?;
    let channel = configured(&workspace, &release.channel)?;
    find::require_own(context, release)?;
    let what = format!("a cut of channel {}", release.channel);
    let _lock = context.home.lock(&format!("cut-{}", release.channel), what)?;
    let place = Place::open(context, context.target()?)?;
    let signing = place.signing(context);
    let publisher = publisher(context, &place, &signing);
    let mut journal = Journal::open(&journal(context, &place, release))?;
    let topic = place.target.topic();
    publisher.yank(release, reason, (channel, topic), &mut journal)?;
    let announcer = (place.announcer.as_ref(), workspace.distribution.url.as_str());
    publisher
        .announce_all(&release.channel, announcer)
        .map_err(|source| NotTold { release: release.clone(), source })?;
    context.reporter.clear();
    if context.json {
        let release = release.to_string();
        print_json(&json!({"outcome": "yanked", "release": release, "reason": reason}))?;
    }
    say(context, format!("release {release} is yanked: {reason}"))?;
    Ok(Answer::Yes)
}
