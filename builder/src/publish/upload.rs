//! Brings the files of a release into the store: the plan first, then several at once, the sums of a folder last.
//!
//! What is there already costs as few requests as can be: a listing, and the sums of each folder, which are written last
//! and so are the record of what is complete. Only what no record speaks of is compared one by one.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use kdistro_border::{Content, StoreError};
use kdistro_formats::{Digest, ReleaseName, layout};

use super::{
    PublishError, Publisher, Ready, at_once,
    files::{self, Upload},
};
use crate::journal::{Entry, Journal};

/// What a store has of a release already.
#[derive(Debug)]
struct Present {
    /// Names that are taken: by what, nobody has looked.
    listed: BTreeSet<String>,
    /// Folders whose sums are there and are what they will be, so that all in them is.
    complete: BTreeSet<String>,
    /// True once something was sent that is not listed.
    outdated: AtomicBool,
}

impl Publisher<'_> {
    /// Uploads what neither the journal nor the store says is there, and makes sure that everything really is before a
    /// manifest names it.
    pub(super) fn upload_all(
        &self,
        uploads: &[Upload],
        release: &ReleaseName,
        journal: &mut Journal,
    ) -> Result<(), PublishError> {
        let is_known = |upload: &&Upload| journal.has_published(upload.name(), &upload.digest());
        let waiting: Vec<_> = uploads.iter().filter(|upload| !is_known(upload)).collect();
        let present = self.present((uploads, &waiting), release)?;
        let is_left = |upload: &&Upload| !present.complete.contains(folder(upload.name()));
        let mut left: Vec<_> = waiting.into_iter().filter(is_left).collect();
        // The largest first, so that none is left alone at the end.
        left.sort_by_key(|upload| Reverse(upload.size()));
        let left = left.into_iter();
        let (first, rest): (Vec<_>, Vec<_>) = left.partition(|upload| upload.is_first());
        let (last, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|upload| upload.is_last());
        let journal = Mutex::new(journal);
        for some in [first, rest, last] {
            self.upload_some(&some, &present, &journal)?;
        }
        self.refuse_gaps(uploads, present, release)
    }

    /// Refuses to go on when something is not there that should be.
    fn refuse_gaps(
        &self,
        uploads: &[Upload],
        present: Present,
        release: &ReleaseName,
    ) -> Result<(), PublishError> {
        let listed = if present.outdated.into_inner() {
            self.listed(uploads.iter(), release)?
        } else {
            present.listed
        };
        let gone = uploads.iter().map(Upload::name).find(|name| !listed.contains(*name));
        gone.map_or(Ok(()), |gone| Err(PublishError::Vanished(gone.to_owned())))
    }

    /// Lists the release's folder, and where else something of it belongs.
    fn listed<'u>(
        &self,
        uploads: impl Iterator<Item = &'u Upload>,
        release: &ReleaseName,
    ) -> Result<BTreeSet<String>, PublishError> {
        let own = layout::release(release);
        let place = |upload: &Upload| {
            let name = upload.name();
            let is_own = name.strip_prefix(&own).is_some_and(|rest| rest.starts_with('/'));
            if is_own { own.clone() } else { folder(name).to_owned() }
        };
        let mut listed = BTreeSet::new();
        for place in uploads.map(place).chain([own.clone()]).collect::<BTreeSet<_>>() {
            listed.extend(self.store.list(&format!("{place}/"))?);
        }
        Ok(listed)
    }

    /// Lists what is there, and reads the sums of folders in which something is to be put.
    fn present(
        &self,
        (all, waiting): (&[Upload], &[&Upload]),
        release: &ReleaseName,
    ) -> Result<Present, PublishError> {
        let listed = self.listed(all.iter(), release)?;
        let (complete, outdated) = (BTreeSet::new(), AtomicBool::new(false));
        let mut present = Present { listed, complete, outdated };
        for upload in waiting {
            if let Upload::Bytes { name, bytes } = upload
                && upload.is_last()
                && present.listed.contains(name)
                && self.store.read(name)?.as_ref() == Some(bytes)
            {
                present.complete.insert(folder(name).to_owned());
            }
        }
        Ok(present)
    }

    /// What a store lacks of a release, and how much it has, by its listing alone.
    pub fn missing(&self, ready: &Ready<'_>) -> Result<(Vec<Upload>, usize), PublishError> {
        let name = ready.name();
        let uploads = files::uploads(ready, &name);
        let listed = self.listed(uploads.iter(), &name)?;
        let all = uploads.len();
        let is_missing = |upload: &Upload| !listed.contains(upload.name());
        let missing: Vec<_> = uploads.into_iter().filter(is_missing).collect();
        let has = all - missing.len();
        Ok((missing, has))
    }

    /// Uploads several files at once.
    fn upload_some(
        &self,
        uploads: &[&Upload],
        present: &Present,
        journal: &Mutex<&mut Journal>,
    ) -> Result<(), PublishError> {
        at_once::each(uploads, self.at_once, |upload| {
            self.reporter.progress(format!("publishing {}", upload.name()));
            self.upload(upload, present, journal)
        })
    }

    fn upload(
        &self,
        upload: &Upload,
        present: &Present,
        journal: &Mutex<&mut Journal>,
    ) -> Result<(), PublishError> {
        let (name, digest) = (upload.name(), upload.digest());
        if !(present.listed.contains(name) && self.is_published(name, digest)?) {
            self.send(upload)?;
            present.outdated.store(true, Ordering::Relaxed);
        }
        let entry = Entry::Published { name: name.to_owned(), digest };
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(journal.write(&entry)?)
    }

    /// Tells whether a name that is listed holds what it should.
    fn is_published(&self, name: &str, digest: Digest) -> Result<bool, PublishError> {
        match self.store.stat(name)? {
            Some(there) if there.digest == digest => Ok(true),
            Some(there) => {
                let (name, published) = (name.to_owned(), there.digest);
                Err(StoreError::Conflict { name, published, digest }.into())
            }
            None => Ok(false),
        }
    }

    fn send(&self, upload: &Upload) -> Result<(), PublishError> {
        match upload {
            Upload::Bytes { name, bytes } => {
                self.store.create(name, Content::Bytes(bytes))?;
            }
            Upload::Stored { name, digest, size } => {
                let path = self.path(digest);
                let content = Content::File { path: &path, digest: *digest, size: *size };
                if let Err(error) = self.store.create(name, content) {
                    // Damaged content is removed, so that the next run makes or fetches it again.
                    if !self.elsewhere.contains_key(digest) {
                        self.content.check(digest)?;
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}

/// The folder of a name, without a slash at its end.
fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}
