//! The process that is the servers' parent, and ends them when whoever started it is gone.
//!
//! It is a process of its own because nothing else outlasts a test that is killed: it waits for the end of its
//! standard input, whose other end only this process holds. The signal that a process can have sent to it when its
//! parent dies would not do alone: a folder is left, and the parent is the thread that started it, not the process.

use std::{
    ffi::OsString,
    fs,
    io::{Read, Write},
    os::unix::{ffi::OsStringExt, process::CommandExt},
    path::Path,
    process::{Child, Stdio},
};

use crate::{TestbedError, host};

/// A running keeper; dropping it ends the servers and waits for that.
pub(crate) struct Keeper {
    process: Child,
}

impl Keeper {
    /// Starts the keeper of a folder.
    pub(crate) fn start(folder: &Path) -> Result<Self, TestbedError> {
        host::require(&["python3", "setpriv"])?;
        let temporary = folder.join("tmp");
        let mut python = host::command("python3");
        python.args(["-I", "-c", include_str!("programs/keeper.py")]).arg(folder);
        // The servers see nothing of the user's settings.
        python.env_clear().env("PATH", host::path()).env("HOME", folder).env("TMPDIR", &temporary);
        python.env("LANG", "C.UTF-8").current_dir("/");
        // What a terminal sends to the foreground is not for the keeper: the end of its input tells it.
        python.process_group(0);
        python.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = python.spawn().map_err(TestbedError::io("start", "python3"))?;
        let keeper = Self { process };
        fs::create_dir(&temporary).map_err(TestbedError::io("make", &temporary))?;
        Ok(keeper)
    }

    /// Starts a server, by program and arguments.
    pub(crate) fn order(&mut self, name: &str, words: Vec<OsString>) -> Result<(), TestbedError> {
        let mut line = name.as_bytes().to_vec();
        for word in words {
            line.push(0);
            line.extend(word.into_vec());
        }
        line.push(b'\n');
        let sent = self.process.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(&line));
        // A keeper that is gone says why.
        self.check()?;
        sent.map_err(TestbedError::io("write to", "the keeper"))
    }

    /// Fails when the keeper is no longer there.
    pub(crate) fn check(&mut self) -> Result<(), TestbedError> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) => {
                let mut said = String::new();
                if let Some(mut stderr) = self.process.stderr.take() {
                    // What cannot be read is not said.
                    let _ = stderr.read_to_string(&mut said);
                }
                Err(TestbedError::Keeper { said })
            }
            Err(error) => Err(TestbedError::io("wait for", "the keeper")(error)),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
