//! One run of the publisher on one machine: what it does reaches the world as its schedule has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use kdistro_border::{
    AnnounceError, Announced, Announcer, Content, Created, Referrer, Registry, RegistryError,
    Store, StoreError, Stored, announcer,
    store::{LARGEST_DOCUMENT, check_name},
};
use kdistro_formats::Digest;
use tempfile::TempDir;

use crate::{
    invariants::Seen,
    release::Site,
    schedule::{Fate, Script, Turns},
    trace::Trace,
    world::{Change, Done, INJECTED, Told, World, service},
};

/// The world, what held in it so far, and what was done to it.
pub(crate) struct Scene<'a> {
    pub(crate) site: &'a Site,
    state: Mutex<State>,
}

/// What a [`Scene`] guards.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) seen: Seen,
    /// What does not hold.
    pub(crate) broken: Option<String>,
    /// What was done, where that is asked for.
    pub(crate) trace: Option<Trace>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(site: &'a Site, state: State) -> Self {
        Self { site, state: Mutex::new(state) }
    }

    pub(crate) fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn into_state(self) -> State {
        self.state.into_inner().unwrap()
    }
}

impl State {
    /// Writes down what was done.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.add(&line());
        }
    }
}

/// A machine: what publishers keep on it is lost when it is.
pub(crate) struct Machine {
    folder: TempDir,
}

type Kept = BTreeMap<PathBuf, Vec<u8>>;

impl Machine {
    pub(crate) fn new(site: &Site) -> Self {
        let folder = site.folder("machines");
        Self { folder: tempfile::tempdir_in(folder).unwrap() }
    }

    pub(crate) fn journal(&self, number: u32) -> PathBuf {
        self.folder.path().join(format!("{number}.jsonl"))
    }

    pub(crate) fn head(&self) -> PathBuf {
        self.folder.path().join("head")
    }

    /// Calls it by a number in a text.
    pub(crate) fn rename(&self, text: &str, number: u32) -> String {
        text.replace(&self.folder.path().display().to_string(), &format!("machine {number}"))
    }

    /// What is on it now.
    fn kept(&self) -> Kept {
        let entries = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
    }

    /// Makes it what it was: what a process wrote after it was killed was never written.
    fn restore(&self, kept: &Kept) {
        for (path, bytes) in self.kept() {
            match kept.get(&path) {
                Some(old) if *old == bytes => {}
                Some(old) => fs::write(&path, old).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
        }
    }

    /// Loses what was written last to each journal: a line, or half of it.
    pub(crate) fn lose_last_line(&self, half: bool) {
        for (path, bytes) in self.kept() {
            let Some(whole) = bytes.strip_suffix(b"\n").filter(|_| path.extension().is_some())
            else {
                continue;
            };
            let start = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let end = if half { usize::midpoint(start, whole.len()) } else { start };
            fs::write(&path, &bytes[..end]).unwrap();
        }
    }
}

/// One run of the publisher.
pub(crate) struct Process<'a> {
    pub(crate) scene: &'a Scene<'a>,
    pub(crate) machine: &'a Machine,
    /// Which run of the schedule it is.
    pub(crate) run: u32,
    script: Script,
    turns: Option<(&'a Turns, usize)>,
    life: Mutex<Life>,
}

#[derive(Debug, Default)]
struct Life {
    step: u32,
    /// What was on its machine when it was killed.
    killed: Option<Kept>,
}

impl<'a> Process<'a> {
    pub(crate) fn new(
        (scene, machine): (&'a Scene<'a>, &'a Machine),
        run: u32,
        script: Script,
        turns: Option<(&'a Turns, usize)>,
    ) -> Self {
        Self { scene, machine, run, script, turns, life: Mutex::default() }
    }

    /// Ends it: of what it did after it was killed nothing is left. Returns how many operations it
    /// began, and whether it was killed.
    pub(crate) fn end(&self) -> (u32, bool) {
        let life = self.life.lock().unwrap();
        if let Some(kept) = &life.killed {
            self.machine.restore(kept);
        }
        (life.step, life.killed.is_some())
    }

    /// Does one operation, as the schedule has it.
    fn operate<T, E>(
        &self,
        (what, name): (&str, &str),
        refuse: impl Fn(io::Error) -> E,
        act: impl FnOnce(&mut World) -> Done<T, E>,
    ) -> Result<T, E> {
        let refuse = |why: &str| refuse(io::Error::other(format!("{INJECTED}: {why}")));
        if let Some((turns, thread)) = self.turns {
            turns.wait(thread);
        }
        let mut life = self.life.lock().unwrap();
        if life.killed.is_some() {
            return Err(refuse("the process was killed"));
        }
        let (step, mut scene) = (life.step, self.scene.look());
        life.step += 1;
        if scene.broken.is_some() {
            return Err(refuse("an invariant is broken"));
        }
        let fate = self.script.fate(step);
        scene.note(|| format!("{}.{step} {what} {name}: {fate:?}", self.run));
        if let Some((_, files)) = self.script.full.filter(|(at, _)| *at == step) {
            scene.world.full = files;
        }
        if matches!(fate, Fate::KilledBefore) {
            life.killed = Some(self.machine.kept());
        }
        if matches!(fate, Fate::KilledBefore | Fate::Refused) {
            return Err(refuse("the network failed"));
        }
        let done = act(&mut scene.world);
        if fate == Fate::KilledAfter {
            life.killed = Some(self.machine.kept());
        }
        let (value, change) = done?;
        if let Some(change) = change {
            let State { world, seen, broken, .. } = &mut *scene;
            *broken = seen.check(self.scene.site, world, &change).err();
        }
        match fate {
            Fate::Lost | Fate::KilledAfter => Err(refuse("the answer was lost")),
            _ => Ok(value),
        }
    }

    fn look<T>(
        &self,
        (what, name): (&str, &str),
        see: impl FnOnce(&World) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let refuse = |source| service(name, source);
        self.operate((what, name), refuse, |world| Ok((see(world)?, None)))
    }

    fn registry<T>(
        &self,
        (what, name): (&'static str, &str),
        act: impl FnOnce(&mut World) -> Done<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let refuse = |source| RegistryError::Service {
            repository: name.to_owned(),
            action: what,
            source: Box::new(source),
        };
        self.operate((what, name), refuse, act)
    }
}

impl Drop for Process<'_> {
    /// Whoever waits must not wait for one that ended, or panicked.
    fn drop(&mut self) {
        if let Some((turns, thread)) = self.turns {
            turns.end(thread);
        }
    }
}

impl Store for Process<'_> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(("read", name), |world| {
            check_name(name)?;
            let bytes = world.read(name);
            let size = bytes.map_or(0, <[u8]>::len) as u64;
            if size > LARGEST_DOCUMENT {
                return Err(StoreError::TooLarge { name: name.to_owned(), size });
            }
            Ok(bytes.map(<[u8]>::to_vec))
        })
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>, StoreError> {
        let bytes = self.look(("open", name), |world| Ok(world.read(name).map(<[u8]>::to_vec)))?;
        Ok(bytes.map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn Read + Send>))
    }

    fn stat(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        self.look(("stat", name), |world| world.stat(name))
    }

    fn create(&self, name: &str, content: Content<'_>) -> Result<Created, StoreError> {
        let refuse = |source| service(name, source);
        self.operate(("create", name), refuse, |world| world.create(name, content))
    }

    fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        let refuse = |source| service(name, source);
        self.operate(("swap", name), refuse, |world| world.swap(name, old, new))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.look(("list", prefix), |world| Ok(world.names(prefix)))
    }

    fn place(&self) -> String {
        "the world".to_owned()
    }
}

impl Registry for Process<'_> {
    fn prepare(&self, repositories: &BTreeSet<String>) -> Result<(), RegistryError> {
        self.registry(("prepare", "repositories"), |world| {
            world.prepare(repositories);
            Ok(((), None))
        })
    }

    fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError> {
        let has = |world: &mut World| Ok((world.has_blob(repository, digest), None));
        self.registry(("look for a blob in", repository), has)
    }

    fn push_blob(&self, repository: &str, content: Content<'_>) -> Result<Created, RegistryError> {
        let push = |world: &mut World| world.push_blob(repository, content);
        self.registry(("push a blob to", repository), push)
    }

    fn push_manifest(&self, repository: &str, bytes: &[u8]) -> Result<Created, RegistryError> {
        let push = |world: &mut World| world.push_manifest(repository, bytes);
        self.registry(("push a manifest to", repository), push)
    }

    fn read_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        self.registry(("read a manifest of", repository), |world| {
            let there = world.repositories.get(repository);
            let bytes = there.and_then(|there| there.manifests.get(digest));
            Ok((bytes.map(|bytes| bytes.to_vec()), None))
        })
    }

    fn tag(&self, repository: &str, tag: &str, digest: &Digest) -> Result<Created, RegistryError> {
        self.registry(("tag", repository), |world| world.tag(repository, tag, digest))
    }

    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        self.registry(("resolve a tag of", repository), |world| {
            let there = world.repositories.get(repository);
            Ok((there.and_then(|there| there.tags.get(tag)).copied(), None))
        })
    }

    fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<Vec<Referrer>, RegistryError> {
        self.registry(("list the referrers in", repository), |world| {
            let there = world.repositories.get(repository);
            let found = there.and_then(|there| there.referrers.get(subject));
            Ok((found.into_iter().flat_map(BTreeMap::values).cloned().collect(), None))
        })
    }
}

impl Announcer for Process<'_> {
    fn announce(
        &self,
        id: &Digest,
        subject: &str,
        message: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Announced, AnnounceError> {
        announcer::check(id, subject, message, attributes)?;
        let refuse = |source| AnnounceError::Service {
            subject: subject.to_owned(),
            source: Box::new(source),
        };
        self.operate(("announce", subject), refuse, |world| {
            world.told.push(Told { id: *id, message: message.to_owned() });
            // As SNS: it cannot know.
            Ok((Announced::New, Some(Change::Told)))
        })
    }
}
