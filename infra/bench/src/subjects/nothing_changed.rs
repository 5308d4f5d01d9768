//! Cuts a release into a store of its own, and then again and again with nothing changed.

use std::path::Path;

use crate::{error::BenchError, figures::Figure, measure::cost_of, peer, prepared::Prepared};

/// The limit in seconds.
const MOST: f64 = 0.3;

/// What was fetched and built need not be there twice; everything else the cut makes in a home of its own. (Of the
/// content only what is whole: a run removes what others left half-written in its own home.)
const SHARED: [&str; 6] = ["apt", "assemblies", "content/sha256", "mirrors", "steps", "trees"];

pub(super) fn measure(prepared: &Prepared, count: usize) -> Result<Vec<Figure>, BenchError> {
    let (_scratch, home) = prepared.scratch()?;
    prepared.share(&SHARED, &home)?;
    let (outcome, _) = cut(prepared, home.path())?;
    expect("released", &outcome)?;
    let mut walls = Vec::with_capacity(count);
    for _ in 0..count {
        let (outcome, wall) = cut(prepared, home.path())?;
        expect("unchanged", &outcome)?;
        walls.push(wall);
    }
    Ok(vec![Figure::alone("cut with nothing changed, wall", "s", &walls, MOST)])
}

/// Runs `kdistro cut` to its end; returns its outcome and how long it took.
fn cut(prepared: &Prepared, home: &Path) -> Result<(String, f64), BenchError> {
    let mut cut = prepared.kdistro(home, "cut");
    let (printed, cost) = cost_of(|| peer::run(cut.arg("--json")))?;
    let outcome = serde_json::from_slice::<serde_json::Value>(&printed).ok();
    let outcome = outcome.as_ref().and_then(|facts| facts.get("outcome")?.as_str());
    Ok((outcome.unwrap_or("nothing that can be read").to_owned(), cost.wall))
}

fn expect(outcome: &str, found: &str) -> Result<(), BenchError> {
    if found == outcome {
        return Ok(());
    }
    Err(BenchError::Unexpected(format!(
        "the outcome of the cut is `{found}`, expected `{outcome}`"
    )))
}
