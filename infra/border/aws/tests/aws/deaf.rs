//! A store that does not hear some headers, as those that do not know them.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

/// A proxy that renames headers; it ends with the program.
pub(crate) struct Deaf {
    port: u16,
}

impl Deaf {
    /// Starts before `url`; headers that begin with `header` do not reach the server.
    pub(crate) fn start(url: &'static str, header: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
                let (mut back, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut back, &mut to));
                thread::spawn(move || renamed(client, server, header));
            }
        });
        Self { port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Passes on what a client sends; a header's name stands within what is read at once, since heads are short.
fn renamed(mut client: TcpStream, mut server: TcpStream, header: &str) {
    let mut buffer = vec![0; 64 * 1024];
    let name = format!("\r\n{header}");
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let read = &mut buffer[..count];
        for at in 0..count.saturating_sub(name.len()) {
            if read[at..].starts_with(name.as_bytes()) {
                read[at + 2] = b'x';
            }
        }
        if server.write_all(read).is_err() {
            break;
        }
    }
    let _ = server.shutdown(std::net::Shutdown::Write);
}
