//! `kdistro-rollout`: shows and steers what happens to a subscriber's cluster.
//!
//! Exit codes: 0 done; 1 nothing is known of the release, it failed and the one before runs again, or something is forged;
//! 2 could not.

mod cli;
mod commands;
mod log;

use std::{env, process::ExitCode};

use clap::Parser;
use jiff::Timestamp;

use cli::Cli;
use commands::Program;

fn main() -> ExitCode {
    let cli = Cli::parse();
    Program { cli, now: Timestamp::now, proxy: proxy() }.run()
}

#[expect(clippy::disallowed_methods, reason = "only main.rs reads the environment")]
fn proxy() -> Option<String> {
    let read = |name| env::var(name).ok().filter(|value| !value.is_empty());
    read("HTTPS_PROXY").or_else(|| read("https_proxy"))
}
