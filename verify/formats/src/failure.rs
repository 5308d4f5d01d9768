//! How every program tells what it could not do: in words, or as the one JSON document that `--json` asks for.
//!
//! The help of an error is what follows `help:  ` on a line of its own in its text.

use std::{error::Error, ffi::OsString};

use serde::{Deserialize, Serialize};

use crate::terminal::printable_lines;

/// What the help of an error begins with.
const HELP: &str = "\nhelp:  ";

/// An error in words.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What could not be done.
    pub error: String,
    /// What led to it, the nearest first.
    pub causes: Vec<String>,
    /// What helps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub help: Vec<String>,
    /// The exit code.
    pub exit: u8,
}

impl Failure {
    /// Collects an error with everything that led to it, and what helps against each.
    pub fn of(error: &dyn Error, exit: u8) -> Self {
        let (mut causes, mut help, mut next) = (Vec::<String>::new(), Vec::new(), Some(error));
        while let Some(error) = next {
            next = error.source();
            let text = error.to_string();
            let (what, helps) = text.split_once(HELP).unwrap_or((&text, ""));
            // What only passes another on says the same, and some libraries repeat the cause in their own text.
            if !causes.last().is_some_and(|last| last.ends_with(what)) {
                causes.push(what.to_owned());
                help.extend((!helps.is_empty()).then(|| helps.to_owned()));
            }
        }
        let error = if causes.is_empty() { String::new() } else { causes.remove(0) };
        Self { error, causes, help, exit }
    }

    /// Makes what the parser of command lines says such an error.
    pub fn of_usage(text: &str, exit: u8) -> Self {
        let mut paragraphs = text.split("\n\n").map(|text| text.trim().to_owned());
        let first = paragraphs.next().unwrap_or_default();
        let (error, help) = match first.strip_prefix("error: ") {
            Some(error) => (error.to_owned(), paragraphs.filter(|text| !text.is_empty()).collect()),
            // All it said is how it is used.
            None => ("a command is missing".to_owned(), vec![text.trim_end().to_owned()]),
        };
        Self { error, causes: Vec::new(), help, exit }
    }

    /// Writes it for people, harmless for a terminal: what led to it in one line, below it what helps.
    pub fn told(&self) -> String {
        let said = [&self.error].into_iter().chain(&self.causes).map(|text| printable_lines(text));
        let said = said.collect::<Vec<_>>().join(": ");
        let help = self.help.iter().map(|help| printable_lines(help));
        help.fold(said, |all, help| format!("{all}{HELP}{help}"))
    }
}

/// True where a command line asks for JSON: what follows `--` is for others.
pub fn asks_for_json(arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json")
}

/// Writes an error with its causes for people, as [`Failure::told`] does.
pub fn told(error: &dyn Error) -> String {
    Failure::of(error, 0).told()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no lock \u{1b}\nhelp:  make one")]
    struct Lock;

    #[derive(Debug, thiserror::Error)]
    enum Cut {
        #[error(transparent)]
        Same(#[from] Lock),
        #[error("cannot cut\nhelp:  try again")]
        Outer(#[source] Lock),
        #[error("refused: no lock \u{1b}")]
        Repeated(#[source] Lock),
    }

    #[test]
    fn an_error_is_told_with_its_causes_once_and_its_help_apart() {
        let failure = |error: &str, causes: &[&str], help: &[&str]| Failure {
            error: error.to_owned(),
            causes: causes.iter().map(ToString::to_string).collect(),
            help: help.iter().map(ToString::to_string).collect(),
            exit: 2,
        };
        let expected = failure("no lock \u{1b}", &[], &["make one"]);
        assert_eq!(Failure::of(&Cut::Same(Lock), 2), expected);
        let outer = failure("cannot cut", &["no lock \u{1b}"], &["try again", "make one"]);
        assert_eq!(Failure::of(&Cut::Outer(Lock), 2), outer);
        let expected = "cannot cut: no lock \\u{1b}\nhelp:  try again\nhelp:  make one";
        assert_eq!(told(&Cut::Outer(Lock)), expected);
        assert_eq!(told(&Cut::Repeated(Lock)), "refused: no lock \\u{1b}");
    }

    #[test]
    fn wrong_usage_is_an_error_like_any_other() {
        let text = "error: the following were not provided:\n  <RELEASE>\n\nUsage: kdistro yank\n\nFor more\n";
        let failure = Failure::of_usage(text, 2);
        assert_eq!(failure.error, "the following were not provided:\n  <RELEASE>");
        assert_eq!(failure.help, ["Usage: kdistro yank", "For more"]);
        let failure = Failure::of_usage("Cuts releases\n\nUsage: kdistro\n", 2);
        assert_eq!(failure.error, "a command is missing");
    }
}
