//! A queue of SQS, fed by a topic of SNS.

use std::time::Duration;

use kdistro_aws::{Fate, Letter, SqsQueue};

use super::{
    Heard, Ignored, Outcome, ReceiveError, Receiver, Source, Tell,
    message::{self, shown},
};

/// Hears what lies in a queue, one message at a time.
///
/// While `tell` works on a message nobody else gets it. [`Outcome::Later`] leaves it in the queue: it comes again, and in
/// the end goes to the dead letters, where whoever looks finds it. That is right for what is ignored, too.
#[derive(Debug)]
pub struct Queue {
    queue: SqsQueue,
    topics: Vec<String>,
}

impl Queue {
    /// Takes the queue, and the ARNs of the topics whose messages it should hold.
    pub fn new(queue: SqsQueue, topics: Vec<String>) -> Self {
        Self { queue, topics }
    }
}

impl Receiver for Queue {
    fn receive(&mut self, patience: Duration, tell: &mut Tell<'_>) -> Result<usize, ReceiveError> {
        let mut work = |letter: &Letter| match tell(read(letter, &self.topics)) {
            Outcome::Done => Fate::Deleted,
            Outcome::Later => Fate::Left,
        };
        let received = self.queue.receive(patience, &mut work);
        received.map_err(|error| ReceiveError {
            place: "the queue".to_owned(),
            source: Box::new(error),
        })
    }
}

fn read(letter: &Letter, topics: &[String]) -> Result<Heard, Ignored> {
    let said = message::queued(letter.body.as_bytes(), topics);
    said.map(|said| Heard::new(&said, Source::Queue)).map_err(|source| {
        let what = format!("message `{}`", shown(&letter.id));
        Ignored { way: Source::Queue, what, source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::tests::announcement;

    #[test]
    fn a_letter_is_read_or_named() {
        let body = serde_json::to_string(&announcement(7)).unwrap();
        let letter = |body: &str| Letter { id: "22b80b92".to_owned(), body: body.to_owned() };
        let heard = read(&letter(&body), &[]).unwrap();
        assert_eq!((heard.number, heard.source), (7, Source::Queue));
        let ignored = read(&letter("Hello"), &[]).unwrap_err();
        let expected = "the queue brought message `22b80b92`, which is ignored";
        assert_eq!(ignored.to_string(), expected);
        assert!(ignored.source.to_string().starts_with("it is not JSON"));
    }
}
