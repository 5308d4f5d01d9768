//! What people run, with the publisher's own functions in the order of the commands: a cut (`cut.rs`), a promotion
//! (`promote/`), and the commands `yank` and `abandon`.

use std::error::Error;

use kdistro::{
    cut::CutError,
    journal::Journal,
    publish::{
        Offer, PublishError, Publisher,
        number::{self, NumberError, State},
        yank::YankError,
    },
    sign::{Signing, log::Log},
};
use kdistro_border::Store;
use kdistro_formats::{
    ReleaseName,
    channel::Withheld,
    claim::Claim,
    release::ReleaseRef,
    statement::{TestResult, TestVerdict},
};

use crate::{
    process::Process,
    release::{ENVIRONMENT, Made, ORIGIN, URL, name},
};

/// Something that somebody runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Cuts a release by one of the plans.
    Cut(usize),
    /// Promotes a release that was cut elsewhere.
    Promote(u32),
    /// Yanks a release, for one of several reasons.
    Yank(u32, u32),
    /// Gives a number up.
    Abandon(u32),
}

/// Why somebody was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Cut(#[from] CutError),
    #[error(transparent)]
    Yank(#[from] YankError),
    #[error("release {0} is withheld already")]
    Passed(u32),
    #[error("{0} was not claimed")]
    NotClaimed(u32),
    #[error("{0} is published: it cannot be abandoned")]
    IsPublished(u32),
}

impl Refusal {
    /// True for what one of two is told who do at once, or after each other, what excludes each other.
    pub(crate) fn is_about_others(&self, at_once: bool) -> bool {
        match self {
            Self::Passed(_) | Self::NotClaimed(_) | Self::IsPublished(_) => true,
            Self::Yank(error) => !matches!(error, YankError::Publish(_)),
            Self::Cut(CutError::Number(error) | CutError::Publish(PublishError::Number(error))) => {
                match error {
                    NumberError::Unfinished { .. } => true,
                    NumberError::Taken(_) => at_once,
                    NumberError::Store(_)
                    | NumberError::Claim { .. }
                    | NumberError::Foreign { .. } => false,
                }
            }
            Self::Cut(CutError::Publish(PublishError::Settled { .. })) => at_once,
            Self::Cut(_) => false,
        }
    }

    /// The whole story in one line.
    pub(crate) fn story(&self) -> String {
        let (mut text, mut source) = (self.to_string(), self.source());
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }
}

macro_rules! through_a_cut {
    ($($error:ty),*) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::Cut(error.into())
            }
        })*
    };
}

through_a_cut!(
    NumberError,
    PublishError,
    kdistro::publish::announce::AnnouncementError,
    kdistro::journal::JournalError,
    kdistro_border::StoreError
);

type Served = Result<(), Refusal>;

/// Somebody at a machine.
pub(crate) struct Operator<'a> {
    process: &'a Process<'a>,
    signing: Signing<'a>,
}

impl<'a> Operator<'a> {
    pub(crate) fn new(process: &'a Process<'a>) -> Self {
        let site = process.scene.site;
        let log = Log {
            store: process,
            origin: ORIGIN,
            signer: site.keys.log.as_ref(),
            head: process.machine.head(),
        };
        Self { process, signing: Signing { signer: site.keys.release.as_ref(), log } }
    }

    pub(crate) fn run(&self, act: Act) -> Served {
        match act {
            Act::Cut(plan) => self.cut(plan),
            Act::Promote(number) => self.promote(number),
            Act::Yank(number, reason) => self.yank(&name(number), &reason_of(reason)),
            Act::Abandon(number) => self.abandon(&name(number)),
        }
    }

    fn publisher(&self) -> Publisher<'_> {
        let site = self.process.scene.site;
        Publisher {
            store: self.process,
            registry: self.process,
            content: &site.content,
            elsewhere: &site.nowhere,
            at_once: 1,
            signing: &self.signing,
            environment: ENVIRONMENT,
            reporter: &site.reporter,
        }
    }

    fn journal(&self, number: u32) -> Result<Journal, Refusal> {
        Ok(Journal::open(&self.process.machine.journal(number))?)
    }

    /// `Cutting::unchanged`, then `Cutting::release`.
    fn cut(&self, plan: usize) -> Served {
        if let State::Unchanged(_) = self.state(plan)? {
            return self.announce();
        }
        self.announce()?;
        let claim = self.claim(plan)?;
        self.release(&self.process.scene.site.make(claim), &[])?;
        self.announce()
    }

    pub(crate) fn release(&self, made: &Made, skipped: &[Withheld]) -> Served {
        let site = self.process.scene.site;
        let (keys, channel) = (&site.keys, &site.channel);
        let offer = Offer { keys, channel, topic: None, skipped };
        let mut journal = self.journal(made.claim.header.number)?;
        let publisher = self.publisher();
        let published = publisher.publish(&site.ready(made), &offer, &mut journal)?;
        publisher.offer(&published, &offer, &mut journal)?;
        Ok(())
    }

    /// As a cut, with a gate that comes to `verdict` whenever it is asked: `AtGate::judge` between publishing and offering.
    pub(crate) fn cut_through_gate(&self, plan: usize, verdict: TestVerdict) -> Served {
        self.announce()?;
        if let State::Unchanged(_) = self.state(plan)? {
            return Ok(());
        }
        let site = self.process.scene.site;
        let made = site.make(self.claim(plan)?);
        let offer = Offer { keys: &site.keys, channel: &site.channel, topic: None, skipped: &[] };
        let mut journal = self.journal(made.claim.header.number)?;
        let publisher = self.publisher();
        let published = publisher.publish(&site.ready(&made), &offer, &mut journal)?;
        let known = match publisher.tested(&published)? {
            Some(known) => known,
            None => publisher.write_tested(&published, &tests(verdict), &mut journal)?,
        };
        if known.result == TestVerdict::Failed {
            let channel = (&site.channel, None);
            publisher.abandon(&published.name, "failed at the gate", channel, &mut journal)?;
            return Ok(());
        }
        publisher.offer(&published, &offer, &mut journal)?;
        self.announce()
    }

    fn state(&self, plan: usize) -> Result<State, Refusal> {
        let site = self.process.scene.site;
        let (channel, plan) = (&site.channel.channel, &site.plans[plan].digest);
        let index = self.publisher().index(channel)?.map(|current| current.index);
        Ok(number::state(self.process, channel, index.as_ref(), plan)?)
    }

    /// `Cutting::claim`.
    pub(crate) fn claim(&self, plan: usize) -> Result<Claim, Refusal> {
        let (number, previous) = match self.state(plan)? {
            State::Resume(claim) | State::Unchanged(claim) => return Ok(claim),
            State::Free { number, previous } => (number, previous),
        };
        // Two who begin at once may do so in the same second.
        let date = format!("2026-08-01T00:00:{:02}Z", self.process.run % 3);
        Ok(self.process.scene.site.claim(plan, (number, previous), date))
    }

    /// `Cutting::announce`.
    pub(crate) fn announce(&self) -> Served {
        let site = self.process.scene.site;
        let announcer = (self.process as &dyn kdistro_border::Announcer, URL);
        self.publisher().announce_all(&site.channel.channel, announcer)?;
        Ok(())
    }

    /// `Promoting::skipped`, then `Promoting::carry_out`.
    fn promote(&self, number: u32) -> Served {
        let site = self.process.scene.site;
        let there = self.publisher().index(&site.channel.channel)?;
        let status = there.map(|current| current.index.status);
        let withheld = || status.iter().flat_map(|status| &status.withheld);
        if withheld().any(|withheld| withheld.number == number) {
            return Err(Refusal::Passed(number));
        }
        let released = || status.iter().flat_map(|status| &status.releases);
        let mut skipped = Vec::new();
        let cut = site.cut_elsewhere();
        for made in &cut {
            let ReleaseRef { number: other, digest } = made.reference();
            let is_known = withheld().any(|withheld| withheld.number == other)
                || released().any(|released| released.number == other);
            if other < number && !is_known {
                let reason = "was not promoted".to_owned();
                skipped.push(Withheld { number: other, digest: Some(digest), reason });
            }
        }
        for made in cut.iter().filter(|made| made.claim.header.number == number) {
            self.release(made, &skipped)?;
        }
        self.announce()
    }

    /// The command `yank`.
    fn yank(&self, release: &ReleaseName, reason: &str) -> Served {
        let site = self.process.scene.site;
        let publisher = self.publisher();
        let mut journal = self.journal(release.number)?;
        publisher.yank(release, reason, (&site.channel, None), &mut journal)?;
        self.announce()
    }

    /// The command `abandon`.
    fn abandon(&self, release: &ReleaseName) -> Served {
        let site = self.process.scene.site;
        let store: &dyn Store = self.process;
        let publisher = self.publisher();
        let number = release.number;
        if number::read_claim(store, release)?.is_none() {
            return Err(Refusal::NotClaimed(number));
        }
        let current = publisher.index(&release.channel)?;
        let mut released = current.iter().flat_map(|current| &current.index.status.releases);
        if released.any(|offered| offered.number == number) {
            return Err(Refusal::IsPublished(number));
        }
        let mut journal = self.journal(number)?;
        publisher.publish_keys(&site.keys, &mut journal)?;
        let channel = (&site.channel, None);
        publisher.abandon(release, "given up", channel, &mut journal)?;
        Ok(())
    }
}

fn tests(result: TestVerdict) -> TestResult {
    TestResult {
        result,
        configuration: Vec::new(),
        url: None,
        passed_tests: Vec::new(),
        warned_tests: Vec::new(),
        failed_tests: Vec::new(),
    }
}

/// One of several reasons.
pub(crate) fn reason_of(reason: u32) -> String {
    format!("reason {reason}")
}
