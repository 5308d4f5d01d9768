//! A sketch as a project file, for a person to read and correct.

use std::fmt::Write as _;

use super::{Build, Sketch, Subject};
use crate::config::project;

/// What stands for a licence that nobody could name.
const UNKNOWN: &str = "LicenseRef-unknown";

/// Writes a sketch as `project.yaml`.
pub fn text(subject: &Subject, sketch: &Sketch) -> String {
    let programs: Vec<_> = sketch.builds.iter().flat_map(|build| &build.programs).collect();
    let names: Vec<_> = programs.iter().map(|(name, _)| scalar(name)).collect();
    let (names, name) = (names.join(", "), &subject.name);
    let mut out = String::new();
    let mut line = |text: String| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{text}");
    };
    line(format!(
        "# A first draft from what {} looks like: read it, build it, correct it.",
        subject.tag
    ));
    for remark in &sketch.remarks {
        line(format!("# - {}", remark.replace('\n', " ")));
    }
    line(format!("name: {}", scalar(name)));
    line(format!("repository: {}", scalar(&subject.url)));
    line(format!("license: {}", scalar(sketch.license.as_deref().unwrap_or(UNKNOWN))));
    line("recipes:".to_owned());
    line(format!("  - tags: {}", quoted(&range(subject))));
    let licenses: Vec<_> = sketch.licenses.iter().map(|file| scalar(file)).collect();
    line(format!("    licenses: [{}]", licenses.join(", ")));
    line("    builds:".to_owned());
    for build in &sketch.builds {
        self::build(build, &mut line);
    }
    line(
        "    # What programs must print, so that a wrong version does not go unseen, such as:"
            .to_owned(),
    );
    line(format!(
        "    # checks: [{{programs: [{names}], arguments: [--version], expect: [\"$(tag)\"]}}]"
    ));
    line("    archives:".to_owned());
    line(format!("      - name: {}", scalar(&format!("{name}-$(os)-$(arch)-$(tag).tar.gz"))));
    line(format!("        description: {}", scalar(&format!("{name} tarball"))));
    line(format!("        programs: [{names}]"));
    out
}

fn build(build: &Build, line: &mut impl FnMut(String)) {
    line(format!("      - module: {}", scalar(&build.module)));
    let from = if build.vendored { "vendor" } else { "modules" };
    line(format!("        dependencies: {from}"));
    if build.workspace {
        line("        workspace: true # the vendor folder is of the go.work".to_owned());
    }
    if !build.tags.is_empty() {
        let tags: Vec<_> = build.tags.iter().map(|tag| scalar(tag)).collect();
        line(format!("        tags: [{}]", tags.join(", ")));
    }
    if !build.variables.is_empty() {
        line("        variables:".to_owned());
        for (symbol, template) in &build.variables {
            line(format!("          {}: {}", scalar(symbol), scalar(template)));
        }
    }
    line("        programs:".to_owned());
    for (name, package) in &build.programs {
        line(format!("          - {{name: {}, package: {}}}", scalar(name), scalar(package)));
    }
}

/// From this minor version on; a pre-release is matched only by itself and what follows.
fn range(subject: &Subject) -> String {
    match project::version(&subject.tag) {
        Some(version) if version.pre.is_empty() => {
            format!(">={}.{}.0", version.major, version.minor)
        }
        Some(version) => {
            format!(">={}.{}.{}-{}", version.major, version.minor, version.patch, version.pre)
        }
        None => "*".to_owned(),
    }
}

/// A text as YAML: as it is where nothing in it means something, else in quotes.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_-$()".contains(c);
    let inner = |c: char| plain(c) || c == ':' || c == ' ';
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.' || c == '$');
    let safe =
        begins && text.chars().all(inner) && !text.contains(": ") && !text.ends_with([':', ' ']);
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let number = text.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    if safe && !word.contains(&text.to_lowercase().as_str()) && !number {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A text in double quotes: YAML reads what JSON writes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
