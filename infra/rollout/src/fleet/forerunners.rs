//! Reads what the clusters that go before this one report, and nothing else of the place where they do.

use std::{collections::BTreeMap, path::Path};

use kdistro_verify::{check::chain, trust::PublicKey};

use super::{Fleet, FleetError, Ignored, Seen, ask, key};
use crate::{
    policy::{Reports, Wave},
    report::{Place, place},
};

/// How the file is called, in the folder that remembers, that says which report of each was the newest.
const SEEN: &str = "seen-reports.json";
/// How much is kept of why a report does not count, in bytes: it may repeat what nobody signed.
const LONGEST_WHY: usize = 300;

/// Reads the reports of the clusters that go before. What cannot be read or not be believed is no error: it does not count,
/// and why is said. `state` is the folder that remembers.
pub fn hear(wave: &Wave, state: &Path) -> Fleet {
    let Some(reports) = &wave.reports else { return Fleet::default() };
    let mut fleet = read(wave, reports, &state.join(SEEN)).unwrap_or_else(|error| {
        let ignored = wave.behind.iter().map(|it| ignored(&it.cluster, &error)).collect();
        Fleet { ignored, ..Fleet::default() }
    });
    for ignored in &mut fleet.ignored {
        ignored.why = shortened(&ignored.why);
    }
    fleet
}

fn read(wave: &Wave, reports: &Reports, file: &Path) -> Result<Fleet, FleetError> {
    let seen = Seen::read(file)?;
    let place = Place::of(reports)?;
    let mut keys: BTreeMap<String, PublicKey> = BTreeMap::new();
    let mut without = Vec::new();
    for one in &wave.behind {
        match key(&one.key) {
            Ok(key) => {
                keys.insert(one.cluster.clone(), key);
            }
            Err(error) => without.push(ignored(&one.cluster, &error)),
        }
    }
    let clusters: Vec<_> = keys.keys().cloned().collect();
    let mut fleet = ask(&place, &clusters, (&keys, &seen));
    fleet.ignored.extend(without);
    let now = seen.clone().with(&fleet);
    if now != seen {
        now.write(file)?;
    }
    Ok(fleet)
}

fn ignored(cluster: &str, error: &FleetError) -> Ignored {
    Ignored { file: place::file_of(cluster), why: chain(error) }
}

/// The first line, without advice.
fn shortened(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    line.get(..line.floor_char_boundary(LONGEST_WHY)).unwrap_or_default().to_owned()
}
