//! Does several things at once, each of which waits for something.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Does the work on each of `all`, on at most `count` at once, the first first. After a failure nothing new is begun, and
/// the first one is told.
pub(super) fn each<T: Sync, E: Send>(
    all: &[T],
    count: usize,
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let go_on = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(one) {
                next.store(all.len(), Ordering::Relaxed);
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..count.min(all.len()) {
            scope.spawn(go_on);
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_done_once_and_after_a_failure_no_other_is_begun() {
        let done = Mutex::new(Vec::new());
        let work = |one: &usize| {
            done.lock().unwrap().push(*one);
            if *one == 30 { Err("thirty") } else { Ok(()) }
        };
        let few: Vec<usize> = (0..20).collect();
        each(&few, 4, work).unwrap();
        done.lock().unwrap().sort_unstable();
        assert_eq!(*done.lock().unwrap(), few);
        let many: Vec<usize> = (20..1000).collect();
        assert_eq!(each(&many, 4, work), Err("thirty"));
        assert!(done.lock().unwrap().len() < 900, "it went on");
        done.lock().unwrap().clear();
        assert_eq!(each(&many, 1, work), Err("thirty"));
        assert_eq!(*done.lock().unwrap(), (20..=30).collect::<Vec<_>>(), "one after the other");
    }
}
