//! A cluster that is looked at, and changed without anybody's knowledge.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kdistro_devcluster::{ComponentName, Release};
use serde_json::Value;

use crate::{inspect, started::Started};

/// One cluster at a time: they are to fail for other reasons than a busy machine.
static TURN: Mutex<()> = Mutex::new(());

/// A cluster of the first release, and its subscriber's file.
pub(crate) struct Scene {
    _turn: MutexGuard<'static, ()>,
    pub(crate) started: Started,
    config: PathBuf,
}

impl Scene {
    /// Starts the first release.
    pub(crate) fn new(node: bool) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Started::new(node);
        let config = started.subscriber(&started.driver());
        Self { _turn: turn, started, config }
    }

    /// Looks at the cluster.
    pub(crate) fn inspect(&self, more: &[&str]) -> (i32, Value) {
        let config = self.config.display().to_string();
        let state = self.state().display().to_string();
        let look = ["--json", "--state", &state, "inspect", "--config", &config];
        inspect(&[&look[..], more].concat())
    }

    /// Where its history would be.
    pub(crate) fn state(&self) -> PathBuf {
        self.started.folder.path().join("state")
    }

    /// Takes a component to another release without anybody's knowledge.
    pub(crate) fn replace(&self, component: ComponentName, release: &Release) {
        self.started.cluster.replace(component, release, &self.started.debian).unwrap();
    }

    /// The release, but for one program that has one byte more.
    pub(crate) fn strange(&self, name: &str) -> Release {
        let folder = self.started.folder.path().join("releases").join("0".repeat(64));
        fs::create_dir_all(folder.join("bin")).unwrap();
        let program = folder.join("bin").join(name);
        fs::copy(self.started.release.program(name), &program).unwrap();
        fs::OpenOptions::new().append(true).open(program).unwrap().write_all(b"!").unwrap();
        let digest = kdistro_formats::Digest::from_bytes([0; 32]);
        Release { folder, digest, ..self.started.release.clone() }
    }
}
