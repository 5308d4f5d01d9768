//! `kdistro check`: reads every declarative file and lists all problems.

use serde::Serialize;

use super::{
    Answer, Result,
    output::{print, print_json},
};
use crate::{
    config::Workspace,
    context::{self, Context},
};

#[derive(Serialize)]
struct Found {
    file: String,
    line: u64,
    message: String,
}

pub(super) fn run(context: &Context) -> Result {
    let files = context::read_files(&context.top()?)?;
    let count = files.len();
    let problems = Workspace::read(files).err().unwrap_or_default();
    if context.json {
        let found = problems.iter().map(|problem| Found {
            file: problem.file.clone(),
            line: problem.line,
            message: problem.message.clone(),
        });
        print_json(&found.collect::<Vec<_>>())?;
    } else {
        for problem in &problems {
            print(problem.to_string())?;
        }
        let verdict = match problems.len() {
            0 => format!("{count} files, no problem"),
            1 => "1 problem".to_owned(),
            many => format!("{many} problems"),
        };
        print(verdict)?;
    }
    Ok(if problems.is_empty() { Answer::Yes } else { Answer::No })
}
