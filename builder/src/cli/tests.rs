//! Help that is right: every command has examples, and every example is a command line that is understood.

use clap::CommandFactory;

use super::*;

/// Every command by the words that name it, with its help.
fn commands(of: &clap::Command, words: &str) -> Vec<(String, String)> {
    let own = of.get_subcommands().filter(|command| command.get_name() != "help");
    let mut found = Vec::new();
    for command in own {
        let words = format!("{words} {}", command.get_name());
        found.extend(commands(command, &words));
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        found.push((words, help));
    }
    found
}

/// The command lines of a help text: indented, less what is said about them and where their output goes.
fn examples(help: &str) -> Vec<String> {
    let lines = help.lines().filter_map(|line| line.strip_prefix("  kdistro "));
    let alone = |line: &str| {
        let line = line.split("  ").next().unwrap_or_default();
        format!("kdistro {}", line.split(" > ").next().unwrap_or_default())
    };
    lines.map(alone).collect()
}

#[test]
fn every_command_has_examples_that_it_understands() {
    let root = Cli::command();
    let mut all = commands(&root, "kdistro");
    assert!(all.len() > 25, "{all:?}");
    let general = root.get_after_help().map(ToString::to_string).unwrap_or_default();
    all.push(("kdistro".to_owned(), general));
    for (words, help) in all {
        let examples = examples(&help);
        assert!(!examples.is_empty(), "`{words}` has no example");
        for example in examples {
            assert!(example.starts_with(&words), "`{example}` is no example of `{words}`");
            let understood = Cli::try_parse_from(example.split_whitespace());
            assert!(understood.is_ok(), "`{example}`: {}", understood.unwrap_err());
        }
    }
}

#[test]
fn options_are_offered_only_where_they_mean_something() {
    for (line, understood) in [
        ("kdistro cut 1-20 --environment aws --apt-sources a.sources", true),
        ("kdistro key show --environment aws", true),
        ("kdistro key show --apt-sources a.sources", false),
        ("kdistro check --environment aws", false),
        ("kdistro check --apt-sources a.sources", false),
        ("kdistro plan 1-20 --environment aws", false),
        ("kdistro plan 1-20 --apt-sources a.sources", false),
        ("kdistro lock 1-20 --apt-sources a.sources", true),
        ("kdistro lock 1-20 --environment aws", false),
        ("kdistro rebuild M --environment aws", false),
        ("kdistro status --apt-sources a.sources", false),
        ("kdistro plan --from M --component etcd-io/etcd", false),
        ("kdistro yank 1-20-1 --reason", false),
        ("kdistro --environment aws cut 1-20", false),
    ] {
        let found = Cli::try_parse_from(line.split_whitespace());
        assert_eq!(found.is_ok(), understood, "{line}: {found:?}");
    }
}

#[test]
fn the_environment_is_the_one_that_is_named() {
    let named = |line: &str| {
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        cli.command.environment().map(str::to_owned)
    };
    assert_eq!(named("kdistro image inspect 1-20-1 --environment aws").as_deref(), Some("aws"));
    assert_eq!(named("kdistro yank 1-20-1 --reason x").as_deref(), Some("local"));
    assert_eq!(named("kdistro check"), None);
}
