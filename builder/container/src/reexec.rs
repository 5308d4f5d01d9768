//! How this program becomes its own helper: the hidden words that turn a start of it into a supervisor or an engine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, process};

use crate::{engine, supervisor};

/// First argument of a supervisor. The colon keeps it apart from every command line word.
pub(crate) const SUPERVISE: &str = "kdistro-container:supervise";
/// First argument of an engine.
pub(crate) const ENGINE: &str = "kdistro-container:engine";

static ENTERED: AtomicBool = AtomicBool::new(false);

/// Turns this process into a container's helper, and never returns, if it was started as one.
///
/// Must be the first thing `main` does, before any thread starts: [`run`](crate::run) starts this same program again,
/// and namespaces can only be made by a process of one thread.
pub fn enter_if_helper() {
    ENTERED.store(true, Ordering::Relaxed);
    let word = env::args_os().nth(1);
    let code = match word.as_ref().and_then(|word| word.to_str()) {
        Some(SUPERVISE) => supervisor::main(),
        Some(ENGINE) => engine::main(),
        _ => return,
    };
    process::exit(code)
}

/// Whether this program starts with [`enter_if_helper`], and so can be started again as a helper.
pub(crate) fn is_entered() -> bool {
    ENTERED.load(Ordering::Relaxed)
}
