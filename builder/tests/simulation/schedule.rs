//! What happens when: everything follows from a seed, also whose turn it is of two who publish at once.

use std::sync::{Condvar, Mutex};

/// Numbers that follow from a seed.
///
/// Source: `SplitMix64`, Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end.max(1))).unwrap()
    }

    /// True `percent` times out of a hundred.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// Other numbers, which follow from these.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

/// What goes wrong with the operations of one process, counted from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// Refused before it took effect.
    pub(crate) refused: Option<u32>,
    /// Done, but the answer is lost.
    pub(crate) lost: Option<u32>,
    /// The process is killed before (false) or after (true).
    pub(crate) killed: Option<(u32, bool)>,
    /// From this operation on so many files do not fit into the store.
    pub(crate) full: Option<(u32, u32)>,
}

/// More operations than a release takes.
const LONGEST: u32 = 260;

impl Script {
    /// What goes wrong with a process that starts now: mostly one thing, at any operation; sometimes nothing.
    pub(crate) fn draw(numbers: &mut Numbers) -> Self {
        let mut script = Self::default();
        // Some commands are short.
        let length = [LONGEST, LONGEST, 60][numbers.below(3) as usize];
        let at = |numbers: &mut Numbers| numbers.below(length);
        match numbers.below(10) {
            0..=2 => script.killed = Some((at(numbers), false)),
            3..=5 => script.killed = Some((at(numbers), true)),
            6 => script.refused = Some(at(numbers)),
            7 => script.lost = Some(at(numbers)),
            8 => script.full = Some((at(numbers), 1 + numbers.below(5))),
            _ => {}
        }
        script
    }
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    Refused,
    Lost,
    KilledBefore,
    KilledAfter,
}

impl Script {
    /// True when nothing goes wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.refused.is_none()
            && self.lost.is_none()
            && self.killed.is_none()
            && self.full.is_none()
    }

    pub(crate) fn fate(&self, step: u32) -> Fate {
        match self.killed {
            Some((at, false)) if at == step => return Fate::KilledBefore,
            Some((at, true)) if at == step => return Fate::KilledAfter,
            _ => {}
        }
        if self.refused == Some(step) {
            Fate::Refused
        } else if self.lost == Some(step) {
            Fate::Lost
        } else {
            Fate::Done
        }
    }
}

/// Takes turns: of several threads one runs, until its next operation.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    threads: Vec<Status>,
    numbers: Numbers,
    /// How many more operations the thread that runs does before another may.
    patience: u32,
    last: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Runs,
    Waits,
    Ended,
}

impl Turns {
    pub(crate) fn new(threads: usize, numbers: Numbers) -> Self {
        let state = State { threads: vec![Status::Runs; threads], numbers, patience: 0, last: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits until it is this thread's turn.
    pub(crate) fn wait(&self, thread: usize) {
        let mut state = self.state.lock().unwrap();
        state.threads[thread] = Status::Waits;
        state.choose();
        self.changed.notify_all();
        while state.threads[thread] == Status::Waits {
            state = self.changed.wait(state).unwrap();
        }
    }

    /// Says that this thread does nothing any more.
    pub(crate) fn end(&self, thread: usize) {
        let mut state = self.state.lock().unwrap();
        state.threads[thread] = Status::Ended;
        state.choose();
        self.changed.notify_all();
    }
}

impl State {
    /// Lets one go on, once none runs: mostly the same, so that all lengths of a head start are tried.
    fn choose(&mut self) {
        if self.threads.contains(&Status::Runs) {
            return;
        }
        let waiting: Vec<_> =
            (0..self.threads.len()).filter(|at| self.threads[*at] == Status::Waits).collect();
        let Some(most) = u32::try_from(waiting.len()).ok().filter(|most| *most > 0) else { return };
        if self.patience == 0 || !waiting.contains(&self.last) {
            self.last = waiting[self.numbers.below(most) as usize];
            self.patience = [0, 0, 1, 5, 40][self.numbers.below(5) as usize];
        } else {
            self.patience -= 1;
        }
        self.threads[self.last] = Status::Runs;
    }
}
