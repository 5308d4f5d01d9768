//! Waits until a server answers.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{Server, TestbedError, keeper::Keeper, server::port_file};

/// How long a server may take on a machine that is busy.
const LIMIT: Duration = Duration::from_mins(1);

/// How long is waited before it is looked again.
const PAUSE: Duration = Duration::from_millis(5);

/// How much of a log is shown.
const SHOWN: usize = 2000;

/// Waits until a server answers; returns its port.
pub(crate) fn wait(
    server: Server,
    folder: &Path,
    keeper: &mut Keeper,
) -> Result<u16, TestbedError> {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        if let Some(port) = port(server, folder).filter(|port| answers(server, *port)) {
            return Ok(port);
        }
        keeper.check()?;
        if let Ok(how) = fs::read_to_string(folder.join(format!("{}.ended", server.name()))) {
            return Err(TestbedError::Ended {
                server: server.name(),
                how,
                log: log(server, folder),
            });
        }
        thread::sleep(PAUSE);
    }
    let seconds = LIMIT.as_secs();
    Err(TestbedError::Silent { server: server.name(), seconds, log: log(server, folder) })
}

/// The port that a server chose, once it is known.
fn port(server: Server, folder: &Path) -> Option<u16> {
    match server {
        Server::Registry | Server::PlainRegistry => {
            let log = fs::read(log_file(server, folder)).ok()?;
            said(&String::from_utf8_lossy(&log))
        }
        Server::Aws | Server::Moto | Server::Git => {
            fs::read_to_string(folder.join(port_file(server))).ok()?.parse().ok()
        }
    }
}

/// The port that docker-registry says it listens on.
fn said(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("listening on 127.0.0.1:")?;
    // Without what follows, the number may not be whole.
    let (port, _) = rest.split_once(|character: char| !character.is_ascii_digit())?;
    port.parse().ok()
}

/// True when a server answers. Those that tell their port when they are ready need not be asked.
fn answers(server: Server, port: u16) -> bool {
    let path = match server {
        Server::Aws => "/_ministack/health",
        Server::Moto => "/moto-api/",
        Server::Registry | Server::PlainRegistry | Server::Git => return true,
    };
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        // A server that dies meanwhile is noticed by the caller.
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let host = format!("Host: 127.0.0.1:{port}\r\nConnection: close");
        stream.write_all(format!("GET {path} HTTP/1.1\r\n{host}\r\n\r\n").as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok::<_, std::io::Error>(status.starts_with(b"HTTP/1.") && status.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

fn log_file(server: Server, folder: &Path) -> std::path::PathBuf {
    folder.join(format!("{}.log", server.name()))
}

/// The end of a server's log.
fn log(server: Server, folder: &Path) -> String {
    let log = fs::read(log_file(server, folder)).unwrap_or_default();
    let shown = log.get(log.len().saturating_sub(SHOWN)..).unwrap_or_default();
    String::from_utf8_lossy(shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_known_once_the_whole_of_it_is_said() {
        let line =
            "time=\"2026\" level=info msg=\"listening on 127.0.0.1:40123, tls\" go.version=go1\n";
        assert_eq!(said(line), Some(40123));
        assert_eq!(said(&line.replace(", tls", "")), Some(40123));
        let begin = line.find("40123").unwrap();
        for end in 0..=begin + 5 {
            assert_eq!(said(&line[..end]), None, "{}", &line[..end]);
        }
    }
}
