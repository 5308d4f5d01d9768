//! A driver whose cluster is leased: nobody else changes it meanwhile.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{Driver, DriverError};
use crate::{
    history::Target,
    lease::{LENGTH, Lease, LeaseError},
    plan::Step,
};

/// How often a lease is renewed: long before it runs out.
pub const RENEWED: Duration = Duration::from_secs(LENGTH.as_secs().unsigned_abs() / 3);

/// A driver whose cluster is leased as long as it is there.
pub struct Leased<'a> {
    driver: Box<dyn Driver + 'a>,
    renewing: Renewing,
}

impl<'a> Leased<'a> {
    /// Takes the lease for a driver that begins, and renews it every so often.
    pub fn begin(
        driver: Box<dyn Driver + 'a>,
        lease: Lease,
        (now, every): (Timestamp, Duration),
    ) -> Result<Self, LeaseError> {
        lease.take(now)?;
        Ok(Self { driver, renewing: Renewing::start(lease, now, every) })
    }

    /// Takes the lease for a driver that goes on. That it cannot be had is an error only where somebody else has it: a cluster
    /// that is between two releases may not be able to answer, and that is no reason to leave it there.
    pub fn go_on(
        driver: Box<dyn Driver + 'a>,
        lease: Lease,
        (now, every): (Timestamp, Duration),
    ) -> Result<Self, LeaseError> {
        match lease.take(now) {
            Err(held @ LeaseError::Held { .. }) => Err(held),
            _ => Ok(Self { driver, renewing: Renewing::start(lease, now, every) }),
        }
    }
}

impl Driver for Leased<'_> {
    fn steps(&self, from: &Target, to: &Target) -> Result<Vec<Step>, DriverError> {
        self.driver.steps(from, to)
    }

    fn carry_out(&mut self, step: Step, to: &Target) -> Result<(), DriverError> {
        self.renewing.check()?;
        self.driver.carry_out(step, to)
    }

    fn gate(&self, step: Step) -> Result<(), DriverError> {
        self.renewing.check()?;
        self.driver.gate(step)
    }

    fn restore(&mut self, from: &Target, to: &Target) -> Result<(), DriverError> {
        self.renewing.check()?;
        self.driver.restore(from, to)
    }

    fn revive(&mut self, from: &Target) -> Result<(), DriverError> {
        self.renewing.check()?;
        self.driver.revive(from)
    }

    fn check(&mut self, runs: &Target) -> Result<(), DriverError> {
        self.renewing.check()?;
        self.driver.check(runs)
    }

    fn keep(&mut self, runs: &Target) -> Result<(), DriverError> {
        self.renewing.check()?;
        self.driver.keep(runs)
    }
}

/// Renews a lease while others work, also through a step that takes hours, until it is dropped: then it is given back.
///
/// The time is that of the beginning and what has passed since then: a clock that is put back or forth changes nothing.
struct Renewing {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
    /// Who has it instead.
    lost: Arc<Mutex<Option<Other>>>,
}

/// Who took the lease away, as [`LeaseError::Held`] has it.
#[derive(Clone)]
struct Other {
    holder: String,
    until: Timestamp,
    namespace: String,
}

impl Renewing {
    fn start(lease: Lease, now: Timestamp, every: Duration) -> Self {
        let (begin, (stop, stopped)) = (Instant::now(), mpsc::channel());
        let lost = Arc::<Mutex<Option<Other>>>::default();
        let found = Arc::clone(&lost);
        let thread = thread::spawn(move || {
            let time = || {
                let passed = SignedDuration::try_from(begin.elapsed()).unwrap_or_default();
                now.checked_add(passed).unwrap_or(now)
            };
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                // A cluster that cannot answer is asked again.
                if let Err(LeaseError::Held { holder, until, namespace }) = lease.take(time()) {
                    let other = Other { holder, until, namespace };
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(other);
                    return;
                }
            }
            // Where this fails, others wait until it has run out.
            let _ = lease.give_back(time());
        });
        Self { stop, thread: Some(thread), lost }
    }

    /// Refuses to go on where somebody else has the lease.
    fn check(&self) -> Result<(), LeaseError> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Other { holder, until, namespace }) = lost else { return Ok(()) };
        Err(LeaseError::Held { holder, until, namespace })
    }
}

impl Drop for Renewing {
    fn drop(&mut self) {
        // It has ended where it lost the lease.
        let _ = self.stop.send(());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
