//! Opens the file of a history: nobody else's, whole from the beginning, and an error in words where it is damaged.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use redb::{Builder, ConcurrencyMode, Database, DatabaseError, backends::FileBackend};

use crate::file;

/// The memory for what was read, in bytes.
const CACHE: usize = 1 << 20;
/// The modes of the folder and of the files in it: whoever opens one can lock it, and nothing is done meanwhile.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The rights of all but the owner.
const OTHERS: u32 = 0o077;

/// A history that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Another process looks or rolls out, or has it open by itself.
    #[error(
        "{0} is in use by another kdistro-rollout\nhelp:  one serves a cluster; wait until that one is done, or end it first"
    )]
    InUse(String),
    /// The file has nothing in it, as none has that this program made.
    #[error(
        "{0} is empty, and no history\nhelp:  put a copy of the history back; without it, a release older than those that ran is not known for one: remove the file only to begin again"
    )]
    Empty(String),
    /// The file is damaged where the database does not look for it.
    #[error(
        "{0} is damaged\nhelp:  put a copy of the history back; without it, a release older than those that ran is not known for one: remove the file only to begin again"
    )]
    Damaged(String),
    /// The database cannot be used.
    #[error("cannot use the history")]
    Database(#[from] redb::Error),
    /// The file cannot be opened or made.
    #[error("cannot open {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Whose turn it is cannot be told.
    #[error("cannot lock {}", file.display())]
    Lock {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What it holds is not what this program writes.
    #[error("the history holds something else than this program writes")]
    Content(#[from] serde_json::Error),
}

/// Opens the database in a file, which is made when there is none, and its folder too.
pub(super) fn open(path: &Path) -> Result<Database, HistoryError> {
    let failed = |source| HistoryError::File { file: path.to_owned(), source };
    if !fs::exists(path).map_err(failed)? {
        create(path)?;
    }
    withdraw(path).map_err(failed)?;
    if fs::metadata(path).map_err(failed)?.len() == 0 {
        return Err(HistoryError::Empty(path.display().to_string()));
    }
    let opened = || builder().open(path).map_err(|error| unusable(path, error));
    guarded(path, opened)
}

/// Opens a file that nobody else may open, which is made where there is none.
pub(super) fn open_to_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let opened = options.create(true).truncate(false).write(true).mode(FILE_MODE).open(path)?;
    withdraw(path)?;
    Ok(opened)
}

/// Uses a database, which panics where its file is damaged and it does not look for that.
pub(super) fn guarded<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, HistoryError>,
) -> Result<T, HistoryError> {
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(HistoryError::Damaged(path.display().to_string())))
}

/// Makes the file under another name first: an empty one, as one killed meanwhile would leave, is no history.
fn create(path: &Path) -> Result<(), HistoryError> {
    let failed = |source| HistoryError::File { file: path.to_owned(), source };
    let folder = file::folder_of(path);
    make_folder(folder).map_err(failed)?;
    let (new, opened) = file::begin(folder, FILE_MODE).map_err(failed)?;
    let backend = FileBackend::new(opened);
    let made = backend.and_then(|backend| builder().create_with_backend(backend));
    let made = made.map_err(|error| unusable(path, error));
    let linked = made.and_then(|database| {
        drop(database);
        match fs::hard_link(&new, path) {
            // Another process was first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked.map_err(failed),
        }
    });
    // Without its name it is nobody's; with it, it has two.
    let _ = fs::remove_file(&new);
    linked?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    folder.parent().map_or(Ok(()), fs::create_dir_all)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Takes the rights to a file from others; what is somebody else's stays as it is.
fn withdraw(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    if is_own && metadata.mode() & OTHERS != 0 {
        fs::set_permissions(path, Permissions::from_mode(FILE_MODE))?;
    }
    Ok(())
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_concurrency_mode(ConcurrencyMode::MultiWriter).set_cache_size(CACHE);
    builder
}

fn unusable(path: &Path, error: DatabaseError) -> HistoryError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => HistoryError::InUse(path.display().to_string()),
        error => HistoryError::Database(error.into()),
    }
}
