//! What a run tells while it works: lines for people, one line on a terminal, or JSON events.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

/// Something that happened. With `--json`, one line each on standard error.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A stage of the pipeline begins.
    Stage {
        /// Its name.
        stage: &'static str,
    },
    /// Something is going on that may take a while.
    Progress {
        /// What.
        message: String,
    },
    /// A build step begins.
    StepStarted {
        /// Its name.
        step: String,
        /// How many steps are left, this one included.
        left: usize,
    },
    /// A build step ended well.
    StepFinished {
        /// Its name.
        step: String,
        /// Wall time in seconds.
        seconds: f64,
        /// CPU time in seconds.
        cpu_seconds: f64,
        /// How many steps are left.
        left: usize,
    },
    /// Something people should know.
    Note {
        /// What.
        message: String,
    },
}

/// How to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Nothing but errors.
    Quiet,
    /// A line an event.
    Plain,
    /// A line that is written over.
    Terminal,
    /// A JSON document an event.
    Json,
}

/// Tells events on standard error.
#[derive(Clone)]
pub struct Reporter {
    style: Style,
    /// Where a passing line is cut off: one that wraps cannot be written over.
    columns: usize,
    /// When something passing was last told, and whether it still stands on the terminal.
    passing: Arc<Mutex<(Option<Instant>, bool)>>,
}

/// How often something passing is told where lines stay: often enough to see that it works.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest passing line.
const LONGEST: usize = 100;

impl Reporter {
    /// Chooses the style: quiet or JSON where asked for, a terminal's where there is one.
    pub fn new(json: bool, quiet: bool, columns: Option<usize>) -> Self {
        let style = match (json, quiet) {
            (_, true) => Style::Quiet,
            (true, _) => Style::Json,
            _ if io::stderr().is_terminal() => Style::Terminal,
            _ => Style::Plain,
        };
        // A line that fills the last column already wraps on some terminals.
        let columns = columns.map_or(LONGEST, |columns| columns.saturating_sub(1)).min(LONGEST);
        Self { style, columns, passing: Arc::default() }
    }

    /// Tells an event.
    pub fn tell(&self, event: &Event) {
        let text = match (self.style, event) {
            (Style::Quiet, _) => return,
            (Style::Json, event) => serde_json::to_string(event).unwrap_or_default(),
            (_, event) => describe(event),
        };
        let passing = matches!(event, Event::Progress { .. } | Event::StepStarted { .. });
        let mut state = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = state.0.is_some_and(|last| last.elapsed() < PATIENCE);
        if self.style == Style::Plain && matches!(event, Event::Progress { .. }) {
            if recent {
                return;
            }
            state.0 = Some(Instant::now());
        }
        let mut out = io::stderr().lock();
        let cut: String = text.chars().take(self.columns).collect();
        // A terminal that went away must not end the run.
        let _ = match self.style {
            Style::Terminal if passing => write!(out, "\r\x1b[K{cut}"),
            Style::Terminal => writeln!(out, "\r\x1b[K{text}"),
            _ => writeln!(out, "{text}"),
        };
        let _ = out.flush();
        state.1 = passing;
    }

    /// Begins a stage.
    pub fn stage(&self, stage: &'static str) {
        self.tell(&Event::Stage { stage });
    }

    /// Tells what is going on.
    pub fn progress(&self, message: impl Into<String>) {
        self.tell(&Event::Progress { message: message.into() });
    }

    /// Tells something people should know.
    pub fn note(&self, message: impl Into<String>) {
        self.tell(&Event::Note { message: message.into() });
    }

    /// Clears the passing line before something else is printed.
    pub fn clear(&self) {
        let mut state = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.style == Style::Terminal && state.1 {
            let _ = write!(io::stderr(), "\r\x1b[K");
            state.1 = false;
        }
    }
}

/// Makes what others wrote harmless for a terminal; lines and tabs stay.
pub use kdistro_formats::terminal::printable_lines as printable;

/// Breaks a line at spaces so that nothing passes `columns`, and begins what follows `indent` columns in.
///
/// A word that is too long for a line, such as a digest, stays whole: it must be fit for copying. Where less than
/// half of the screen would be left, the indent is smaller.
pub fn fold(line: &str, columns: usize, indent: usize) -> String {
    let width = |text: &str| text.chars().count();
    if width(line) <= columns {
        return line.to_owned();
    }
    let indent = if indent * 2 > columns { columns.min(8) / 2 } else { indent };
    let (mut out, mut used) = (String::with_capacity(line.len()), 0);
    let mut has_word = false;
    for piece in line.split_inclusive(' ') {
        let word = piece.trim_end();
        if has_word && !word.is_empty() && used + width(word) > columns {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            used = indent;
        }
        has_word |= !word.is_empty();
        out.push_str(piece);
        used += width(piece);
    }
    out.truncate(out.trim_end().len());
    out
}

fn describe(event: &Event) -> String {
    let text = match event {
        Event::Stage { stage } => format!("== {stage}"),
        Event::StepStarted { step, left } => format!("   building {step} ({left} left)"),
        Event::StepFinished { step, seconds, cpu_seconds, left } => {
            format!("   built {step} in {seconds:.1} s ({cpu_seconds:.1} CPU s), {left} left")
        }
        Event::Progress { message } | Event::Note { message } => format!("   {message}"),
    };
    printable(&text)
}

/// Seconds as a number that prints well.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_quiet_with_json_too_and_a_passing_line_leaves_the_last_column_free() {
        assert_eq!(Reporter::new(true, true, None).style, Style::Quiet);
        assert_eq!(Reporter::new(true, false, None).style, Style::Json);
        for (columns, expected) in [(None, 100), (Some(60), 59), (Some(300), 100)] {
            assert_eq!(Reporter::new(false, false, columns).columns, expected);
        }
    }

    #[test]
    fn lines_break_at_spaces_below_their_own_column() {
        assert_eq!(fold("short", 60, 2), "short");
        let line = "ok        go    1.26 at a place with a long name";
        let folded = "ok        go    1.26 at a place\n                with a long name";
        assert_eq!(fold(line, 32, 16), folded);
        assert!(folded.lines().all(|line| line.len() <= 32));
    }

    #[test]
    fn a_long_word_stays_whole_and_a_deep_column_is_given_up() {
        let digest = "5".repeat(64);
        assert_eq!(fold(&format!("  digest {digest}"), 20, 4), format!("  digest\n    {digest}"));
        assert_eq!(fold(&format!("  {digest}"), 20, 4), format!("  {digest}"));
        assert_eq!(
            fold("a-very-long-name    same content", 24, 20),
            "a-very-long-name    same\n    content"
        );
    }
}
