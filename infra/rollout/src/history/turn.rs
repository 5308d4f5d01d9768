//! Whose turn it is to look and to roll out: one process's at a time, for as long as it lives.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use super::{HistoryError, opening};

/// The turn to look and to roll out; it ends when this is dropped, or with its process.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Takes the turn that belongs to a history.
    pub(super) fn take(history: &Path) -> Result<Self, HistoryError> {
        let file = history.with_extension("lock");
        let failed = |source| HistoryError::Lock { file: file.clone(), source };
        let lock = opening::open_to_lock(&file).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(HistoryError::InUse(history.display().to_string()))
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
