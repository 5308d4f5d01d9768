//! Announces over a topic of Amazon SNS.

use std::{collections::BTreeMap, fmt};

use aws_sdk_sns::{Client, types::MessageAttributeValue};
use kdistro_border::{AnnounceError, Announced, Announcer, announcer::check};
use kdistro_formats::Digest;

use crate::{account::Aws, error::AwsError};

/// The attribute by which announcements of a FIFO topic keep their order.
const CHANNEL: &str = "channel";

/// Announces by publishing to a topic, which hands the message on to all its subscribers.
///
/// SNS keeps no record of what was published, so everything is [`Announced::New`]. A FIFO topic drops repeats of five
/// minutes by itself.
#[derive(Clone)]
pub struct SnsAnnouncer {
    aws: Aws,
    client: Client,
    topic: String,
}

impl SnsAnnouncer {
    /// Takes the ARN of a topic. Nothing is asked of it yet.
    pub fn new(aws: &Aws, topic: impl Into<String>) -> Self {
        let topic = topic.into();
        Self { aws: aws.clone(), client: Client::new(&aws.config_for(&topic)), topic }
    }

    async fn publish(
        &self,
        id: &Digest,
        (subject, message): (&str, &str),
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), AwsError> {
        let failed = |what: String| AwsError::unfit(self.target(), what);
        let mut request = self
            .client
            .publish()
            .topic_arn(&self.topic)
            .subject(subject)
            .message(message)
            .message_structure("json");
        for (name, value) in attributes {
            let built = MessageAttributeValue::builder().data_type("String").string_value(value);
            let value = built.build().map_err(|error| failed(format!("does not take {error}")))?;
            request = request.message_attributes(name, value);
        }
        // Source: Amazon SNS, "FIFO topic": the group orders, the deduplication id tells repeats.
        if self.is_fifo() {
            let channel = attributes.get(CHANNEL).map_or("all", String::as_str);
            request = request.message_group_id(channel).message_deduplication_id(id.hex());
        }
        let answer = request.send().await.map_err(|error| AwsError::of(self.target(), &error))?;
        if answer.message_id().is_none_or(str::is_empty) {
            return Err(failed("does not confirm the message".to_owned()));
        }
        Ok(())
    }

    /// Source: Amazon SNS, `CreateTopic`, "Name": that of a FIFO topic ends with `.fifo`.
    fn is_fifo(&self) -> bool {
        self.topic.rsplit_once('.').is_some_and(|(_, ending)| ending == "fifo")
    }

    fn target(&self) -> String {
        format!("topic `{}`", self.topic)
    }
}

impl Announcer for SnsAnnouncer {
    fn announce(
        &self,
        id: &Digest,
        subject: &str,
        message: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Announced, AnnounceError> {
        check(id, subject, message, attributes)?;
        let published = self.aws.wait(self.publish(id, (subject, message), attributes));
        let failed =
            |error| AnnounceError::Service { subject: subject.to_owned(), source: Box::new(error) };
        published.map(|()| Announced::New).map_err(failed)
    }
}

/// Shows which topic, never as whom.
impl fmt::Debug for SnsAnnouncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsAnnouncer").field("topic", &self.topic).finish_non_exhaustive()
    }
}
