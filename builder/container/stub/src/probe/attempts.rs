//! Attempts to reach what a step must not reach. Each is written to `/out/attempts` as a line: name, `refused` or
//! `open`, and what the system said.

use std::fs::{self, File};
use std::io::{IoSliceMut, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{self, UnixStream};
use std::time::Duration;

use linux_keyutils::{KeyRing, KeyRingIdentifier};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::personality::{self, Persona};
use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, Uid, chroot, fchownat, pivot_root, sethostname, setuid};

/// What the probe is told about the host, to look for it.
pub(crate) struct Host<'a> {
    pub(crate) key_file: &'a str,
    pub(crate) port: &'a str,
    pub(crate) socket: &'a str,
    pub(crate) process: &'a str,
}

/// `Ok` means that it worked, and that the container failed.
type Answer = Result<String, String>;
type Attempt<'a> = (&'a str, Box<dyn Fn() -> Answer + 'a>);

const PATIENCE: Duration = Duration::from_millis(500);
/// An address of a documentation network: nobody is there, so that even an open network reaches no one.
const OUTSIDE: &str = "192.0.2.1:9";

/// Makes all attempts.
pub(crate) fn all(host: &Host<'_>) -> Result<(), String> {
    let mut file = File::create("/out/attempts").map_err(|error| error.to_string())?;
    let groups =
        [network(host), files(host), other_processes(host), kernel(), namespaces(), leaks()];
    for (name, attempt) in groups.into_iter().flatten() {
        let (word, how) = match attempt() {
            Ok(how) => ("open", how),
            Err(how) => ("refused", how),
        };
        writeln!(file, "{name}\t{word}\t{}", how.replace(['\t', '\n'], " "))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn boxed<'a>(name: &'a str, attempt: impl Fn() -> Answer + 'a) -> Attempt<'a> {
    (name, Box::new(attempt))
}

/// Turns the answer of a call into words.
fn said<T, E: ToString>(answer: Result<T, E>) -> Answer {
    answer.map(|_| "it worked".to_owned()).map_err(|error| error.to_string())
}

fn network<'a>(host: &Host<'a>) -> Vec<Attempt<'a>> {
    let (port, abstract_name) = (host.port, host.socket);
    let open =
        |family: AddressFamily, kind: SockType| said(socket(family, kind, SockFlag::empty(), None));
    vec![
        boxed("connect to a service of this host", move || connect(&format!("127.0.0.1:{port}"))),
        boxed("connect to an outside address", || connect(OUTSIDE)),
        boxed("send a datagram outside", || {
            said(UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", OUTSIDE)))
        }),
        boxed("make an internet socket", move || open(AddressFamily::Inet, SockType::Stream)),
        boxed("make a raw packet socket", move || open(AddressFamily::Packet, SockType::Raw)),
        boxed("make a netlink socket", move || open(AddressFamily::Netlink, SockType::Raw)),
        boxed("connect to an abstract socket of this host", move || {
            said(
                net::SocketAddr::from_abstract_name(abstract_name)
                    .and_then(|address| UnixStream::connect_addr(&address)),
            )
        }),
    ]
}

fn connect(address: &str) -> Answer {
    let address: SocketAddr = address.parse().map_err(|_| format!("{address} is no address"))?;
    said(TcpStream::connect_timeout(&address, PATIENCE))
}

fn files<'a>(host: &Host<'a>) -> Vec<Attempt<'a>> {
    let key_file = host.key_file;
    let write = |path: &'static str| move || said(fs::write(path, "kdistro-container-probe"));
    vec![
        boxed("read a key file of this host", move || said(fs::read(key_file))),
        boxed("read a key file through the first process", move || {
            said(fs::read(format!("/proc/1/root{key_file}")))
        }),
        boxed("read an undeclared file, /etc/passwd", || said(fs::read("/etc/passwd"))),
        boxed("climb out of the root", || said(fs::metadata("/../../../home"))),
        boxed("write into /", write("/new")),
        boxed("make a folder /etc", || said(fs::create_dir("/etc"))),
        boxed("write into /src", write("/src/new")),
        boxed("change a file of /src", write("/src/file")),
        boxed("remove a file of /src", || said(fs::remove_file("/src/file"))),
        boxed("change the mode of a file of /src", || {
            said(fs::set_permissions("/src/file", fs::Permissions::from_mode(0o777)))
        }),
        boxed("own a file of /src", || {
            said(fchownat(AT_FDCWD, "/src/file", Some(Uid::current()), None, AtFlags::empty()))
        }),
        boxed("link a file of /src into /out", || said(fs::hard_link("/src/file", "/out/linked"))),
        boxed("replace the first program", write("/.kdistro-stub")),
        boxed("make a file in /dev", write("/dev/new")),
        boxed("open the terminal", || said(File::open("/dev/tty"))),
        boxed("read the kernel's memory", || said(File::open("/proc/kcore"))),
        boxed("make a device file", || {
            said(mknod("/tmp/disk", SFlag::S_IFBLK, Mode::S_IRWXU, makedev(8, 0)))
        }),
    ]
}

/// Lists the processes that can be seen.
pub(crate) fn processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn other_processes<'a>(host: &Host<'a>) -> Vec<Attempt<'a>> {
    let process = host.process;
    let first = || Pid::from_raw(1);
    vec![
        boxed("see other processes", || {
            let own = i32::try_from(std::process::id()).unwrap_or(0);
            let others: Vec<i32> =
                processes().into_iter().filter(|&id| id != 1 && id != own).collect();
            if others.is_empty() {
                Err("only the container's own".to_owned())
            } else {
                Ok(format!("{others:?}"))
            }
        }),
        boxed("signal a process of this host", move || {
            let id = process.parse().map_err(|_| format!("{process} is no process"))?;
            said(kill(Pid::from_raw(id), None))
        }),
        boxed("trace the first process", move || {
            ptrace::attach(first()).map_err(|error| error.to_string())?;
            // It would stand still, and the container with it.
            said(waitpid(first(), None).and_then(|_| ptrace::detach(first(), None)))
        }),
        boxed("be traced", || said(ptrace::traceme())),
        boxed("read another process's memory", move || {
            let mut byte = [0];
            said(process_vm_readv(
                first(),
                &mut [IoSliceMut::new(&mut byte)],
                &[RemoteIoVec { base: 0x40_0000, len: 1 }],
            ))
        }),
    ]
}

fn kernel() -> Vec<Attempt<'static>> {
    let write = |path: &'static str, text: &'static str| move || said(fs::write(path, text));
    vec![
        boxed("become root", || said(setuid(Uid::from_raw(0)))),
        boxed("change a system setting", write("/proc/sys/kernel/core_pattern", "core")),
        boxed("change a network setting", write("/proc/sys/net/ipv4/ip_forward", "1")),
        boxed("press the system request key", write("/proc/sysrq-trigger", "h")),
        boxed("change the host name", || said(sethostname("other"))),
        boxed("change the personality", || said(personality::set(Persona::ADDR_NO_RANDOMIZE))),
        boxed("use the kernel's key store", || {
            let ring = KeyRing::from_special_id(KeyRingIdentifier::Session, true);
            said(
                ring.and_then(|ring| ring.add_key("kdistro", b"probe"))
                    .map_err(|error| format!("{error:?}")),
            )
        }),
        boxed(
            "make system calls unfiltered (bpf, perf, userfaultfd, io_uring are refused by the filter)",
            || {
                let value = status("Seccomp:");
                if value == "2" {
                    Err("Seccomp: 2, a filter is active".to_owned())
                } else {
                    Ok(format!("Seccomp: {value}"))
                }
            },
        ),
        boxed("gain privileges by starting a program", || {
            let value = status("NoNewPrivs:");
            if value == "1" {
                Err("no_new_privs is set".to_owned())
            } else {
                Ok(format!("NoNewPrivs: {value}"))
            }
        }),
        boxed("hold a capability", || {
            let held: Vec<String> =
                ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"].into_iter().map(status).collect();
            if held.iter().all(|set| set.bytes().all(|digit| digit == b'0')) {
                Err("none".to_owned())
            } else {
                Ok(held.join(" "))
            }
        }),
    ]
}

fn namespaces() -> Vec<Attempt<'static>> {
    let none = None::<&str>;
    let make = |flag: CloneFlags| move || said(unshare(flag));
    vec![
        boxed("make a user namespace", make(CloneFlags::CLONE_NEWUSER)),
        boxed("make a mount namespace", make(CloneFlags::CLONE_NEWNS)),
        boxed("make a network namespace", make(CloneFlags::CLONE_NEWNET)),
        boxed("enter a namespace", || {
            let own = File::open("/proc/self/ns/user").map_err(|error| error.to_string())?;
            said(setns(own, CloneFlags::empty()))
        }),
        boxed("mount a file system", move || {
            said(mount(Some("none"), "/tmp", Some("tmpfs"), MsFlags::empty(), none))
        }),
        boxed("bind a folder", move || {
            said(mount(Some("/src"), "/tmp", none, MsFlags::MS_BIND, none))
        }),
        boxed("make /src writable", move || {
            said(mount(none, "/src", none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, none))
        }),
        boxed("unmount /src", || said(umount2("/src", MntFlags::MNT_DETACH))),
        boxed("change the root by chroot", || said(chroot("/tmp"))),
        boxed("change the root by pivot_root", || said(pivot_root(".", "."))),
    ]
}

fn leaks() -> Vec<Attempt<'static>> {
    vec![
        boxed("find an environment variable of this host", || {
            let names: Vec<String> =
                std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
            if names == ["KDISTRO_PROBE"] {
                Err("only what was given".to_owned())
            } else {
                Ok(names.join(" "))
            }
        }),
        boxed("find an inherited file", || {
            let listed = fs::read_dir("/proc/self/fd").map_err(|error| error.to_string())?;
            let targets = listed.flatten().filter_map(|entry| {
                fs::read_link(entry.path()).ok().map(|target| (entry.file_name(), target))
            });
            let own = |target: &std::path::Path| {
                target == std::path::Path::new("/out/attempts") || target.starts_with("/proc")
            };
            let found: Vec<String> = targets
                .filter(|(number, target)| {
                    !["0", "1", "2"].iter().any(|standard| number == standard) && !own(target)
                })
                .map(|(_, target)| target.display().to_string())
                .collect();
            if found.is_empty() { Err("none".to_owned()) } else { Ok(found.join(" ")) }
        }),
        boxed("read from the caller's standard input", || {
            let target = fs::read_link("/proc/self/fd/0").map_err(|error| error.to_string())?;
            if target == std::path::Path::new("/dev/null") {
                Err("it is /dev/null".to_owned())
            } else {
                Ok(target.display().to_string())
            }
        }),
    ]
}

/// Reads a line of this process's status.
fn status(name: &str) -> String {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
}
