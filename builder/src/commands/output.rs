//! The one place that writes results and errors.

use std::{
    error::Error,
    io::{self, Write},
};

use serde::Serialize;

use crate::report::printable;

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

/// Writes how many there are of something whose plural ends with an s.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Prints a result as JSON.
pub(super) fn print_json<T: Serialize>(value: &T) -> super::Result<()> {
    Ok(print(serde_json::to_string_pretty(value)?)?)
}

/// Prints an error with everything that led to it; what it helps to do comes last.
pub(super) fn print_error(error: &dyn Error) {
    let (mut texts, mut next) = (Vec::new(), Some(error));
    while let Some(error) = next {
        let text = error.to_string();
        // `transparent` errors say the same twice.
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = error.source();
    }
    let mut helps = Vec::new();
    let said = texts.iter().map(|text| match text.split_once("\nhelp:  ") {
        Some((said, help)) => {
            helps.push(help.to_owned());
            said.to_owned()
        }
        None => text.clone(),
    });
    let said = printable(&said.collect::<Vec<_>>().join(": "));
    // When even this cannot be written, the exit code still says it.
    let _ = writeln!(io::stderr(), "error: {said}");
    for help in helps {
        let _ = writeln!(io::stderr(), "help:  {help}");
    }
}
