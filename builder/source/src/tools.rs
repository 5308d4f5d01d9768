//! Says which programs are there, for `kdistro doctor`.

use std::path::{Path, PathBuf};

use crate::command::{Call, Environment, find};

/// A program that this crate runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// What it is needed for.
    pub needed_for: &'static str,
    /// Where it is; none when `PATH` does not lead to it.
    pub file: Option<PathBuf>,
    /// What it says its version is; none when it cannot be run.
    pub version: Option<String>,
}

/// Looks for git, go and apt-get and asks their versions.
pub fn tools(environment: &Environment) -> Vec<Tool> {
    let wanted = [
        ("git", &["--version"][..], "mirrors and patches"),
        (
            "go",
            &["version"][..],
            "downloading Go toolchains and modules (any version from 1.21 on)",
        ),
        ("apt-get", &["--version"][..], "downloading Debian sources and packages"),
    ];
    let look = |(name, arguments, needed_for)| Tool {
        name,
        needed_for,
        file: find(name, environment),
        version: version(name, arguments, environment),
    };
    wanted.into_iter().map(look).collect()
}

fn version(program: &str, arguments: &[&str], environment: &Environment) -> Option<String> {
    let mut call = Call::new(Path::new(program), environment);
    call.arguments = arguments.iter().map(Into::into).collect();
    call.variables.push(("GOTOOLCHAIN", "local".into()));
    let text = call.run().ok()?.text();
    let word = |word: &&str| {
        let number = word.strip_prefix("go").unwrap_or(word);
        number.starts_with(|c: char| c.is_ascii_digit()) && number.contains('.')
    };
    let found = text.split_whitespace().find(word)?;
    Some(found.strip_prefix("go").unwrap_or(found).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let tools = tools(&Environment::default().with("PATH", folder.path()));
        assert_eq!(tools.len(), 3);
        assert!(tools.iter().all(|tool| tool.file.is_none() && tool.version.is_none()));
    }

    #[test]
    fn finds_git_and_its_version() {
        let tools = tools(&Environment::default().with("PATH", "/usr/local/bin:/usr/bin:/bin"));
        let git = tools.iter().find(|tool| tool.name == "git").unwrap();
        assert!(git.version.as_ref().unwrap().starts_with("2."), "{git:?}");
    }
}
