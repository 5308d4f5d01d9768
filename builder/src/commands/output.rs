//! The one place that writes results and errors.

use std::io::{self, Write};

use kdistro_formats::failure::Failure;
use serde::Serialize;

use super::hint;
use crate::{context::Context, report::fold};

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

/// Lets the commands that help against an error be those for an environment.
pub(super) fn in_environment(failure: Failure, name: &str) -> Failure {
    let help = failure.help.iter().map(|help| hint::completed(help, name)).collect();
    Failure { help, ..failure }
}

/// Tells an error on standard error, or with `--json` as the one document on standard output.
pub(super) fn tell(failure: &Failure, json: bool) {
    // When even this cannot be written, the exit code still says it.
    if json {
        let _ = print_json(failure);
    } else {
        let _ = writeln!(io::stderr(), "error: {}", failure.told());
    }
}
