//! The one place that writes results and errors.

use std::{
    error::Error,
    io::{self, Write},
};

use serde::Serialize;

use super::hint;
use crate::{
    context::Context,
    report::{fold, printable},
};

/// Prints a result on standard output.
pub(super) fn print(text: impl AsRef<str>) -> io::Result<()> {
    print_bytes(format!("{}\n", text.as_ref()).as_bytes())
}

/// Prints what a program wrote, as it is.
///
/// Whoever reads it may stop reading (`| head`): that ends neither the work nor changes the exit code.
pub(super) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints lines for people, none wider than the screen where there is one; with `--json` nothing.
pub(super) fn say(context: &Context, text: impl AsRef<str>) -> io::Result<()> {
    for line in text.as_ref().split('\n') {
        let indent = line.len() - line.trim_start().len();
        told(context, line, indent + 2)?;
    }
    Ok(())
}

/// Prints a row of a table: cells with the width of their columns, and a last cell that may take several lines.
pub(super) fn row(context: &Context, cells: &[(&str, usize)], last: &str) -> io::Result<()> {
    let cells: Vec<_> = cells.iter().map(|(cell, width)| format!("{cell:width$} ")).collect();
    let before = cells.concat();
    told(context, format!("{before}{last}").trim_end(), before.chars().count())
}

fn told(context: &Context, line: &str, indent: usize) -> io::Result<()> {
    if context.json {
        return Ok(());
    }
    match context.surroundings.columns {
        Some(columns) => print(fold(line, columns, indent)),
        None => print(line),
    }
}

/// The width of a column that has room for all of these, and takes no more than `most`.
pub(super) fn column<'a>(cells: impl Iterator<Item = &'a str>, most: usize) -> usize {
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0).min(most)
}

/// Writes how many there are of something whose plural ends with an s.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Prints a result as JSON.
pub(super) fn print_json<T: Serialize>(value: &T) -> super::Result<()> {
    Ok(print(serde_json::to_string_pretty(value)?)?)
}

/// An error in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    /// What could not be done.
    pub(super) error: String,
    /// What led to it, the nearest first.
    causes: Vec<String>,
    /// What helps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    help: Vec<String>,
    /// The exit code.
    exit: u8,
}

impl Failure {
    /// Collects an error with everything that led to it.
    pub(super) fn of(error: &dyn Error) -> Self {
        let (mut texts, mut help, mut next) = (Vec::new(), Vec::new(), Some(error));
        while let Some(error) = next {
            let text = error.to_string();
            let (said, helps) = match text.split_once("\nhelp:  ") {
                Some((said, helps)) => (said.to_owned(), Some(helps.to_owned())),
                None => (text, None),
            };
            // `transparent` errors say the same twice.
            if texts.last() != Some(&said) {
                texts.push(said);
                help.extend(helps);
            }
            next = error.source();
        }
        let error = if texts.is_empty() { String::new() } else { texts.remove(0) };
        Self { error, causes: texts, help, exit: super::COULD_NOT }
    }

    /// Lets the commands that help be those for an environment.
    pub(super) fn in_environment(self, name: &str) -> Self {
        let help = self.help.iter().map(|help| hint::completed(help, name)).collect();
        Self { help, ..self }
    }

    /// Makes the words of the command line's parser such an error.
    pub(super) fn of_usage(text: &str) -> Self {
        let mut paragraphs = text.split("\n\n").map(|text| text.trim_end().to_owned());
        let first = paragraphs.next().unwrap_or_default();
        let Some(error) = first.strip_prefix("error: ") else {
            // All it said is how it is used.
            let (error, help) =
                ("a command is missing".to_owned(), vec![text.trim_end().to_owned()]);
            return Self { error, causes: Vec::new(), help, exit: super::COULD_NOT };
        };
        let help = paragraphs.map(|text| text.trim().to_owned()).collect();
        Self { error: error.to_owned(), causes: Vec::new(), help, exit: super::COULD_NOT }
    }

    /// Tells the error on standard error, or with `--json` as the one document on standard output.
    pub(super) fn print(&self, json: bool) {
        // When even this cannot be written, the exit code still says it.
        if json {
            let _ = print_json(self);
            return;
        }
        let said: Vec<_> =
            [&self.error].into_iter().chain(&self.causes).map(String::as_str).collect();
        let _ = writeln!(io::stderr(), "error: {}", printable(&said.join(": ")));
        for help in &self.help {
            let _ = writeln!(io::stderr(), "help:  {help}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no lock\nhelp:  make one")]
    struct Lock;

    #[derive(Debug, thiserror::Error)]
    enum Cut {
        #[error(transparent)]
        Same(#[from] Lock),
        #[error("cannot cut")]
        Outer(#[source] Lock),
    }

    #[test]
    fn an_error_is_told_with_its_causes_once_and_its_help_apart() {
        let failure = |error: &str, causes: &[&str]| Failure {
            error: error.to_owned(),
            causes: causes.iter().map(ToString::to_string).collect(),
            help: vec!["make one".to_owned()],
            exit: 2,
        };
        assert_eq!(Failure::of(&Cut::Same(Lock)), failure("no lock", &[]));
        assert_eq!(Failure::of(&Cut::Outer(Lock)), failure("cannot cut", &["no lock"]));
    }

    #[test]
    fn wrong_usage_is_an_error_like_any_other() {
        let text = "error: the following were not provided:\n  <RELEASE>\n\nUsage: kdistro yank\n\nFor more\n";
        let failure = Failure::of_usage(text);
        assert_eq!(failure.error, "the following were not provided:\n  <RELEASE>");
        assert_eq!(failure.help, ["Usage: kdistro yank", "For more"]);
        let failure = Failure::of_usage("Cuts releases\n\nUsage: kdistro\n");
        assert_eq!(failure.error, "a command is missing");
    }
}
