//! Takes messages out of a queue of Amazon SQS, such as one that subscribes to a topic.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_sdk_sqs::{
    Client,
    config::{Builder, StalledStreamProtectionConfig},
    types::Message,
};
use tokio::{runtime::Handle, task::JoinHandle, time::sleep};

use crate::{account::Aws, error::AwsError};

/// The longest that SQS waits for a message.
///
/// Source: Amazon SQS, `ReceiveMessage`, "`WaitTimeSeconds`".
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// How long nobody else gets a message after somebody who worked on it was lost.
const VISIBILITY: Duration = Duration::from_mins(1);

/// A queue, of which one message at a time is taken.
///
/// As long as somebody works on a message nobody else gets it. One that was left comes again, until the queue's redrive
/// policy, where it has one, puts it to the dead letters.
#[derive(Clone)]
pub struct SqsQueue {
    aws: Aws,
    client: Client,
    /// As the settings name it.
    name: String,
    /// Its URL, once it is known.
    url: Arc<OnceLock<String>>,
    visibility: Duration,
}

/// A message of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// What SQS calls it.
    pub id: String,
    /// What was sent.
    pub body: String,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is dealt with and deleted.
    Deleted,
    /// It comes again.
    Left,
}

/// Keeps a message from others; dropped, it does so no longer.
struct Keeping(JoinHandle<()>);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SqsQueue {
    /// Takes the URL of a queue, or the name of one of the caller's own. Nothing is asked of it yet.
    pub fn new(aws: &Aws, name: impl Into<String>) -> Self {
        // Who waits for a message hears nothing meanwhile, and would be woken ten times a second to look whether the
        // stream has stalled. Each request has an end of its own.
        let config = Builder::from(aws.config())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let client = Client::from_conf(config.build());
        let (name, url) = (name.into(), OnceLock::new());
        if name.contains("://") {
            // Nobody else has it yet.
            let _ = url.set(name.clone());
        }
        Self { aws: aws.clone(), client, name, url: Arc::new(url), visibility: VISIBILITY }
    }

    /// Lets others have a message, whose worker was lost, after this time in whole seconds; a minute by default.
    #[must_use]
    pub fn with_visibility(mut self, visibility: Duration) -> Self {
        self.visibility = visibility;
        self
    }

    /// Waits for a message, at most as long as `patience`, and works on it; returns how many there were.
    ///
    /// Fails also where a message that was dealt with cannot be deleted: it comes again.
    pub fn receive(
        &self,
        patience: Duration,
        work: &mut dyn FnMut(&Letter) -> Fate,
    ) -> Result<usize, AwsError> {
        let url = self.aws.wait(self.url())?;
        let Some(message) = self.aws.wait(self.next(&url, patience))? else { return Ok(0) };
        let letter = Letter {
            id: message.message_id.unwrap_or_default(),
            body: message.body.unwrap_or_default(),
        };
        let receipt = message.receipt_handle.unwrap_or_default();
        let keeping = self.keep(&url, receipt.clone());
        let fate = work(&letter);
        drop(keeping);
        if fate == Fate::Deleted {
            self.aws.wait(self.delete(&url, &receipt))?;
        }
        Ok(1)
    }

    /// Its URL, which is asked for when only its name is known.
    async fn url(&self) -> Result<String, AwsError> {
        if let Some(url) = self.url.get() {
            return Ok(url.clone());
        }
        let request = self.client.get_queue_url().queue_name(&self.name);
        let answer = request.send().await.map_err(|error| AwsError::of(self.target(), &error))?;
        let url = answer.queue_url.unwrap_or_default();
        Ok(self.url.get_or_init(|| url).clone())
    }

    async fn next(&self, url: &str, patience: Duration) -> Result<Option<Message>, AwsError> {
        let request = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(1)
            .visibility_timeout(seconds(self.visibility))
            .wait_time_seconds(seconds(patience.min(LONGEST_WAIT)));
        let answer = request.send().await.map_err(|error| AwsError::of(self.target(), &error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().next())
    }

    async fn delete(&self, url: &str, receipt: &str) -> Result<(), AwsError> {
        let request = self.client.delete_message().queue_url(url).receipt_handle(receipt);
        request.send().await.map_err(|error| AwsError::of(self.target(), &error))?;
        Ok(())
    }

    /// Begins to keep a message from others.
    fn keep(&self, url: &str, receipt: String) -> Keeping {
        let request = self.client.change_message_visibility().queue_url(url);
        let request = request.receipt_handle(receipt).visibility_timeout(seconds(self.visibility));
        let pause = self.visibility / 3;
        let keep = async move {
            loop {
                sleep(pause).await;
                // One that fails is followed by another before the time is over. If all do, somebody else gets the
                // message too, which must do no harm anyway: SQS delivers at least once.
                let _ = request.clone().send().await;
            }
        };
        Keeping(self.aws.wait(async { Handle::current() }).spawn(keep))
    }

    fn target(&self) -> String {
        format!("queue `{}`", self.name)
    }
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

/// Shows which queue, never as whom.
impl fmt::Debug for SqsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsQueue").field("name", &self.name).finish_non_exhaustive()
    }
}
