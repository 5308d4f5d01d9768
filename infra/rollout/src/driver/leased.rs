//! A driver whose cluster is leased: nobody else changes it meanwhile.

use jiff::Timestamp;

use super::{Driver, DriverError};
use crate::{
    history::Target,
    lease::{LENGTH, Lease, LeaseError},
    plan::Step,
};

/// A driver whose cluster is leased as long as it is there.
pub struct Leased<'a> {
    driver: Box<dyn Driver + 'a>,
    lease: Lease,
    now: &'a dyn Fn() -> Timestamp,
    /// When the lease was taken last.
    taken: Timestamp,
}

impl<'a> Leased<'a> {
    /// Takes the lease for a driver that begins.
    pub fn begin(
        driver: Box<dyn Driver + 'a>,
        lease: Lease,
        now: &'a dyn Fn() -> Timestamp,
    ) -> Result<Self, LeaseError> {
        let taken = now();
        lease.take(taken)?;
        Ok(Self { driver, lease, now, taken })
    }

    /// Takes the lease for a driver that goes on. That it cannot be had is an error only where somebody else has it.
    pub fn go_on(
        driver: Box<dyn Driver + 'a>,
        lease: Lease,
        now: &'a dyn Fn() -> Timestamp,
    ) -> Result<Self, LeaseError> {
        let taken = now();
        unless_held(lease.take(taken))?;
        Ok(Self { driver, lease, now, taken })
    }
}

/// A cluster that is between two releases may not be able to answer: that is no reason to leave it there.
fn unless_held(taken: Result<(), LeaseError>) -> Result<(), LeaseError> {
    if matches!(taken, Err(LeaseError::Held { .. })) { taken } else { Ok(()) }
}

impl Driver for Leased<'_> {
    fn steps(&self, from: &Target, to: &Target) -> Result<Vec<Step>, DriverError> {
        self.driver.steps(from, to)
    }

    fn carry_out(&mut self, step: Step, to: &Target) -> Result<(), DriverError> {
        let now = (self.now)();
        // Long before it runs out, and not at each step: that is two calls of kubectl.
        if now.duration_since(self.taken) > LENGTH / 3 {
            unless_held(self.lease.take(now))?;
            self.taken = now;
        }
        self.driver.carry_out(step, to)
    }

    fn gate(&self, step: Step) -> Result<(), DriverError> {
        self.driver.gate(step)
    }

    fn restore(&mut self, from: &Target, to: &Target) -> Result<(), DriverError> {
        self.driver.restore(from, to)
    }

    fn check(&mut self, runs: &Target) -> Result<(), DriverError> {
        self.driver.check(runs)
    }

    fn keep(&mut self, runs: &Target) -> Result<(), DriverError> {
        self.driver.keep(runs)
    }
}

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        // Where this fails, others wait until it has run out.
        let _ = self.lease.give_back((self.now)());
    }
}
