//! One command for several channels in one run: each in turn, so that what one fetched and built the next one has.

use kdistro_formats::{ChannelName, failure::Failure};
use serde_json::{Value, json};

use super::{
    Answer, Result,
    output::{in_environment, print_json, row, say, tell},
};
use crate::context::Context;

/// What came out for one channel.
pub(super) struct Said {
    /// The exit code.
    pub(super) answer: Answer,
    /// In a few words, for the list at the end.
    pub(super) summary: String,
    /// For `--json`.
    pub(super) json: Value,
}

/// Runs a command for each channel. One that fails does not stop the others; the worst answer counts.
///
/// With one channel this is as if it was called alone: its error is the run's, its JSON the whole answer.
pub(super) fn each(
    context: &Context,
    channels: &[ChannelName],
    run: impl Fn(&ChannelName) -> Result<Said>,
) -> Result {
    if let [channel] = channels {
        let said = run(channel)?;
        context.reporter.clear();
        if context.json {
            print_json(&said.json)?;
        }
        return Ok(said.answer);
    }
    let mut outcomes: Vec<(&ChannelName, Said)> = Vec::new();
    for channel in channels {
        // Named twice is meant once.
        if outcomes.iter().any(|(done, _)| *done == channel) {
            continue;
        }
        say(context, format!("== channel {channel}"))?;
        let said = run(channel);
        context.reporter.clear();
        outcomes.push((channel, said.unwrap_or_else(|error| failed(context, error.as_ref()))));
    }
    if context.json {
        let list = outcomes.iter().map(|(channel, said)| entry(channel, said));
        print_json(&list.collect::<Vec<_>>())?;
    }
    say(context, "== all channels")?;
    for (channel, said) in &outcomes {
        row(context, &[(channel.as_str(), 6)], &said.summary)?;
    }
    Ok(worst(outcomes.iter().map(|(_, said)| said.answer)))
}

/// Tells an error at once, where its help is read, and keeps its first line for the end.
fn failed(context: &Context, error: &(dyn std::error::Error + 'static)) -> Said {
    let failure = Failure::of(error, super::COULD_NOT);
    let failure = in_environment(failure, &context.environment_name);
    if !context.json {
        tell(&failure, false);
    }
    let first = failure.error.lines().next().unwrap_or_default();
    Said { answer: Answer::Unknown, summary: format!("failed: {first}"), json: json!(failure) }
}

fn entry(channel: &ChannelName, said: &Said) -> Value {
    let answer = match said.answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Unknown => "unknown",
    };
    json!({"channel": channel, "answer": answer, "result": said.json})
}

/// Could not tell is worse than no, and no is worse than yes.
fn worst(answers: impl Iterator<Item = Answer>) -> Answer {
    answers.max_by_key(|answer| *answer as u8).unwrap_or(Answer::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_answer_counts() {
        use Answer::{No, Unknown, Yes};
        for (answers, expected) in
            [(vec![], Yes), (vec![Yes, No, Yes], No), (vec![Unknown, No, Yes], Unknown)]
        {
            assert_eq!(worst(answers.into_iter()), expected);
        }
    }
}
