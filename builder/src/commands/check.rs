//! `kdistro check`: reads every declarative file and lists all problems.

use serde::Serialize;

use super::{
    Answer, Result,
    output::{count, print_json, say},
};
use crate::{
    config::{Workspace, environment},
    context::{self, Context},
};

#[derive(Serialize)]
struct Checked {
    /// How many files were read.
    files: usize,
    problems: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    file: String,
    line: u64,
    message: String,
}

pub(super) fn run(context: &Context) -> Result {
    let top = context.top()?;
    let (files, environments) = (context::read_files(&top)?, context::read_environments(&top)?);
    let all = files.len() + environments.len();
    let mut problems = Workspace::read(files).err().unwrap_or_default();
    problems.extend(environment::check(&environments));
    if context.json {
        let found = problems.iter().map(|problem| Found {
            file: problem.file.clone(),
            line: problem.line,
            message: problem.message.clone(),
        });
        print_json(&Checked { files: all, problems: found.collect() })?;
    } else {
        for problem in &problems {
            say(context, problem.to_string())?;
        }
        let verdict = match problems.len() {
            0 => format!("{}, no problem", count(all, "file")),
            some => count(some, "problem"),
        };
        say(context, verdict)?;
    }
    Ok(if problems.is_empty() { Answer::Yes } else { Answer::No })
}
