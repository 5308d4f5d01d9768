//! `kdistro diff`: two releases compared by facts.

use kdistro_formats::{ReleaseName, layout};
use kdistro_verify::store::{self, Reader};

use super::{
    Answer, Result,
    output::{print, print_json},
    plan::proxy,
};
use crate::{
    context::Context,
    diff::{self, Style},
    report::printable,
};

pub(super) fn run(context: &Context, (from, to): (&str, &str), markdown: bool) -> Result {
    let read = |which: &str| -> Result<diff::Facts> {
        let (reader, name) = locate(context, which)?;
        Ok(diff::read(reader.as_ref(), &name)?)
    };
    let difference = diff::diff(&read(from)?, &read(to)?);
    context.reporter.clear();
    if context.json {
        print_json(&difference)?;
    } else {
        let style = if markdown { Style::Markdown } else { Style::Plain };
        print(printable(&diff::render(&difference, style)))?;
    }
    Ok(if difference.is_empty() { Answer::Yes } else { Answer::No })
}

/// Finds a release: a name is one of the environment's store, anything else the path or address of a manifest.
pub(super) fn locate(context: &Context, which: &str) -> Result<(Box<dyn Reader>, String)> {
    let Ok(name) = which.parse::<ReleaseName>() else {
        return Ok(store::locate(which, None, proxy(context).as_deref())?);
    };
    let place = context.home.resolve(&context.target()?.store.directory);
    Ok((Box::new(store::Directory::new(place)), layout::manifest(&name)))
}
