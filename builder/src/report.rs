//! What a run tells while it works: lines for people, one line on a terminal, or JSON events.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
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
pub struct Reporter {
    style: Style,
    /// When something passing was last told, and whether it still stands on the terminal.
    passing: Mutex<(Option<Instant>, bool)>,
}

/// How often something passing is told where lines stay: often enough to see that it works.
const PATIENCE: Duration = Duration::from_secs(5);

impl Reporter {
    /// Chooses the style: JSON or quiet where asked for, a terminal's where there is one.
    pub fn new(json: bool, quiet: bool) -> Self {
        let style = match (json, quiet) {
            (true, _) => Style::Json,
            (_, true) => Style::Quiet,
            _ if io::stderr().is_terminal() => Style::Terminal,
            _ => Style::Plain,
        };
        Self { style, passing: Mutex::new((None, false)) }
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
        let cut: String = text.chars().take(100).collect();
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

/// Makes what others wrote harmless for a terminal: control characters but the line end are spelled out.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
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
