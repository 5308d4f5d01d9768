//! Measures what work costs, in pairs: us and the peer in turn, so that the load of the machine meets both.

use std::time::{Duration, Instant};

use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::{TimeVal, TimeValLike},
};

use crate::error::BenchError;

/// What some work cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Wall time in seconds.
    pub(crate) wall: f64,
    /// User and system time in seconds, of this process and of all children that it waited for, and they for theirs.
    pub(crate) cpu: f64,
    /// The user time in it.
    pub(crate) user: f64,
}

/// One quantity of one run of ours and of one of the peer, in the unit of the figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    /// Ours.
    pub(crate) ours: f64,
    /// The peer's.
    pub(crate) peer: f64,
}

/// The costs of runs in turn: ours, then the peer's.
#[derive(Debug)]
pub(crate) struct Pairs(Vec<(Cost, Cost)>);

impl Pairs {
    /// Takes one cost out of each of the runs that were done in turn.
    pub(crate) fn of<T>(runs: &[(T, T)], cost: impl Fn(&T) -> Cost) -> Self {
        Self(runs.iter().map(|(ours, peer)| (cost(ours), cost(peer))).collect())
    }

    /// Wall times in seconds.
    pub(crate) fn wall(&self) -> Vec<Pair> {
        self.each(|cost| cost.wall)
    }

    /// CPU times in seconds.
    pub(crate) fn cpu(&self) -> Vec<Pair> {
        self.each(|cost| cost.cpu)
    }

    /// User times in seconds.
    pub(crate) fn user(&self) -> Vec<Pair> {
        self.each(|cost| cost.user)
    }

    fn each(&self, quantity: impl Fn(&Cost) -> f64) -> Vec<Pair> {
        let pair =
            |(ours, peer): &(Cost, Cost)| Pair { ours: quantity(ours), peer: quantity(peer) };
        self.0.iter().map(pair).collect()
    }
}

/// The same pairs in another unit.
pub(crate) fn scaled(pairs: &[Pair], times: f64) -> Vec<Pair> {
    pairs.iter().map(|pair| Pair { ours: pair.ours * times, peer: pair.peer * times }).collect()
}

/// Does some work and says what it cost.
pub(crate) fn cost_of<T>(
    work: impl FnOnce() -> Result<T, BenchError>,
) -> Result<(T, Cost), BenchError> {
    let (begun, before) = (Instant::now(), cpu()?);
    let done = work()?;
    let after = cpu()?;
    let user = after.user.saturating_sub(before.user).as_secs_f64();
    let system = after.system.saturating_sub(before.system).as_secs_f64();
    Ok((done, Cost { wall: begun.elapsed().as_secs_f64(), cpu: user + system, user }))
}

/// Runs both `count` times, in turn; who begins changes from pair to pair.
pub(crate) fn pairs(
    count: usize,
    ours: impl FnMut() -> Result<Cost, BenchError>,
    peer: impl FnMut() -> Result<Cost, BenchError>,
) -> Result<Pairs, BenchError> {
    in_turn(count, ours, peer).map(Pairs)
}

/// Runs both `count` times, in turn, as [`pairs`] does, and returns what they give.
pub(crate) fn in_turn<T>(
    count: usize,
    mut ours: impl FnMut() -> Result<T, BenchError>,
    mut peer: impl FnMut() -> Result<T, BenchError>,
) -> Result<Vec<(T, T)>, BenchError> {
    let mut runs = Vec::with_capacity(count);
    for turn in 0..count {
        runs.push(if turn % 2 == 0 {
            let ours = ours()?;
            (ours, peer()?)
        } else {
            let peer = peer()?;
            (ours()?, peer)
        });
    }
    Ok(runs)
}

/// The median; the mean of the two in the middle where the count is even, and 0 of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    }
}

/// A number of things, as figures have it.
pub(crate) fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Bytes as megabytes of 2^20.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    number(bytes >> 10) / 1024.0
}

/// What this process and its children have spent so far.
struct Spent {
    user: Duration,
    system: Duration,
}

fn cpu() -> Result<Spent, BenchError> {
    let read = |who| {
        getrusage(who).map_err(|error| BenchError::Unexpected(format!("the CPU clock: {error}")))
    };
    let usages = [read(UsageWho::RUSAGE_SELF)?, read(UsageWho::RUSAGE_CHILDREN)?];
    let sum = |time: fn(&Usage) -> TimeVal| {
        let times = usages.iter().map(|usage| time(usage).num_microseconds().unsigned_abs());
        Duration::from_micros(times.sum())
    };
    Ok(Spent { user: sum(Usage::user_time), system: sum(Usage::system_time) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median([]).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn who_begins_changes_from_pair_to_pair() {
        let order = std::cell::RefCell::new(String::new());
        let say = |who: char| {
            order.borrow_mut().push(who);
            let cost = if who == 'o' { 2.0 } else { 1.0 };
            Ok(Cost { wall: cost, cpu: cost / 2.0, user: cost / 4.0 })
        };
        let pairs = pairs(3, || say('o'), || say('p')).unwrap();
        assert_eq!(*order.borrow(), "oppoop");
        let wall = pairs.wall().iter().map(|pair| (pair.ours, pair.peer)).collect::<Vec<_>>();
        assert_eq!(wall, [(2.0, 1.0); 3]);
        assert_eq!(median(pairs.user().iter().map(|pair| pair.ours)).to_bits(), 0.5_f64.to_bits());
        let halves = Pairs::of(&pairs.0, |cost| Cost { wall: cost.wall / 2.0, ..*cost });
        assert_eq!(median(halves.wall().iter().map(|pair| pair.ours)).to_bits(), 1.0_f64.to_bits());
        let cpu = scaled(&pairs.cpu(), 1000.0);
        assert_eq!(median(cpu.iter().map(|pair| pair.peer)).to_bits(), 500.0_f64.to_bits());
    }

    #[test]
    fn work_in_this_process_is_counted() {
        let ((), cost) = cost_of(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(50) {}
            Ok(())
        })
        .unwrap();
        // Other tests of this process count as well.
        assert!(cost.wall >= 0.05 && cost.cpu > 0.0, "{cost:?}");
        assert!(cost.user > 0.0 && cost.user <= cost.cpu, "{cost:?}");
    }
}
