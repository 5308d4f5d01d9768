//! One schedule from its seed to its end: what people run, what goes wrong, what must be true when all is done.

use std::{collections::BTreeSet, panic, thread};

use kdistro_formats::layout;
use kdistro_verify::check::{self, Scope, TrustSource};

use crate::{
    operator::{Act, Operator, Refusal, reason_of},
    process::{Machine, Process, Scene, State},
    release::{Site, name},
    schedule::{Numbers, Script, Turns},
    trace::Trace,
    world::INJECTED,
};

/// Of so many schedules one ends with a stranger who verifies the whole store: that takes as long as all else in it.
const VERIFIED: u64 = 8;

/// What people run: stages of which each is one act, or two at once.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// True when a release was published before, without any fault.
    pub(crate) has_release: bool,
    pub(crate) stages: Vec<Vec<Act>>,
}

impl Plot {
    pub(crate) fn draw(numbers: &mut Numbers) -> Self {
        let has_release = numbers.chance(50);
        let number = if has_release { 2 } else { 1 };
        let plan = |numbers: &mut Numbers| Act::Cut(numbers.below(3) as usize);
        let stages = match numbers.below(20) {
            0..=4 => vec![vec![plan(numbers)]],
            5..=7 => vec![vec![plan(numbers)], vec![plan(numbers)]],
            8..=10 => vec![vec![plan(numbers), plan(numbers)]],
            11 => vec![vec![plan(numbers)], vec![plan(numbers), plan(numbers)]],
            12 => vec![vec![plan(numbers)], vec![Act::Abandon(number)], vec![plan(numbers)]],
            13 => vec![vec![plan(numbers)], vec![plan(numbers), Act::Abandon(number)]],
            14 => vec![vec![plan(numbers)], vec![Act::Yank(1, 0)], vec![plan(numbers)]],
            15 => vec![vec![plan(numbers), Act::Yank(1, 0)]],
            16 => vec![vec![plan(numbers)], vec![Act::Yank(1, 0), Act::Yank(1, numbers.below(2))]],
            17 => return Self::promotion(vec![vec![Act::Promote(1 + numbers.below(2))]]),
            18 => {
                let (first, second) = (1 + numbers.below(2), 1 + numbers.below(2));
                let then = vec![Act::Promote(second), Act::Yank(second, 0)];
                return Self::promotion(vec![vec![Act::Promote(first)], then]);
            }
            _ => {
                let both = vec![Act::Promote(1 + numbers.below(2)), Act::Promote(2)];
                return Self::promotion(vec![both]);
            }
        };
        Self { has_release, stages }
    }

    fn promotion(stages: Vec<Vec<Act>>) -> Self {
        Self { has_release: false, stages }
    }

    fn acts(&self) -> impl Iterator<Item = Act> + use<'_> {
        self.stages.iter().flatten().copied()
    }
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) runs: u32,
    pub(crate) operations: u32,
    pub(crate) killed: u32,
    /// Ended by another fault.
    pub(crate) failed: u32,
    /// Told that somebody else was first.
    pub(crate) refused: u32,
    pub(crate) served: u32,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.operations += other.operations;
        self.killed += other.killed;
        self.failed += other.failed;
        self.refused += other.refused;
        self.served += other.served;
    }
}

/// A schedule that is being played.
pub(crate) struct Play<'a> {
    pub(crate) scene: Scene<'a>,
    pub(crate) machines: Vec<Machine>,
    numbers: Numbers,
    pub(crate) counts: Counts,
}

type Played<T = ()> = Result<T, String>;

/// Plays the schedule of a seed; returns what was done, when that is asked for, and how it ended.
pub(crate) fn play(
    site: &Site,
    before: &[State; 2],
    seed: u64,
    traced: bool,
) -> (String, Played<Counts>) {
    let mut numbers = Numbers::new(seed);
    let plot = Plot::draw(&mut numbers);
    let mut state = before[usize::from(plot.has_release)].clone();
    state.trace = traced.then(Trace::default);
    state.note(|| format!("{plot:?}"));
    let mut play = Play::new(site, state, numbers);
    let is_verified = traced || seed.is_multiple_of(VERIFIED);
    let played = panic::catch_unwind(panic::AssertUnwindSafe(|| play.through(&plot, is_verified)));
    let played = played.unwrap_or_else(|_| Err("it panicked".to_owned()));
    let counts = play.counts;
    let trace = play.scene.look().trace.take();
    (trace.map(Trace::into_text).unwrap_or_default(), played.map(|()| counts))
}

/// The worlds in which schedules begin: an empty one, and one with a release.
///
/// Where not even that can be cut, both are empty: the schedules will tell, each with its seed.
pub(crate) fn beginnings(site: &Site) -> [State; 2] {
    let mut play = Play::new(site, State::default(), Numbers::new(0));
    match play.must(Act::Cut(0)) {
        Ok(()) => [State::default(), play.scene.into_state()],
        Err(_) => [State::default(), State::default()],
    }
}

impl<'a> Play<'a> {
    pub(crate) fn new(site: &'a Site, state: State, numbers: Numbers) -> Self {
        let machines = vec![Machine::new(site), Machine::new(site)];
        Self { scene: Scene::new(site, state), machines, numbers, counts: Counts::default() }
    }

    fn through(&mut self, plot: &Plot, is_verified: bool) -> Played {
        for stage in &plot.stages {
            for _ in 0..=self.numbers.below(3) {
                let scripts = stage.iter().map(|_| Script::draw(&mut self.numbers)).collect();
                if self.attempt(stage, scripts)? {
                    break;
                }
                self.disturb_machines();
            }
        }
        self.finish(plot, is_verified)?;
        self.is_all_announced()?;
        if is_verified { self.verify() } else { Ok(()) }
    }

    /// The next run may be on a new machine, and a machine may have lost what it wrote last.
    fn disturb_machines(&mut self) {
        for at in 0..self.machines.len() {
            match self.numbers.below(4) {
                0 => self.machines[at] = Machine::new(self.scene.site),
                1 => self.machines[at].lose_last_line(self.numbers.chance(50)),
                _ => {}
            }
        }
        if self.numbers.chance(20) {
            self.machines.swap(0, 1);
        }
    }

    /// Runs acts at once; true when all were served.
    pub(crate) fn attempt(&mut self, acts: &[Act], scripts: Vec<Script>) -> Played<bool> {
        let has_space = self.scene.look().world.full == 0;
        let are_faultless = has_space && scripts.iter().all(Script::is_empty);
        let turns = Turns::new(acts.len(), self.numbers.fork());
        let at_once = acts.len() > 1;
        // Neither can go on where another plan's release must be finished first.
        let begun = self.unfinished().map(Act::Cut);
        let are_rivals = acts.iter().all(|act| matches!(act, Act::Cut(_)))
            && begun.is_none_or(|begun| acts.contains(&begun));
        let (scene, first) = (&self.scene, self.counts.runs);
        let run = |at: usize, script: Script| {
            let turns = at_once.then_some((&turns, at));
            let run = first + u32::try_from(at).unwrap();
            let process = Process::new((scene, &self.machines[at]), run, script, turns);
            let served = Operator::new(&process).run(acts[at]);
            (served, process.end())
        };
        let ended: Vec<_> = if at_once {
            thread::scope(|scope| {
                let run = &run;
                let threads = scripts.into_iter().enumerate();
                let threads = threads.map(|(at, script)| scope.spawn(move || run(at, script)));
                let threads: Vec<_> = threads.collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            })
        } else {
            scripts.into_iter().enumerate().map(|(at, script)| run(at, script)).collect()
        };
        let mut served = Vec::new();
        for (act, (ended, (operations, killed))) in acts.iter().zip(ended) {
            self.counts.runs += 1;
            self.counts.operations += operations;
            served.push(self.judge(*act, ended, (killed, at_once))?);
        }
        let one_wins = served.contains(&true) || !are_rivals;
        if at_once && are_faultless && !one_wins {
            return Err(format!("of {acts:?} at once none was served"));
        }
        Ok(served.iter().all(|served| *served))
    }

    /// Whether an act was served; an error when it was not and nothing went wrong.
    fn judge(
        &mut self,
        act: Act,
        ended: Result<(), Refusal>,
        (killed, at_once): (bool, bool),
    ) -> Played<bool> {
        let mut state = self.scene.look();
        if let Some(broken) = state.broken.take() {
            return Err(broken);
        }
        let story = ended.as_ref().err().map(Refusal::story);
        state.note(|| {
            let line = format!("{act:?}: {}", story.as_deref().unwrap_or("served"));
            // The folders of machines are called by chance.
            let machines = self.machines.iter().zip(1..);
            machines.fold(line, |line, (machine, number)| machine.rename(&line, number))
        });
        let counts = &mut self.counts;
        match (ended, story) {
            _ if killed => counts.killed += 1,
            (Err(_), Some(story)) if story.contains(INJECTED) => counts.failed += 1,
            (Err(refusal), _) if refusal.is_about_others(at_once) => counts.refused += 1,
            (Err(_), story) => {
                return Err(format!("{act:?} failed: {}", story.unwrap_or_default()));
            }
            (Ok(()), _) => {
                counts.served += 1;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs something without faults, which must succeed.
    pub(crate) fn must(&mut self, act: Act) -> Played {
        if self.attempt(&[act], vec![Script::default()])? {
            return Ok(());
        }
        Err(format!("{act:?} did not succeed without any fault"))
    }

    /// People finish what they began: an unfinished release first, then all that was wanted. They may cut the newest
    /// once more, and do when something was not announced.
    pub(crate) fn finish(&mut self, plot: &Plot, is_repeated: bool) -> Played {
        self.scene.look().world.full = 0;
        let is_promotion = plot.acts().any(|act| matches!(act, Act::Promote(_)));
        if let Some(plan) = self.unfinished().filter(|_| !is_promotion) {
            self.must(Act::Cut(plan))?;
        }
        for act in plot.acts() {
            match act {
                Act::Cut(plan) if !self.is_listed(plan) => self.must(act)?,
                Act::Promote(number) if !self.is_withheld(number) => self.must(act)?,
                Act::Yank(number, reason) if self.is_offered(number) => {
                    let said = self.reason(number).unwrap_or(reason);
                    self.must(Act::Yank(number, said))?;
                }
                _ => {}
            }
        }
        // Says that nothing changed, and makes up for what was not announced.
        let is_silent = self.is_all_announced().is_err();
        match self.newest_plan().filter(|_| !is_promotion && (is_silent || is_repeated)) {
            Some(plan) => self.must(Act::Cut(plan)),
            None => Ok(()),
        }
    }

    fn unfinished(&self) -> Option<usize> {
        let state = self.scene.look();
        let (number, claim) = state.seen.claims.last_key_value()?;
        let status = state.seen.index.as_ref().map(|index| &index.status);
        let is_known = status.is_some_and(|status| {
            status.releases.iter().any(|release| release.number == *number)
                || status.withheld.iter().any(|withheld| withheld.number == *number)
        });
        (!is_known).then(|| self.scene.site.plan(&claim.plan))
    }

    fn offered(&self) -> Vec<u32> {
        let state = self.scene.look();
        let index = state.seen.index.iter();
        index.flat_map(|index| &index.status.releases).map(|release| release.number).collect()
    }

    fn is_offered(&self, number: u32) -> bool {
        self.offered().contains(&number)
    }

    fn is_listed(&self, plan: usize) -> bool {
        self.offered().iter().any(|number| self.plan_of(*number) == Some(plan))
    }

    fn newest_plan(&self) -> Option<usize> {
        self.plan_of(*self.offered().last()?)
    }

    fn plan_of(&self, number: u32) -> Option<usize> {
        let state = self.scene.look();
        state.seen.claims.get(&number).map(|claim| self.scene.site.plan(&claim.plan))
    }

    fn is_withheld(&self, number: u32) -> bool {
        let state = self.scene.look();
        let index = state.seen.index.as_ref();
        index.is_some_and(|index| index.status.withheld.iter().any(|one| one.number == number))
    }

    /// For which reason a release was yanked.
    fn reason(&self, number: u32) -> Option<u32> {
        let state = self.scene.look();
        let yanked = &state.seen.index.as_ref()?.status.yanked;
        let said = &yanked.iter().find(|yanked| yanked.number == number)?.reason;
        (0..2).find(|reason| reason_of(*reason) == *said)
    }

    /// Everything that is offered was announced, or that it is yanked, with a record of it.
    pub(crate) fn is_all_announced(&self) -> Played {
        let (offered, state) = (self.offered(), self.scene.look());
        let index = state.seen.index.iter();
        let yanked: BTreeSet<_> =
            index.flat_map(|index| &index.status.yanked).map(|yanked| yanked.number).collect();
        let silent = offered.iter().find(|number| {
            let release = name(**number);
            let (told, record) = if yanked.contains(number) {
                (&state.seen.yanked, layout::yank_announcement(&release))
            } else {
                (&state.seen.released, layout::announcement(&release))
            };
            !told.contains_key(number) || !state.world.files.contains_key(&record)
        });
        silent.map_or(Ok(()), |number| Err(format!("nobody was told what became of {number}")))
    }

    /// A stranger verifies the whole store.
    pub(crate) fn verify(&self) -> Played {
        let (offered, state) = (self.offered(), self.scene.look());
        let Some(newest) = offered.last() else { return Ok(()) };
        let source = TrustSource { key: self.scene.site.key(), trusted_root: None };
        let manifest = layout::manifest(&name(*newest));
        let report = check::check(&state.world, &manifest, &source, Scope::All);
        match report.problems.first() {
            None => Ok(()),
            Some(problem) => {
                Err(format!("a stranger finds `{}`: {}\n{report}", problem.file, problem.message))
            }
        }
    }
}
