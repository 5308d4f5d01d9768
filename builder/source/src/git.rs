//! Calls of git, with and without the user's own settings.

use std::{ffi::OsString, fs::File, path::Path};

use crate::command::{Call, CommandError, Environment, Input, Output};

/// Settings of every call: no hooks, no attributes of the user, no clean-up in the background.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
];

/// Settings of a fetch: objects are checked, and only transports that run no command of the address are open.
const FETCH_SETTINGS: &[&str] = &[
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "protocol.allow=never",
    "protocol.ext.allow=never",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.ssh.allow=always",
    "protocol.git.allow=always",
    "protocol.file.allow=always",
];

/// A repository and the environment in which git works on it.
#[derive(Clone, Copy)]
pub(crate) struct Git<'a> {
    pub repository: &'a Path,
    pub environment: &'a Environment,
}

impl<'a> Git<'a> {
    /// Prepares a call that no setting of the user or the host can bend.
    pub(crate) fn call(
        &self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Call<'a> {
        let mut call = self.prepare(&[], arguments);
        call.variables.extend([
            ("GIT_CONFIG_NOSYSTEM", OsString::from("1")),
            ("GIT_CONFIG_SYSTEM", OsString::from("/dev/null")),
            ("GIT_CONFIG_GLOBAL", OsString::from("/dev/null")),
        ]);
        call
    }

    /// Runs a call as [`Git::call`] prepares it.
    pub(crate) fn run(
        &self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Output, CommandError> {
        self.call(arguments).run()
    }

    /// Fetches with the user's settings (mirrors, certificates, credentials). `lock` stays open while git lives.
    pub(crate) fn fetch(
        &self,
        lock: File,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Output, CommandError> {
        Call { input: Input::File(lock), ..self.prepare(FETCH_SETTINGS, arguments) }.run()
    }

    /// Asks an upstream with the user's settings; gives up when nothing comes for ten seconds.
    pub(crate) fn ask(
        &self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Output, CommandError> {
        let patience = ["http.lowSpeedLimit=1", "http.lowSpeedTime=10"];
        let mut call = self.prepare(&[FETCH_SETTINGS, &patience].concat(), arguments);
        // No repository is needed, and git refuses one that is none.
        call.variables.retain(|(name, _)| *name != "GIT_DIR");
        call.try_run()
    }

    fn prepare(
        &self,
        settings: &[&str],
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Call<'a> {
        let mut call = Call::new(Path::new("git"), self.environment);
        for setting in SETTINGS.iter().chain(settings) {
            call.settings.extend(["-c".into(), OsString::from(setting)]);
        }
        call.arguments.extend(arguments.into_iter().map(Into::into));
        call.variables.extend([
            ("GIT_DIR", self.repository.into()),
            ("GIT_ATTR_NOSYSTEM", "1".into()),
            ("GIT_LITERAL_PATHSPECS", "1".into()),
            ("GIT_NO_REPLACE_OBJECTS", "1".into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
        ]);
        call
    }
}
