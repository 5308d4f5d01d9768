//! Whose turn it is, where all at once would be too much for a machine.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

static TURNS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];
static NEXT: AtomicBool = AtomicBool::new(false);

/// Waits for one of the two turns that the tests of one program have; it ends when it is dropped.
///
/// Clusters wait for most of their time, so that two go well at once; with more of them tests would fail because the
/// machine is busy.
pub fn turn() -> MutexGuard<'static, ()> {
    let [one, other] = &TURNS;
    let turn = if NEXT.fetch_not(Ordering::Relaxed) { one } else { other };
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}
