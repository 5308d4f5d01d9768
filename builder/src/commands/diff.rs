//! `kdistro diff`: two releases compared by facts.

use super::{
    Answer, Result,
    find::find,
    output::{print, print_json, say},
};
use crate::{
    context::Context,
    diff::{self, Style},
    report::printable,
};

pub(super) fn run(context: &Context, (from, to): (&str, &str), markdown: bool) -> Result {
    let read = |which: &str| -> Result<diff::Facts> {
        let (reader, name) = find(context, which, None)?;
        Ok(diff::read(reader.as_ref(), &name)?)
    };
    let difference = diff::diff(&read(from)?, &read(to)?);
    context.reporter.clear();
    if context.json {
        print_json(&difference)?;
    } else if markdown {
        print(printable(&diff::render(&difference, Style::Markdown)))?;
    } else {
        say(context, printable(&diff::render(&difference, Style::Plain)))?;
    }
    Ok(if difference.is_empty() { Answer::Yes } else { Answer::No })
}
