//! `kdistro new project`: a first project file from what an upstream's tag looks like.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use kdistro_assemble::licenses::Library;
use kdistro_formats::{Tag, yaml};
use kdistro_source::{Mirror, TagSource};
use serde_json::json;

use super::{
    Answer, Result,
    output::{count, print_json, say},
};
use crate::{
    config::{self, Workspace, inputs::Inputs},
    context::{self, Context},
    home::Origin,
    new_project::{self, Sketch, Subject},
};

pub(super) fn run(context: &Context, url: &str, tag: &Tag, name: Option<&str>) -> Result {
    let subject = Subject::new(url, tag, name)?;
    let file = config::project_file(&subject.project);
    let top = context.top()?;
    if top.join(&file).exists() {
        return Err(format!("{file} exists: add a recipe for {tag} to it, or move it away").into());
    }
    let mirror = context.home.mirror(Origin::Git, &subject.project);
    let mirror = Mirror::open(&mirror, &context.environment)?;
    let source = TagSource { url: &subject.url, tag, expected: None, refresh: false };
    let progress = |message: &str| context.reporter.progress(message);
    let revision = mirror.fetch_tag(&source, &progress);
    let revision = revision.map_err(|error| no_tag(context, &subject).unwrap_or(error.into()))?;
    context.reporter.progress("looking at the source");
    let files = new_project::look(&mirror, &revision.tree)?;
    let library = Library::load()?;
    let sketch = new_project::sketch(&subject, &files, &|text| library.identify(text))?;
    let text = new_project::text(&subject, &sketch);
    context.reporter.clear();

    // It must be readable before it is there; what else is wrong in the repository was wrong before.
    let mut files = context::read_files(&top)?;
    files.insert(file.clone(), text.clone().into_bytes());
    let problems = Workspace::read(files).err().unwrap_or_default();
    let own: Vec<_> = problems.iter().filter(|problem| problem.file == file).collect();
    for problem in &own {
        context.reporter.note(problem.to_string());
    }
    write(&top.join(&file), &text).map_err(|error| format!("cannot write {file}: {error}"))?;
    if context.json {
        print_json(&json!({
            "project": subject.project, "tag": subject.tag, "commit": revision.commit,
            "file": file, "go": sketch.go, "remarks": sketch.remarks,
            "programs": sketch.builds.iter().flat_map(|b| &b.programs).map(|p| &p.0).collect::<Vec<_>>(),
        }))?;
    } else {
        tell(context, &subject, (&file, &sketch))?;
    }
    Ok(if own.is_empty() { Answer::Yes } else { Answer::No })
}

/// Where upstream answers and has no such tag, that is why; and it says which it has.
fn no_tag(context: &Context, subject: &Subject) -> Option<Box<dyn std::error::Error>> {
    let Subject { url, tag, .. } = subject;
    let tags = kdistro_source::checkout::remote_tags(url, &context.environment).ok()?;
    Some(new_project::no_tag(url, tag, &tags)?.into())
}

/// Writes a file that must not be there yet.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

fn tell(context: &Context, subject: &Subject, (file, sketch): (&str, &Sketch)) -> Result<()> {
    let programs = sketch.builds.iter().map(|build| build.programs.len()).sum();
    let (programs, modules) = (count(programs, "program"), count(sketch.builds.len(), "module"));
    say(context, format!("wrote {file}: {programs} of {modules}"))?;
    for remark in &sketch.remarks {
        say(context, format!("  {remark}"))?;
    }
    let go = sketch.go.as_deref().unwrap_or("1.26");
    let Subject { project, tag, .. } = subject;
    say(context, "\nnext:")?;
    say(context, format!("  read {file} and correct it, then `kdistro check`"))?;
    say(context, "  add to `components` in release-manifests/CHANNEL/channel.yaml:")?;
    say(context, format!("    - {{project: {project}, tag: {tag}, go: \"{go}\"}}"))?;
    // By itself: the channels need not be in order before the project is.
    let inputs = fs::read_to_string(context.top()?.join(config::INPUTS))?;
    let inputs: Option<Inputs> = yaml::from_str(&inputs).ok();
    if inputs.is_some_and(|inputs| inputs.go(go).is_none()) {
        say(
            context,
            format!("  Go {go} is not in projects/inputs.yaml yet: add it, or take a newer one"),
        )?;
    }
    say(context, format!("  kdistro lock CHANNEL && kdistro build CHANNEL --component {project}"))?;
    Ok(())
}
