//! The one asynchronous runtime: everything outside this crate calls it as ordinary functions.

use std::{io, sync::OnceLock};

use tokio::runtime::{Builder, Runtime};

/// Threads that drive connections; hashing and reading of files happen on the threads of the callers.
const WORKERS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Starts the runtime, if it does not run yet.
pub(crate) fn start() -> io::Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("aws")
        .enable_all()
        .build()?;
    // Of two threads that come first at once one keeps its runtime; the other's is dropped before it did anything.
    Ok(RUNTIME.get_or_init(|| runtime))
}
