//! The open connections, so that they can be ended from outside.

use std::{
    collections::BTreeMap,
    io,
    net::{Shutdown, TcpStream},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// All open connections of a proxy.
#[derive(Default)]
pub(super) struct Sockets {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    is_stopped: bool,
    next: u64,
    open: BTreeMap<u64, TcpStream>,
}

/// Keeps a connection among the open ones.
pub(super) struct Entry<'a> {
    sockets: &'a Sockets,
    number: u64,
}

impl Sockets {
    /// Takes a connection among the open ones; fails when the proxy ends.
    pub(super) fn enter(&self, stream: &TcpStream) -> io::Result<Entry<'_>> {
        let stream = stream.try_clone()?;
        let mut state = self.state();
        if state.is_stopped {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let number = state.next;
        state.next += 1;
        state.open.insert(number, stream);
        Ok(Entry { sockets: self, number })
    }

    /// Ends all connections, and whoever waits.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        for stream in state.open.values() {
            // One that has ended meanwhile need not be ended.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.stopped.notify_all();
    }

    pub(super) fn are_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Waits; fails when the proxy ends meanwhile.
    pub(super) fn wait(&self, duration: Duration) -> io::Result<()> {
        let wait =
            self.stopped.wait_timeout_while(self.state(), duration, |state| !state.is_stopped);
        let (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        if state.is_stopped { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.sockets.state().open.remove(&self.number);
    }
}
