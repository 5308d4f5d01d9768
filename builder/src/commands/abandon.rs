//! `kdistro abandon`: gives up a number that was claimed and cannot be finished.

use kdistro_formats::ReleaseName;
use serde_json::json;

use super::{
    Answer, Result,
    find::no_release,
    output::{print_json, say},
    plan::configured,
};
use crate::{
    context::Context,
    cut::{journal, publisher},
    journal::Journal,
    place::Place,
    publish::number,
};

pub(super) fn run(context: &Context, release: &ReleaseName, reason: &str) -> Result {
    let workspace = context.workspace()?;
    let channel = configured(&workspace, &release.channel)?;
    let what = format!("a cut of channel {}", release.channel);
    let _lock = context.home.lock(&format!("cut-{}", release.channel), what)?;
    let place = Place::open(context, context.target()?)?;
    let signing = place.signing(context);
    let publisher = publisher(context, &place, &signing);
    let store = place.store.as_ref();
    if number::read_claim(store, release)?.is_none() {
        return Err(no_release(release, &store.place()).into());
    }
    let current = publisher.index(&release.channel)?;
    let released = current.iter().flat_map(|current| &current.index.status.releases);
    if released.clone().any(|offered| offered.number == release.number) {
        return Err(format!(
            "release {release} is published: it cannot be abandoned\nhelp:  yank it with `kdistro yank {release} --reason …`"
        )
        .into());
    }
    let mut journal = Journal::open(&journal(context, &place, release))?;
    publisher.publish_keys(&place.keys, &mut journal)?;
    let topic = place.target.topic();
    publisher.abandon(release, reason, (channel, topic), &mut journal)?;
    context.reporter.clear();
    if context.json {
        let release = release.to_string();
        print_json(&json!({"outcome": "withheld", "release": release, "reason": reason}))?;
    }
    say(context, format!("release {release} is withheld: {reason}"))?;
    Ok(Answer::Yes)
}
