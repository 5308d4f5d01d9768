//! Attacks on the host's resources and on what is read from `/out`, each in a container of its own. A success means
//! that nothing stopped it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

const MIB: usize = 1 << 20;
/// Where each attack gives up: far above the limits it is run under, harmless to any host.
const MOST_PROCESSES: usize = 200;
const MOST_DISK_MIB: usize = 256;
const MOST_FILES: usize = 100_000;
const MOST_MEMORY_MIB: usize = 512;
const MOST_LOG_MIB: usize = 64;
const LONGEST: Duration = Duration::from_secs(30);

pub(crate) fn fork() -> Result<(), String> {
    let mut children = Vec::new();
    while children.len() < MOST_PROCESSES {
        match start_again(&["forever"]) {
            Ok(child) => children.push(child),
            Err(error) => {
                // Persist, as a fork bomb does.
                sleep(Duration::from_secs(2));
                return Err(format!("could not start process {}: {error}", children.len() + 1));
            }
        }
    }
    sleep(Duration::from_secs(2));
    Ok(())
}

pub(crate) fn disk() -> Result<(), String> {
    let block = vec![1; MIB];
    for number in 0..MOST_DISK_MIB / 8 {
        let folder = if number % 2 == 0 { "/out" } else { "/tmp" };
        let mut file =
            File::create(format!("{folder}/fill-{number}")).map_err(|error| error.to_string())?;
        for _ in 0..8 {
            file.write_all(&block).map_err(|error| error.to_string())?;
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

pub(crate) fn files() -> Result<(), String> {
    for number in 0..MOST_FILES {
        File::create(format!("/tmp/empty-{number}")).map_err(|error| error.to_string())?;
    }
    sleep(Duration::from_secs(8));
    Ok(())
}

/// Fills the disk with files that no folder lists any more.
pub(crate) fn hidden_disk() -> Result<(), String> {
    let block = vec![1; MIB];
    let mut held = Vec::new();
    for number in 0..MOST_DISK_MIB / 8 {
        let path = format!("/tmp/hidden-{number}");
        let options = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let mut file = options.map_err(|error| error.to_string())?;
        fs::remove_file(&path).map_err(|error| error.to_string())?;
        for _ in 0..8 {
            file.write_all(&block).map_err(|error| error.to_string())?;
        }
        held.push(file);
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

pub(crate) fn memory() -> Result<(), String> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for number in 0..MOST_MEMORY_MIB {
        // Not zero, or the kernel would hand out one shared page.
        held.push(vec![u8::try_from(number % 255).unwrap_or(0) + 1; MIB]);
    }
    // Says how much was held, which also keeps it held up to here.
    writeln!(io::stdout(), "held {} MiB", held.len()).map_err(|error| error.to_string())
}

pub(crate) fn log() -> Result<(), String> {
    let block = vec![b'x'; MIB];
    for _ in 0..MOST_LOG_MIB {
        io::stdout().write_all(&block).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "one of a list of attacks")]
pub(crate) fn forever() -> Result<(), String> {
    sleep(LONGEST);
    Ok(())
}

/// Leaves a process behind, marked so that it can be found from outside.
pub(crate) fn outlive(mark: &str) -> Result<(), String> {
    start_again(&["forever", mark]).map(drop).map_err(|error| error.to_string())
}

pub(crate) fn link() -> Result<(), String> {
    symlink("/etc/passwd", "/out/passwd").map_err(|error| error.to_string())
}

pub(crate) fn set_user_id() -> Result<(), String> {
    File::create("/out/tool").map_err(|error| error.to_string())?;
    fs::set_permissions("/out/tool", Permissions::from_mode(0o4755))
        .map_err(|error| error.to_string())
}

pub(crate) fn pipe() -> Result<(), String> {
    mkfifo("/out/pipe", Mode::S_IRWXU).map_err(|error| error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "an attack that starts processes")]
fn start_again(words: &[&str]) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
