//! The publisher in a world where anything fails at any operation, two of them at once: thousands of schedules, each
//! of which follows from its seed.
//!
//! What runs is the real code (`kdistro::publish`, `sign`, `journal`); simulated is what lies outside of it: the store,
//! the registry, the announcer, whose turn it is, and when a process dies. After every operation that changes the
//! world the invariants are checked; at the end of a schedule everything is finished without faults, and the
//! verifier looks at the whole store.
//!
//! `KDISTRO_SIMULATION_SCHEDULES=n` plays another number of schedules, `KDISTRO_SIMULATION_SEED=n` the one of a seed.
#![cfg(test)]

mod found;
mod invariants;
mod operator;
mod plot;
mod process;
mod release;
mod schedule;
mod trace;
mod world;

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::{
    plot::{Counts, beginnings, play},
    release::Site,
};

/// How many schedules are played when nothing else is asked for.
const SCHEDULES: u64 = 10_000;

#[expect(clippy::disallowed_methods, reason = "a switch for whoever looks for a fault")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect(name))
}

/// Plays a schedule again, and tells all that was done in it.
fn told(site: &Site, seed: u64, why: &str) -> String {
    let (trace, _) = play(site, &beginnings(site), seed, true);
    let lines: Vec<_> = trace.lines().collect();
    let from = lines.len().saturating_sub(60);
    let plot = lines.first().unwrap_or(&"");
    format!(
        "seed {seed}: {why}\n{plot}\n… {from} operations …\n{}\n\
         again: KDISTRO_SIMULATION_SEED={seed} cargo test -p kdistro --test simulation",
        lines[from..].join("\n")
    )
}

#[test]
fn every_invariant_holds_in_every_schedule() {
    let site = Site::new();
    let before = beginnings(&site);
    let seeds = match setting("KDISTRO_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("KDISTRO_SIMULATION_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let (next, all) = (AtomicU64::new(seeds.start), Mutex::new(Counts::default()));
    let failed = Mutex::new(BTreeMap::new());
    let work = || {
        let mut counts = Counts::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            match play(&site, &before, seed, false).1 {
                Ok(more) => counts.add(more),
                Err(why) => _ = failed.lock().unwrap().insert(seed, why),
            }
        }
        all.lock().unwrap().add(counts);
    };
    thread::scope(|scope| {
        // Twice as many as there are processors: of two that publish at once one always waits.
        for _ in 0..2 * thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap();
    if let Some((seed, why)) = failed.first_key_value() {
        let lines = failed.iter().map(|(seed, why)| {
            let first: String = why.lines().take(1).flat_map(str::chars).take(200).collect();
            format!("seed {seed}: {first}\n")
        });
        let lines: String = lines.take(20).collect();
        panic!("{} failed\n{lines}\n{}", failed.len(), told(&site, *seed, why));
    }
    let counts = all.into_inner().unwrap();
    if seeds.end - seeds.start >= 1000 {
        // A simulation in which nothing goes wrong would show nothing.
        let schedules = u32::try_from(seeds.end).unwrap();
        assert!(counts.killed > schedules / 2, "{counts:?}");
        assert!(counts.failed > schedules / 5, "{counts:?}");
        assert!(counts.refused > schedules / 20, "{counts:?}");
        assert!(counts.served > schedules, "{counts:?}");
    }
}

#[test]
fn a_schedule_is_played_again_exactly() {
    let (first, second) = (Site::new(), Site::new());
    for seed in 0..60 {
        let one = play(&first, &beginnings(&first), seed, true).0;
        let other = play(&second, &beginnings(&second), seed, true).0;
        assert_eq!(one, other, "seed {seed}");
    }
}
