//! Figures: what was measured, beside the peer and the limit, as a table and as JSON. Pure.

use serde::Serialize;

use crate::measure::{Pair, median};

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    /// So much, whatever the peer takes.
    AtMost(f64),
    /// So many times what the peer takes, and so much more.
    OfPeer {
        /// The factor.
        times: f64,
        /// What is added, in the unit of the figure.
        plus: f64,
    },
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figure {
    /// What was measured, such as `build etcd-io/etcd linux/amd64, CPU`.
    pub(crate) name: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// The median of ours.
    pub(crate) ours: f64,
    /// The median of the peer's.
    pub(crate) peer: Option<f64>,
    /// Who the peer is.
    pub(crate) peer_name: String,
    /// The median of the ratios of the pairs.
    pub(crate) ratio: Option<f64>,
    /// What is allowed, in words; none where the figure is for information.
    pub(crate) limit: Option<String>,
    /// Whether it is kept.
    pub(crate) met: Option<bool>,
    /// How many runs of each.
    pub(crate) runs: usize,
}

impl Figure {
    /// A figure with a peer. The limit is judged pair by pair, and the median of those judgements counts.
    pub(crate) fn of_pairs(
        (name, peer_name): (impl Into<String>, impl Into<String>),
        unit: &'static str,
        pairs: &[Pair],
        limit: Option<Limit>,
    ) -> Self {
        let excess = |limit: Limit| {
            median(pairs.iter().map(|pair| match limit {
                Limit::AtMost(most) => pair.ours - most,
                Limit::OfPeer { times, plus } => pair.ours - (pair.peer * times + plus),
            }))
        };
        Self {
            name: name.into(),
            unit,
            ours: median(pairs.iter().map(|pair| pair.ours)),
            peer: Some(median(pairs.iter().map(|pair| pair.peer))),
            peer_name: peer_name.into(),
            ratio: Some(median(pairs.iter().map(|pair| pair.ours / pair.peer))),
            limit: limit.map(|limit| in_words(limit, unit)),
            met: limit.map(|limit| excess(limit) <= 0.0),
            runs: pairs.len(),
        }
    }

    /// A figure without a peer; for information where there is no `most`.
    pub(crate) fn alone(
        name: impl Into<String>,
        unit: &'static str,
        values: &[f64],
        most: impl Into<Option<f64>>,
    ) -> Self {
        let most = most.into();
        let ours = median(values.iter().copied());
        Self {
            name: name.into(),
            unit,
            ours,
            peer: None,
            peer_name: String::new(),
            ratio: None,
            limit: most.map(|most| in_words(Limit::AtMost(most), unit)),
            met: most.map(|most| ours <= most),
            runs: values.len(),
        }
    }
}

fn in_words(limit: Limit, unit: &str) -> String {
    match limit {
        Limit::AtMost(most) => format!("{most} {unit}"),
        Limit::OfPeer { times, plus: 0.0 } => format!("{times} x peer"),
        Limit::OfPeer { times, plus } => format!("{times} x peer + {plus} {unit}"),
    }
}

/// Writes figures as a table for people.
pub(crate) fn table(figures: &[Figure]) -> String {
    let heading =
        ["figure", "unit", "ours", "peer", "ratio", "limit", "verdict", "runs", "peer is"]
            .map(str::to_owned);
    let mut rows = vec![heading];
    rows.extend(figures.iter().map(row));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..9).map(width).collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(figure: &Figure) -> [String; 9] {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
    let verdict = match figure.met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "for information",
    };
    [
        figure.name.clone(),
        figure.unit.to_owned(),
        number(Some(figure.ours)),
        number(figure.peer),
        number(figure.ratio),
        figure.limit.clone().unwrap_or_else(|| "-".to_owned()),
        verdict.to_owned(),
        figure.runs.to_string(),
        figure.peer_name.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(pairs: &[(f64, f64)], limit: Limit) -> Figure {
        let pairs: Vec<_> = pairs.iter().map(|&(ours, peer)| Pair { ours, peer }).collect();
        Figure::of_pairs(("work", "peer 1.0"), "s", &pairs, Some(limit))
    }

    #[test]
    fn a_limit_is_judged_pair_by_pair() {
        let limit = Limit::OfPeer { times: 1.02, plus: 1.0 };
        // The load of the machine changed between the pairs, and each pair kept the limit.
        let kept = figure(&[(11.0, 10.0), (103.0, 100.0), (51.9, 50.0)], limit);
        assert_eq!((kept.met, kept.limit.as_deref()), (Some(true), Some("1.02 x peer + 1 s")));
        let missed = figure(&[(11.3, 10.0), (103.1, 100.0), (51.9, 50.0)], limit);
        assert_eq!(missed.met, Some(false));
        assert_eq!(figure(&[(1.0, 9.0)], Limit::AtMost(0.9)).met, Some(false));
    }

    #[test]
    fn a_table_says_what_was_missed() {
        let figures = [
            figure(&[(2.0, 4.0)], Limit::OfPeer { times: 1.05, plus: 0.0 }),
            Figure::alone("rest", "ms", &[16.0], 15.0),
            Figure::alone("more", "ms", &[16.0], None),
        ];
        assert_eq!(
            table(&figures),
            "figure  unit  ours    peer   ratio  limit        verdict          runs  peer is\n\
             work    s     2.000   4.000  0.500  1.05 x peer  met              1     peer 1.0\n\
             rest    ms    16.000  -      -      15 ms        MISSED           1\n\
             more    ms    16.000  -      -      -            for information  1\n"
        );
    }
}
