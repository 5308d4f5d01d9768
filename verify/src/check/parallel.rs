//! Does the same to many things on all cores.

use std::{
    num::NonZero,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Calls `work` with every item in the order of their `rank`, on as many threads as there are cores, and returns what
/// it said in the items' own order.
pub(super) fn map<T: Sync, R: Send, K: Ord>(
    items: &[T],
    rank: impl Fn(&T) -> K,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let mut order: Vec<_> = items.iter().enumerate().collect();
    order.sort_by_key(|(_, item)| rank(item));
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        while let Some((index, item)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*index, work(item)));
        }
        done
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        // What a thread that panicked should have found must not be taken for nothing found.
        let join = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
