//! Differences as text, for a terminal or as Markdown for a review.

use super::{Change, ComponentChange, Difference, Names, PartChange, SizeChange};

/// How to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For a terminal.
    Plain,
    /// For a review or release notes.
    Markdown,
}

/// One line about a component: what it is about, and what happened.
struct Row {
    about: &'static str,
    text: String,
}

/// Writes a difference, without a line end at the end.
pub fn render(difference: &Difference, style: Style) -> String {
    let mut lines = vec![heading(style, 1, &format!("{} -> {}", difference.from, difference.to))];
    // Else a component that was only left out would look as if it was gone.
    lines.extend(
        difference
            .partial
            .iter()
            .map(|partial| bullet(style, &Row { about: "part", text: partial.to_string() })),
    );
    if difference.is_empty() {
        lines.push("nothing differs".to_owned());
        return lines.join("\n");
    }
    lines.extend(summary(difference).into_iter().map(|row| bullet(style, &row)));
    for change in &difference.changed {
        if style == Style::Markdown {
            lines.push(String::new());
        }
        lines.push(heading(style, 2, &change.name));
        lines.extend(rows(change).iter().map(|row| bullet(style, row)));
    }
    lines.join("\n")
}

fn heading(style: Style, level: usize, text: &str) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Markdown => format!("{} {text}\n", "#".repeat(level)),
    }
}

fn bullet(style: Style, Row { about, text }: &Row) -> String {
    match style {
        Style::Plain => format!("  {about:10} {text}"),
        Style::Markdown => format!("- {about}: {}", quoted(text)),
    }
}

/// Keeps Markdown from reading something into names and versions.
fn quoted(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

fn summary(difference: &Difference) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |about, text: String| rows.push(Row { about, text });
    for (fixes, about) in
        [(&difference.fixes_gained, "fixed"), (&difference.fixes_lost, "no patch")]
    {
        for (cve, components) in fixes {
            row(about, format!("{cve} ({})", components.join(", ")));
        }
    }
    for component in &difference.added {
        row("component", format!("+ {} {}", component.name, component.tag));
    }
    for component in &difference.removed {
        row("component", format!("- {} {}", component.name, component.tag));
    }
    if !difference.unchanged.is_empty() {
        row("same", difference.unchanged.join(", "));
    }
    if let Some(Change { from, to }) = difference.size {
        row("size", size(Some(from), Some(to)));
    }
    rows
}

fn rows(change: &ComponentChange) -> Vec<Row> {
    let mut rows = Vec::new();
    let values = [
        ("tag", &change.tag),
        ("commit", &change.commit),
        ("tree", &change.source_tree),
        ("toolchain", &change.toolchain),
    ];
    for (about, value) in values {
        rows.extend(
            value.iter().map(|Change { from, to }| Row { about, text: format!("{from} -> {to}") }),
        );
    }
    let list = |about: &'static str, names: &Names, with_changed: bool| {
        let added = names.added.iter().map(|name| format!("+ {name}"));
        let removed = names.removed.iter().map(|name| format!("- {name}"));
        let changed = names.changed.iter().filter(|_| with_changed).map(|name| format!("~ {name}"));
        let texts = added.chain(removed).chain(changed);
        texts.map(|text| Row { about, text }).collect::<Vec<_>>()
    };
    rows.extend(list("patch", &change.patches, true));
    rows.extend(change.modules.iter().map(|part| Row { about: "module", text: self::part(part) }));
    rows.extend(
        change.packages.iter().map(|part| Row { about: "package", text: self::part(part) }),
    );
    rows.extend(list("asset", &change.assets, false));
    let sizes = change.sizes.iter().map(|SizeChange { name, from, to }| Row {
        about: "asset",
        text: format!("~ {name} {}", size(*from, *to)).trim_end().to_owned(),
    });
    rows.extend(sizes);
    rows
}

fn part(PartChange { name, from, to }: &PartChange) -> String {
    match (from.as_slice(), to.as_slice()) {
        ([], to) => format!("+ {name} {}", to.join(", ")),
        (from, []) => format!("- {name} {}", from.join(", ")),
        (from, to) => format!("{name} {} -> {}", from.join(", "), to.join(", ")),
    }
}

/// Both sizes and the difference, where they are known.
fn size(from: Option<u64>, to: Option<u64>) -> String {
    let Some((from, to)) = from.zip(to) else { return String::new() };
    let sign = if to < from { '-' } else { '+' };
    format!("{from} -> {to} bytes ({sign}{})", to.abs_diff(from))
}
