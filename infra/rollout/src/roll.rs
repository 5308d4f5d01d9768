//! Rolls a release out step by step, and back when anything fails. What is done is written down before the next step
//! begins, so that a run that is killed is gone on with.

use std::{error::Error, fmt::Write as _};

use jiff::Timestamp;
use kdistro_verify::check::chain;

use crate::{
    check::{CheckError, Checks, When, broken, counted},
    driver::{Driver, DriverError},
    history::{Change, Direction, Event, Held, History, HistoryError, Target, UnderWay, What},
    plan,
};

/// What a roll-out came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The release runs and is kept.
    Kept,
    /// It failed, and the release before runs again: why.
    RolledBack(String),
    /// It failed, and there was none before: why.
    Failed(String),
}

/// A roll-out that did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// The history cannot be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// It cannot begin.
    #[error("cannot roll out {release}")]
    Begin {
        /// The release.
        release: String,
        /// Why.
        source: DriverError,
    },
    /// Nobody can tell how the cluster is, for a reason that says nothing of the release.
    #[error("cannot check the cluster for the roll-out of {release}")]
    Unchecked {
        /// The release.
        release: String,
        /// Why.
        source: CheckError,
    },
    /// It cannot go on now, for a reason that says nothing of the release.
    #[error("the roll-out of {release} cannot go on; a later look does")]
    Interrupted {
        /// The release.
        release: String,
        /// Why.
        source: DriverError,
    },
    /// Going back failed too: the cluster is neither here nor there.
    #[error(
        "cannot take {what} back to {release}\nhelp:  mend the cluster, then run this again: it goes on from there"
    )]
    Stuck {
        /// What was to go back.
        what: String,
        /// The release that was to run again.
        release: String,
        /// Why.
        source: DriverError,
    },
}

/// One cluster, its history, and the time.
pub struct Roller<'a> {
    /// Changes the cluster.
    pub driver: &'a mut dyn Driver,
    /// What happened to it.
    pub history: &'a History,
    /// Tells the time.
    pub now: &'a dyn Fn() -> Timestamp,
    /// Is told of each event.
    pub say: &'a mut dyn FnMut(&Event),
    /// What must pass after a roll-out where it did before.
    pub checks: Option<&'a Checks>,
}

impl Roller<'_> {
    /// Rolls a release out over the one that runs.
    pub fn roll_out(&mut self, from: &Target, to: &Target) -> Result<Outcome, RollError> {
        let steps = self.driver.steps(from, to);
        let steps =
            steps.map_err(|source| RollError::Begin { release: to.name.to_string(), source })?;
        let mut text = format!("{} steps from {}", steps.len(), from.name);
        // Before the first release there is nothing to check.
        if let Some(checks) = self.checks.filter(|_| from != to) {
            self.write(
                to,
                (What::Checking, format!("what passes on {} must pass on it", from.name)),
                &Change::Nothing,
            )?;
            let report = checks.run(from).map_err(|source| unchecked(to, source))?;
            let kept = checks.keep(&report, (to, When::Before));
            kept.map_err(|source| unchecked(to, source))?;
            let _ = write!(text, "; before it {}", counted(&report));
            self.history.check(&report)?;
        }
        let (from, to) = (from.clone(), to.clone());
        let under_way = UnderWay { from, to, steps, done: 0, direction: Direction::Forward };
        self.write(&under_way.to, (What::Began, text), &Change::UnderWay(&under_way))?;
        self.go_on(under_way)
    }

    /// Goes on with the roll-out that has not ended, where there is one.
    pub fn resume(&mut self) -> Result<Option<Outcome>, RollError> {
        let Some(under_way) = self.history.under_way()? else { return Ok(None) };
        let text = match &under_way.direction {
            Direction::Forward => {
                format!("{} of {} steps are done", under_way.done, under_way.steps.len())
            }
            Direction::Back(why) => format!("going back, because {why}"),
        };
        self.write(&under_way.to, (What::Resumed, text), &Change::Nothing)?;
        self.go_on(under_way).map(Some)
    }

    fn go_on(&mut self, mut under_way: UnderWay) -> Result<Outcome, RollError> {
        if under_way.direction == Direction::Forward {
            match self.forward(&mut under_way)? {
                Ok(text) => {
                    let to = &under_way.to;
                    self.write(to, (What::Kept, text), &Change::Runs(to))?;
                    return Ok(Outcome::Kept);
                }
                Err(why) => self.turn_back(&mut under_way, why)?,
            }
        }
        self.back(under_way)
    }

    /// Gives up the roll-out that is under way, where it has not failed yet: [`Roller::resume`] takes it back.
    pub fn give_up(&mut self, why: String) -> Result<(), RollError> {
        match self.history.under_way()? {
            Some(mut under_way) if under_way.direction == Direction::Forward => {
                self.turn_back(&mut under_way, why)
            }
            _ => Ok(()),
        }
    }

    fn turn_back(&mut self, under_way: &mut UnderWay, why: String) -> Result<(), RollError> {
        under_way.direction = Direction::Back(why.clone());
        // The step that failed was begun.
        under_way.done = under_way.steps.len().min(under_way.done + 1);
        let change = Change::UnderWay(under_way);
        self.write(&under_way.to, (What::Failed, why), &change)
    }

    /// Does the steps that are left, and looks whether the cluster works; returns what is to be said of that, or what
    /// failed.
    fn forward(&mut self, under_way: &mut UnderWay) -> Result<Result<String, String>, RollError> {
        while let Some(&step) = under_way.steps.get(under_way.done) {
            let done = self.driver.carry_out(step, &under_way.to);
            if let Err(error) = done.and_then(|()| self.driver.gate(step)) {
                let error = unless_interrupted(error, &under_way.to)?;
                return Ok(Err(format!("{step}: {}", chain(&error))));
            }
            under_way.done += 1;
            let text = format!("{step} ({} of {})", under_way.done, under_way.steps.len());
            self.write(&under_way.to, (What::Step, text), &Change::UnderWay(under_way))?;
        }
        let failed = |error: &dyn Error| Ok(Err(format!("check: {}", chain(error))));
        let to = &under_way.to;
        if let Err(error) = self.driver.check(to) {
            return failed(&unless_interrupted(error, to)?);
        }
        let mut text = "the cluster runs it".to_owned();
        if let Some(checks) = self.checks {
            let after = match checks.run(to) {
                Ok(after) => after,
                Err(error) if error.is_of_cluster() => return failed(&error),
                Err(source) => return Err(unchecked(to, source)),
            };
            let kept = checks.keep(&after, (to, When::After));
            // What they came to counts, whether it can be kept or not.
            if let Some(why) = broken(self.history.checked()?.as_ref(), &after) {
                return Ok(Err(format!("check: {why}")));
            }
            kept.map_err(|source| unchecked(to, source))?;
            let _ = write!(text, "; {}", counted(&after));
        }
        let kept = self.driver.keep(to).map(|()| Ok(text));
        // The cluster does its work: that nobody can take note of it is no fault of the release.
        kept.map_err(|source| RollError::Interrupted { release: to.name.to_string(), source })
    }

    /// Undoes the steps that were begun, the last first, and holds the release.
    fn back(&mut self, mut under_way: UnderWay) -> Result<Outcome, RollError> {
        let Direction::Back(why) = under_way.direction.clone() else { return Ok(Outcome::Kept) };
        let from = under_way.from.clone();
        if from == under_way.to {
            return self.leave(&from, why);
        }
        let begun = under_way.steps.get(..under_way.done).unwrap_or_default();
        if begun.iter().any(|step| plan::writes(*step)) {
            let restored = self.driver.restore(&from, &under_way.to);
            restored.map_err(|source| stuck("etcd's content", &from, source))?;
        }
        while let Some(index) = under_way.done.checked_sub(1) {
            let undone = under_way.steps.get(index).copied().and_then(plan::undo);
            if let Some(step) = undone {
                let done = self.driver.carry_out(step, &from);
                done.and_then(|()| self.driver.gate(step))
                    .map_err(|source| stuck(&step.to_string(), &from, source))?;
            }
            under_way.done = index;
            if let Some(step) = undone {
                let text = format!("{step} is back ({index} left)");
                self.write(&under_way.to, (What::Step, text), &Change::UnderWay(&under_way))?;
            }
        }
        let to = &under_way.to;
        let well = self.driver.revive(&from).and_then(|()| self.driver.check(&from));
        well.and_then(|()| self.driver.keep(&from))
            .map_err(|source| stuck("the cluster", &from, source))?;
        let (release, since) = (to.name.clone(), (self.now)());
        let held = Held { release, since, why: why.clone(), failed: true };
        let is_held = |other: &Held| other.failed && other.release == to.name && other.why == why;
        // A run that was killed here has said so.
        if !self.history.held()?.iter().any(is_held) {
            self.write(to, (What::Held, why.clone()), &Change::Hold(&held))?;
        }
        let text = format!("{} runs again", from.name);
        self.write(to, (What::RolledBack, text), &Change::Runs(&from))?;
        Ok(Outcome::RolledBack(why))
    }

    /// Leaves the first release of a cluster, of which nothing ran before that could run again.
    fn leave(&mut self, first: &Target, why: String) -> Result<Outcome, RollError> {
        let held = Held {
            release: first.name.clone(),
            since: (self.now)(),
            why: why.clone(),
            failed: true,
        };
        self.write(first, (What::Held, why.clone()), &Change::Leave(&held))?;
        Ok(Outcome::Failed(why))
    }

    fn write(
        &mut self,
        release: &Target,
        (what, text): (What, String),
        change: &Change<'_>,
    ) -> Result<(), RollError> {
        let event = Event { at: (self.now)(), release: Some(release.name.clone()), what, text };
        self.history.write(&event, change)?;
        (self.say)(&event);
        Ok(())
    }
}

fn unchecked(to: &Target, source: CheckError) -> RollError {
    RollError::Unchecked { release: to.name.to_string(), source }
}

/// The error, where it says something of the release.
fn unless_interrupted(source: DriverError, to: &Target) -> Result<DriverError, RollError> {
    if source.is_no_verdict() {
        return Err(RollError::Interrupted { release: to.name.to_string(), source });
    }
    Ok(source)
}

fn stuck(what: &str, from: &Target, source: DriverError) -> RollError {
    match unless_interrupted(source, from) {
        Ok(source) => {
            let (what, release) = (what.to_owned(), from.name.to_string());
            RollError::Stuck { what, release, source }
        }
        Err(interrupted) => interrupted,
    }
}
