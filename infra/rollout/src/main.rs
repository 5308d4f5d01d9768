//! `kdistro-rollout`: shows and steers what happens to a subscriber's cluster.
//!
//! Exit codes: 0 done; 1 nothing is known of the release, it failed and the one before runs again, or something is forged;
//! 2 could not.

mod cli;
mod commands;
mod log;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use jiff::Timestamp;
use kdistro_formats::failure::{Failure, asks_for_json};

use cli::Cli;
use commands::{Program, json};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error, &arguments),
    };
    Program { cli, now: Timestamp::now, proxy: proxy() }.run()
}

/// Tells how the program is used; help and version are asked for.
fn not_understood(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    // When even this cannot be written, the exit code still says it.
    if error.use_stderr() && asks_for_json(arguments) {
        let failure = Failure::of_usage(&error.render().to_string(), code);
        let _ = io::stdout().write_all(json(&failure).as_bytes());
    } else {
        let _ = error.print();
    }
    ExitCode::from(code)
}

#[expect(clippy::disallowed_methods, reason = "only main.rs reads the environment")]
fn proxy() -> Option<String> {
    let read = |name| env::var(name).ok().filter(|value| !value.is_empty());
    read("HTTPS_PROXY").or_else(|| read("https_proxy"))
}
