//! `once` and `run`: look, and roll out what is to be; then tell whoever wants to know.

use std::{
    path::Path,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
};

use kdistro_formats::failure::told;
use kdistro_rollout::{
    decide::Decision,
    history::{Event, History},
    listen::Listening,
    once::{Looked, Once, OnceError},
    policy::Subscriber,
    receive::Outcome as Heard,
    report,
    resource::Resource,
    roll::Outcome,
    tell::{self, notify},
};
use serde_json::json;

use super::{Failure, Program, subscriber};
use crate::log::Log;

/// One cluster, its history, and who is told of it.
struct Watch<'a> {
    program: &'a Program,
    subscriber: Subscriber,
    history: Arc<History>,
    log: Log,
}

impl Program {
    /// Looks once.
    pub(super) fn once(&self, config: &Path) -> Result<ExitCode, Failure> {
        self.watch(config)?.look().map(|looked| code(&looked))
    }

    /// Looks whenever something is heard, as often as the subscriber's file says, and when a window opens or a turn comes that
    /// was waited for. What fails is said, and tried again at the next look.
    pub(super) fn run_on(&self, config: &Path) -> Result<ExitCode, Failure> {
        let watch = self.watch(config)?;
        let Watch { subscriber, history, log, .. } = &watch;
        let pause = subscriber.hear.poll.as_duration().unsigned_abs();
        let mut listening =
            Listening::start(subscriber, history, (self.proxy.as_deref(), self.now))?;
        let mut wake = history.wake();
        loop {
            let looked = watch.look();
            listening.looked(if looked.is_ok() { Heard::Done } else { Heard::Later });
            let until = match looked {
                Ok(Looked::Decided(decision)) => decision.until(),
                Ok(Looked::Rolled(..)) => None,
                Err(error) => {
                    log.error(&told(&*error));
                    None
                }
            };
            let mut is_due =
                || wake.is_called() || until.is_some_and(|until| (self.now)() >= until);
            listening.wait(pause, &mut is_due, &mut |text| log.note(text));
        }
    }

    fn watch(&self, config: &Path) -> Result<Watch<'_>, Failure> {
        let subscriber = subscriber(config)?;
        let log = Log { cluster: Some(subscriber.cluster.clone()), ..self.log() };
        let history = Arc::new(self.open(Some(&subscriber))?);
        Ok(Watch { program: self, subscriber, history, log })
    }
}

impl Watch<'_> {
    /// Looks once, says what came of it, and tells others.
    fn look(&self) -> Result<Looked, Failure> {
        let looked = self.run();
        self.tell();
        let looked = looked?;
        let why = looked.to_string();
        let (outcome, release) = match &looked {
            Looked::Rolled(name, Outcome::Kept) => ("kept", Some(name.to_string())),
            Looked::Rolled(name, Outcome::RolledBack(_)) => ("rolled-back", Some(name.to_string())),
            Looked::Rolled(name, Outcome::Failed(_)) => ("failed", Some(name.to_string())),
            Looked::Decided(_) => ("decided", None),
        };
        let value = json!({"outcome": outcome, "release": release, "why": why});
        self.program.print(&value, &format!("{why}\n"))?;
        Ok(looked)
    }

    /// Looks once, and meanwhile writes the `Rollout` of the cluster whenever something happens: beside the roll-out, which
    /// waits for nobody.
    fn run(&self) -> Result<Looked, OnceError> {
        // While it is written anything more that happens is one reason to write it again.
        let (wake, woken) = mpsc::sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(move || {
                for () in woken {
                    // The API server may be on its way from one release to the next. At the end it is said.
                    let _ = self.write_resource();
                }
            });
            let mut say = move |event: &Event| {
                self.log.event(event);
                let _ = wake.try_send(());
            };
            let mut once = Once {
                subscriber: &self.subscriber,
                history: &self.history,
                now: &self.program.now,
                say: &mut say,
                proxy: self.program.proxy.clone(),
            };
            once.run()
        })
    }

    /// Notifies and reports, unless another process has the turn and so will. What fails hinders nothing: it is said, and
    /// tried again after the next look.
    fn tell(&self) {
        let Ok(_turn) = self.history.turn() else { return };
        let Subscriber { cluster, notify, .. } = &self.subscriber;
        let proxy = self.program.proxy.as_deref();
        let mut say = |text: &str| self.log.note(text);
        let receivers = notify::receivers(notify, proxy);
        if let Err(error) = notify::send(&self.history, cluster, &receivers, &mut say) {
            say(&format!("nobody was notified: {}", told(&error)));
        }
        if let Err(error) = self.write_resource() {
            say(&format!("the Rollout of the cluster is not as things stand: {}", told(&*error)));
        }
        let reported = report::report(&self.history, &self.subscriber, (self.program.now)());
        if let Err(error) = reported {
            say(&format!("there is no new report: {}", told(&error)));
        }
    }

    /// Writes the `Rollout` of the cluster, where one is wanted.
    fn write_resource(&self) -> Result<(), Failure> {
        let Some(resource) = Resource::of(&self.subscriber)? else { return Ok(()) };
        let standing = self.history.standing(tell::EVENTS)?;
        Ok(resource.write(&standing, (self.program.now)())?)
    }
}

fn code(looked: &Looked) -> ExitCode {
    match looked {
        Looked::Rolled(_, Outcome::RolledBack(_) | Outcome::Failed(_))
        | Looked::Decided(Decision::Alarm { .. }) => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    }
}
