//! Notifies others of what happened: kept, rolled back, held, alarms.
//!
//! Notices wait in the history until they are sent, so that none is lost with the process. One that fails is tried again
//! after the next look, and given up in the end: whoever must not miss anything looks at the page or the metrics.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use kdistro_border::{Announcer, WebhookAnnouncer, WebhookError};
use kdistro_formats::canonical::{self, CanonicalError};
use kdistro_formats::failure::told;
use kdistro_verify::{check::chain, hash::sha256};
use serde::Serialize;
use serde_json::json;

use crate::{
    history::{History, HistoryError, Notice, Sent},
    policy::{Notify, NotifySns, NotifyWebhook},
};

/// The form of a notice.
const SCHEMA: &str = "kdistro.dev/notice/v1";
/// How often a notice is tried before it is given up: with a look every 5 minutes, for 8 hours.
const MOST_TRIES: u32 = 100;

/// Somebody who cannot be notified.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The secret cannot be read.
    #[error("cannot read the secret {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The address or the secret is of no use.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// This program was built without AWS.
    #[error(
        "this kdistro-rollout was built without AWS, which `notify.sns` needs\nhelp:  build it with `cargo build --release -p kdistro-rollout --features aws`"
    )]
    WithoutAws,
    /// AWS cannot be used.
    #[error("cannot use AWS")]
    Aws(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where notices are sent, or why they cannot be.
pub type Receiver = Result<Box<dyn Announcer>, NotifyError>;
/// Everybody who is notified, by a name for them.
pub type Receivers = BTreeMap<&'static str, Receiver>;

/// What a receiver's program reads.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    cluster: &'a str,
    #[serde(flatten)]
    notice: &'a Notice,
}

/// Everybody whom a subscriber's file names.
pub fn receivers(notify: &Notify, proxy: Option<&str>) -> Receivers {
    let webhook = notify.webhook.iter().map(|it| ("webhook", webhook(it, proxy)));
    webhook.chain(notify.sns.iter().map(|it| ("sns", topic(it)))).collect()
}

fn webhook(webhook: &NotifyWebhook, proxy: Option<&str>) -> Receiver {
    let file = &webhook.secret;
    let secret =
        fs::read(file).map_err(|source| NotifyError::File { file: file.clone(), source })?;
    let mut announcer = WebhookAnnouncer::open(&webhook.address, secret.trim_ascii())?;
    if let Some(proxy) = proxy {
        announcer = announcer.with_proxy(proxy)?;
    }
    Ok(Box::new(announcer))
}

#[cfg(feature = "aws")]
fn topic(sns: &NotifySns) -> Receiver {
    use kdistro_aws::{Aws, AwsSettings, SnsAnnouncer};

    let endpoint = sns.endpoint.clone();
    let settings = AwsSettings { endpoint, ..AwsSettings::default() };
    let aws = Aws::load(&settings).map_err(|error| NotifyError::Aws(Box::new(error)))?;
    Ok(Box::new(SnsAnnouncer::new(&aws, sns.topic.clone())))
}

#[cfg(not(feature = "aws"))]
fn topic(_: &NotifySns) -> Receiver {
    Err(NotifyError::WithoutAws)
}

/// Sends what waits; `say` is told of what fails. Nobody's failure keeps anything from others. For whom there is no way to
/// send anything, it waits.
pub fn send(
    history: &History,
    cluster: &str,
    receivers: &Receivers,
    say: &mut dyn FnMut(&str),
) -> Result<(), HistoryError> {
    for (name, receiver) in receivers {
        if let Err(error) = receiver {
            say(&format!("{name}: {}", told(error)));
        }
    }
    let notices = history.notices()?;
    if notices.waiting.is_empty() {
        return Ok(());
    }
    let mut all = BTreeMap::new();
    for (name, receiver) in receivers {
        let so_far = notices.receivers.get(*name).copied().unwrap_or_default();
        let Ok(announcer) = receiver else {
            all.insert((*name).to_owned(), so_far);
            continue;
        };
        let waiting = notices.waiting.iter().filter(|notice| notice.number > so_far.up_to);
        let mut announce = |notice: &Notice| announce(&**announcer, cluster, notice);
        let mut say = |text: &str| say(&format!("{name}: {text}"));
        all.insert((*name).to_owned(), deliver(so_far, waiting, (&mut announce, &mut say)));
    }
    // Without a receiver nothing waits for one.
    let up_to = all.values().map(|sent| sent.up_to).min().unwrap_or(notices.newest);
    history.change_notices(|notices| {
        notices.receivers = all;
        notices.waiting.retain(|notice| notice.number > up_to);
    })
}

type Failure = Box<dyn std::error::Error>;
type Announce<'a> = dyn FnMut(&Notice) -> Result<(), Failure> + 'a;

/// Sends one receiver what waits, up to what fails; returns how far that came.
fn deliver<'a>(
    mut sent: Sent,
    waiting: impl Iterator<Item = &'a Notice>,
    (announce, say): (&mut Announce<'_>, &mut dyn FnMut(&str)),
) -> Sent {
    for notice in waiting {
        let Notice { number, what, .. } = notice;
        if let Err(error) = announce(notice) {
            let (tries, why) = (sent.tries + 1, chain(&*error));
            if tries < MOST_TRIES {
                say(&format!("notice {number} ({what}) is tried again later: {why}"));
                return Sent { tries, ..sent };
            }
            say(&format!("notice {number} ({what}) is given up: {why}"));
        }
        sent = Sent { up_to: *number, tries: 0 };
    }
    sent
}

fn announce(announcer: &dyn Announcer, cluster: &str, notice: &Notice) -> Result<(), Failure> {
    let document = document(cluster, notice)?;
    // A repeat is the same document.
    let id = sha256(&document);
    let document = String::from_utf8_lossy(&document);
    let (subject, text) = said(cluster, notice);
    let message = json!({"default": document, "email": text}).to_string();
    let mut attributes = BTreeMap::from([
        ("cluster".to_owned(), cluster.to_owned()),
        ("what".to_owned(), notice.what.clone()),
    ]);
    if let Some(release) = &notice.release {
        attributes.insert("release".to_owned(), release.to_string());
    }
    announcer.announce(&id, &subject, &message, &attributes)?;
    Ok(())
}

fn document(cluster: &str, notice: &Notice) -> Result<Vec<u8>, CanonicalError> {
    canonical::to_vec(&Document { schema: SCHEMA, cluster, notice })
}

/// A subject and a text for people.
fn said(cluster: &str, notice: &Notice) -> (String, String) {
    let Notice { at, what, release, text, .. } = notice;
    let about = release.as_ref().map_or(String::new(), |release| format!(" {release}"));
    let subject = format!("{cluster}:{about} {}", what.replace('-', " "));
    (subject.clone(), format!("{subject}\n\n{text}\n\n{at}\n"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use kdistro_border::FileAnnouncer;

    use super::*;
    use crate::history::{Change, Event, Notices, What};

    fn notices() -> Vec<Notice> {
        let notice = |number| Notice {
            number,
            at: Timestamp::UNIX_EPOCH,
            what: "rolled-back".to_owned(),
            release: Some("1-20-3".parse().unwrap()),
            text: "1-20-2 runs again".to_owned(),
        };
        (1..=3).map(notice).collect()
    }

    /// Delivers while some numbers fail; returns how far it came, and what was sent and said.
    fn delivered(sent: Sent, failing: &[u64]) -> (Sent, Vec<u64>, Vec<String>) {
        let (notices, mut numbers, mut said) = (notices(), Vec::new(), Vec::new());
        let mut announce = |notice: &Notice| {
            if failing.contains(&notice.number) {
                return Err(Failure::from("no answer"));
            }
            numbers.push(notice.number);
            Ok(())
        };
        let mut say = |text: &str| said.push(text.to_owned());
        let waiting = notices.iter().filter(|notice| notice.number > sent.up_to);
        let sent = deliver(sent, waiting, (&mut announce, &mut say));
        (sent, numbers, said)
    }

    #[test]
    fn what_fails_is_tried_again_in_its_order_and_given_up_in_the_end() {
        let (sent, numbers, said) = delivered(Sent::default(), &[2]);
        assert_eq!((sent, numbers), (Sent { up_to: 1, tries: 1 }, vec![1]));
        assert_eq!(said, ["notice 2 (rolled-back) is tried again later: no answer"]);
        let (sent, numbers, _) = delivered(sent, &[]);
        assert_eq!((sent, numbers), (Sent { up_to: 3, tries: 0 }, vec![2, 3]));
        let (sent, ..) = delivered(Sent { up_to: 1, tries: MOST_TRIES - 2 }, &[2]);
        assert_eq!(sent, Sent { up_to: 1, tries: MOST_TRIES - 1 });
        let (sent, numbers, said) = delivered(sent, &[2]);
        assert_eq!((sent, numbers), (Sent { up_to: 3, tries: 0 }, vec![3]));
        assert_eq!(said, ["notice 2 (rolled-back) is given up: no answer"]);
    }

    #[test]
    fn a_missing_secret_keeps_notices_from_nobody_else_and_they_wait() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(&folder.path().join("history")).unwrap();
        let secret = folder.path().join("secret");
        let address = "http://localhost:9/".to_owned();
        let hook = NotifyWebhook { address, secret };
        let topic = folder.path().join("topic");
        let send = |hook: &NotifyWebhook| {
            let topic: Receiver = Ok(Box::new(FileAnnouncer::new(topic.clone())));
            let receivers = Receivers::from([("sns", topic), ("webhook", webhook(hook, None))]);
            let mut said = Vec::new();
            send(&history, "dev", &receivers, &mut |text| said.push(text.to_owned())).unwrap();
            said.join("\n")
        };
        assert!(
            send(&hook).starts_with("webhook: cannot read the secret "),
            "before anything waits"
        );
        let release = Some("1-20-2".parse().unwrap());
        let (at, text) = (Timestamp::UNIX_EPOCH, String::new());
        let event = Event { at, release, what: What::Kept, text };
        history.write(&event, &Change::Nothing).unwrap();
        for _ in 0..2 {
            assert!(send(&hook).starts_with("webhook: cannot read the secret "));
            assert_eq!(fs::read_dir(&topic).unwrap().count(), 1);
            let Notices { waiting, receivers, .. } = history.notices().unwrap();
            assert_eq!((waiting.len(), receivers["sns"].up_to), (1, 1));
            assert_eq!(receivers["webhook"], Sent::default());
        }
        fs::write(&hook.secret, "planted-secret-of-the-webhook").unwrap();
        assert!(send(&hook).starts_with("webhook: notice 1 (kept) is tried again later: "));
    }

    #[test]
    fn a_notice_is_a_document_and_a_text() {
        let notice = &notices()[0];
        let document = String::from_utf8(document("dev", notice).unwrap()).unwrap();
        let expected = r#"{"at":"1970-01-01T00:00:00Z","cluster":"dev","number":1,"release":"1-20-3","schema":"kdistro.dev/notice/v1","text":"1-20-2 runs again","what":"rolled-back"}"#;
        assert_eq!(document, expected);
        let (subject, text) = said("dev", notice);
        assert_eq!(subject, "dev: 1-20-3 rolled back");
        assert_eq!(text, "dev: 1-20-3 rolled back\n\n1-20-2 runs again\n\n1970-01-01T00:00:00Z\n");
    }
}
