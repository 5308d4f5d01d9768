//! What happens on Ctrl-C: a word, and the end. Whatever was begun is finished by the same command, run again.

use std::{
    io::{self, IsTerminal, Write},
    process, thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// Added to a signal's number in the exit code, as shells do.
const SIGNAL_BASE: i32 = 128;

/// Ends this program when it is told to, from a thread of its own.
///
/// Steps in the container end with it: their supervisors see that the pipe to this program is closed.
pub(crate) fn watch() {
    // Without it a signal still ends the program, only without a word.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let mut err = io::stderr();
            // What passes is written over; a terminal echoes `^C` after it.
            let clear = if err.is_terminal() { "\r\x1b[K" } else { "" };
            let _ = writeln!(err, "{clear}interrupted; run the same command again to go on");
            process::exit(SIGNAL_BASE + signal);
        }
    });
}
