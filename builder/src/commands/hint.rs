//! The commands that a help names: each must be the one for the environment that the run is about.

use clap::CommandFactory;

use crate::cli::{Cli, LOCAL};

/// Completes the commands that a text names in backticks with `--environment`, where they have it and do not say it.
pub(super) fn completed(text: &str, environment: &str) -> String {
    if environment == LOCAL {
        return text.to_owned();
    }
    let parts = text.split('`').enumerate().map(|(number, part)| {
        // What stands between two backticks is an odd one.
        if number % 2 == 1 && takes_environment(part) && !part.contains("--environment") {
            return format!("{part} --environment {environment}");
        }
        part.to_owned()
    });
    parts.collect::<Vec<_>>().join("`")
}

/// True for a command line of kdistro whose command has `--environment`.
fn takes_environment(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut command = Cli::command();
    if words.next() != Some(command.get_name()) {
        return false;
    }
    for word in words {
        let Some(found) = command.find_subcommand(word) else { break };
        command = found.clone();
    }
    command.get_arguments().any(|argument| argument.get_id() == "environment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_has_an_environment_is_completed_and_no_other() {
        for (text, expected) in [
            ("run `kdistro cut 1-20`", "run `kdistro cut 1-20 --environment dev`"),
            ("`kdistro key new`, and so on", "`kdistro key new --environment dev`, and so on"),
            (
                "run `kdistro cut` again; or `kdistro abandon 1-20-1 --reason …`",
                "run `kdistro cut --environment dev` again; or `kdistro abandon 1-20-1 --reason … --environment dev`",
            ),
            ("`kdistro cut 1-20 --environment other`", "`kdistro cut 1-20 --environment other`"),
            ("run `kdistro lock 1-20`", "run `kdistro lock 1-20`"),
            ("channel `kdistro` and `cut`", "channel `kdistro` and `cut`"),
            ("kdistro cut 1-20", "kdistro cut 1-20"),
        ] {
            assert_eq!(completed(text, "dev"), expected);
            assert_eq!(completed(text, LOCAL), text);
        }
    }
}
