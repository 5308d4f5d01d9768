//! Listens on every way in that a subscriber's file names, and says when there is a reason to look.
//!
//! Each way in has a thread. One that cannot be used is tried again and said to be so: the channel's index is looked at in
//! any case.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kdistro_verify::check::chain;

use crate::{
    history::History,
    policy::{HearSqs, Subscriber},
    receive::{
        Filter, Heard, Ignored, Known, Outcome, Receiver, Source,
        folder::Folder,
        http::{Desk, Server},
        sns::{Https, Sns, TopicError},
        webhook::{SecretError, Webhook},
    },
    tell,
};

/// How long a way in waits for the first message, and how long before it is tried again after an error.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked whether it is time to look.
const ASKED: Duration = Duration::from_secs(1);
/// How much waits to be looked at.
const MOST: usize = 64;

/// Where our webhook posts, and where SNS does.
const WEBHOOK: &str = "/webhook";
const SNS: &str = "/sns";

/// A way in that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The secret cannot be read.
    #[error("cannot read the secret {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The secret is none.
    #[error("{}", file.display())]
    Secret {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: SecretError,
    },
    /// A topic's name is none.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// SNS cannot be reached through the proxy.
    #[error("the proxy")]
    Proxy(#[from] ureq::Error),
    /// Nobody can listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// This program was built without AWS.
    #[error(
        "this kdistro-rollout was built without AWS, which `hear.sqs` needs\nhelp:  build it with `cargo build --release -p kdistro-rollout --features aws`"
    )]
    WithoutAws,
    /// AWS cannot be used.
    #[error("cannot use AWS")]
    Aws(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What comes in.
enum News {
    /// An announcement, and where somebody waits for what becomes of it.
    Heard(Option<Sender<Outcome>>),
    /// Something to be said: of a message that is ignored, or of a way in that is out of order.
    Said(String),
}

/// Every way in, listened to until this is dropped.
pub struct Listening {
    news: mpsc::Receiver<News>,
    /// Who waits for the end of the look.
    waiting: Vec<Sender<Outcome>>,
}

impl Listening {
    /// Opens every way in of a subscriber, and shows its history where the file says so. The clock tells SNS's messages and
    /// the page how old things are.
    pub fn start(
        subscriber: &Subscriber,
        history: &Arc<History>,
        outside: (Option<&str>, fn() -> Timestamp),
    ) -> Result<Self, ListenError> {
        let filter = Filter {
            environments: BTreeSet::from([subscriber.environment.clone()]),
            channels: BTreeSet::from([subscriber.channel.clone()]),
            severity: subscriber.policy.severity,
        };
        let (to, news) = mpsc::sync_channel(MOST);
        for receiver in receivers(subscriber, history, outside)? {
            let (filter, to) = (filter.clone(), to.clone());
            thread::spawn(move || listen(receiver, &filter, &to));
        }
        Ok(Self { news, waiting: Vec::new() })
    }

    /// Waits until there is a reason to look, at most as long as `patience`: something was heard, or `is_due`, which is asked
    /// once a second. `say` is told what is ignored, and of ways in that are out of order.
    pub fn wait(
        &mut self,
        patience: Duration,
        is_due: &mut dyn FnMut() -> bool,
        say: &mut dyn FnMut(&str),
    ) {
        let end = Instant::now() + patience;
        let mut heard = false;
        while !heard {
            let left = end.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(left.min(ASKED)) {
                Ok(news) => heard = self.take(news, say),
                Err(why) => {
                    if why == RecvTimeoutError::Disconnected {
                        // There is no way in.
                        thread::sleep(left.min(ASKED));
                    }
                    heard = left.is_zero() || is_due();
                }
            }
        }
        // All that was heard is one reason.
        while let Ok(news) = self.news.try_recv() {
            self.take(news, say);
        }
    }

    /// True for what is a reason to look.
    fn take(&mut self, news: News, say: &mut dyn FnMut(&str)) -> bool {
        match news {
            News::Heard(waits) => {
                self.waiting.extend(waits);
                true
            }
            News::Said(text) => {
                say(&text);
                false
            }
        }
    }

    /// Says what became of all that was heard: a look that came to no end is worth another message.
    pub fn looked(&mut self, outcome: Outcome) {
        for waits in self.waiting.drain(..) {
            // Who has gone needs no answer.
            let _ = waits.send(outcome);
        }
    }
}

/// Listens on one way in until nobody wants to know.
fn listen(mut receiver: Box<dyn Receiver>, filter: &Filter, to: &SyncSender<News>) {
    let mut wanted = true;
    while wanted {
        let mut tell = |told: Result<Heard, Ignored>| {
            let outcome = pass_on(told, filter, to);
            wanted = outcome.is_some();
            outcome.unwrap_or(Outcome::Later)
        };
        if let Err(error) = receiver.receive(PATIENCE, &mut tell) {
            wanted = to.send(News::Said(chain(&error))).is_ok();
            thread::sleep(PATIENCE);
        }
    }
}

/// Passes on what came in, and says what becomes of it; none where nobody wants to know.
fn pass_on(
    told: Result<Heard, Ignored>,
    filter: &Filter,
    to: &SyncSender<News>,
) -> Option<Outcome> {
    match told {
        Ok(heard) if filter.check(&heard).is_err() => Some(Outcome::Done),
        // A queue keeps a message from others until it is dealt with, and has it again where it is not.
        Ok(heard) if heard.source == Source::Queue => {
            let (waits, answer) = mpsc::channel();
            to.send(News::Heard(Some(waits))).ok()?;
            answer.recv().ok()
        }
        Ok(_) => to.send(News::Heard(None)).ok().map(|()| Outcome::Done),
        // What is no announcement goes to the dead letters, where there are any.
        Err(ignored) => to.send(News::Said(chain(&ignored))).ok().map(|()| Outcome::Later),
    }
}

fn receivers(
    subscriber: &Subscriber,
    history: &Arc<History>,
    (proxy, clock): (Option<&str>, fn() -> Timestamp),
) -> Result<Vec<Box<dyn Receiver>>, ListenError> {
    let hear = &subscriber.hear;
    let mut receivers: Vec<Box<dyn Receiver>> = Vec::new();
    if let Some(folder) = &hear.folder {
        receivers.push(Box::new(Folder::new(folder, Known::default())));
    }
    // Both may have one address.
    let mut desks: BTreeMap<SocketAddr, BTreeMap<String, Box<dyn Desk>>> = BTreeMap::new();
    if let Some(webhook) = &hear.webhook {
        let file = &webhook.secret;
        let secret =
            fs::read(file).map_err(|source| ListenError::File { file: file.clone(), source })?;
        let desk = Webhook::new(secret.trim_ascii())
            .map_err(|source| ListenError::Secret { file: file.clone(), source })?;
        desks.entry(webhook.listen).or_default().insert(WEBHOOK.to_owned(), Box::new(desk));
    }
    if let Some(sns) = &hear.sns {
        let outside = Box::new(Https::new(proxy)?);
        let desk = Sns::new(&sns.topics, outside, Box::new(clock))?;
        desks.entry(sns.listen).or_default().insert(SNS.to_owned(), Box::new(desk));
    }
    if let Some(tell) = &subscriber.tell {
        desks.entry(tell.listen).or_default().extend(tell::desks(history, tell.listen, clock));
    }
    for (address, desks) in desks {
        let server = Server::start(address, desks, Known::default());
        let server = server.map_err(|source| ListenError::Listen { address, source })?;
        receivers.push(Box::new(server));
    }
    if let Some(queue) = &hear.sqs {
        receivers.push(self::queue(queue)?);
    }
    Ok(receivers)
}

#[cfg(feature = "aws")]
fn queue(hear: &HearSqs) -> Result<Box<dyn Receiver>, ListenError> {
    use kdistro_aws::{Aws, AwsSettings, SqsQueue};

    use crate::receive::queue::Queue;

    let HearSqs { queue, topics, region, endpoint } = hear.clone();
    let settings = AwsSettings { region, endpoint, ..AwsSettings::default() };
    let aws = Aws::load(&settings).map_err(|error| ListenError::Aws(Box::new(error)))?;
    Ok(Box::new(Queue::new(SqsQueue::new(&aws, queue), topics)))
}

#[cfg(not(feature = "aws"))]
fn queue(_: &HearSqs) -> Result<Box<dyn Receiver>, ListenError> {
    Err(ListenError::WithoutAws)
}
