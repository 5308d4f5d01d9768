//! One client's connection: request after request, each with the fault that the rule asks for.

use std::{
    io::{self, BufReader, Write},
    net::{Shutdown, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

use super::{
    Fault, Request, Shared,
    body::{Cut, Lenient, Passage, pass},
    head::{Framing, Head},
};

/// How much of a body is in memory, each way.
const BUFFER: usize = 64 * 1024;

/// How long a client may go on sending after it was answered.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a client until it leaves or a fault ends the connection.
pub(super) fn serve(client: TcpStream, shared: &Shared) {
    // What goes wrong ends the connection, and both ends see that.
    let _ = shared.sockets.enter(&client).and_then(|_entry| requests(&client, shared));
    drop(client);
}

fn requests(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(BUFFER, client);
    while let Some(head) = Head::read(&mut reader)? {
        let number = shared.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let request = Request::new(number, &head);
        let goes_on = match (shared.rule)(&request) {
            Fault::Status(status, body) => refuse(&mut reader, &head, status, &body)?,
            Fault::Reset => return reset(client),
            fault => {
                if let Fault::Delay(duration) = fault {
                    shared.sockets.wait(duration)?;
                }
                forward(&mut reader, &head, shared, &Fate { method: request.method, fault })?
            }
        };
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// The end of the connection will be a reset.
///
/// Source: socket(7), `SO_LINGER`; tcp(7) on closing with a linger time of zero.
fn reset(client: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(client, Some(Duration::ZERO))?)
}

/// Answers in place of the server; tells whether the connection goes on.
fn refuse(
    reader: &mut BufReader<&TcpStream>,
    head: &Head,
    status: u16,
    body: &str,
) -> io::Result<bool> {
    // A client that asked whether to send its body is told no by the answer, and then may send it or not.
    let is_asked = head.says("expect", "100-continue");
    if !is_asked {
        pass(reader, &mut io::sink(), head.of_request()?, Passage::default())?;
    }
    let goes_on = !is_asked && !head.closes();
    let connection = if goes_on { "" } else { "Connection: close\r\n" };
    let shown = if head.first.starts_with("HEAD ") { "" } else { body };
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status} Fault\r\nContent-Length: {length}\r\n{connection}\r\n{shown}");
    let mut client = *reader.get_ref();
    client.write_all(text.as_bytes())?;
    if is_asked {
        // A connection that is closed while something is unread is reset, and the answer may be lost.
        client.shutdown(Shutdown::Write)?;
        client.set_read_timeout(Some(LINGER))?;
        io::copy(reader, &mut io::sink())?;
    }
    Ok(goes_on)
}

/// What becomes of a request that reaches the server.
struct Fate {
    method: String,
    fault: Fault,
}

/// Passes a request on, and the answer back; tells whether the connection goes on.
fn forward(
    reader: &mut BufReader<&TcpStream>,
    head: &Head,
    shared: &Shared,
    fate: &Fate,
) -> io::Result<bool> {
    let client = *reader.get_ref();
    let server = TcpStream::connect(&shared.upstream)?;
    server.set_nodelay(true)?;
    let _entry = shared.sockets.enter(&server)?;
    (&server).write_all(&head.bytes)?;
    let framing = head.of_request()?;
    let is_read = AtomicBool::new(framing == Framing::Length(0));
    let (sender, ended) = mpsc::channel();
    thread::scope(|scope| {
        if framing != Framing::Length(0) {
            let (server, is_read) = (&server, Some(&is_read));
            scope.spawn(move || {
                let passage = Passage { flip: false, is_read };
                if pass(reader, &mut Lenient(Some(server)), framing, passage).is_err() {
                    // The client broke off; so the server sees it, too.
                    let _ = server.shutdown(Shutdown::Both);
                }
                // Heard by who still waits for it.
                let _ = sender.send(());
            });
        }
        let answered = answer(client, &server, &is_read, fate);
        // Whatever is not passed on by now is not wanted.
        let _ = server.shutdown(Shutdown::Both);
        if !is_read.load(Ordering::SeqCst) {
            if answered.is_ok() {
                let _ = client.shutdown(Shutdown::Write);
                let _ = ended.recv_timeout(LINGER);
            }
            let _ = client.shutdown(Shutdown::Read);
        }
        Ok(answered? && !head.closes())
    })
}

/// Passes an answer back; tells whether the connection goes on.
fn answer(
    mut client: &TcpStream,
    server: &TcpStream,
    is_read: &AtomicBool,
    fate: &Fate,
) -> io::Result<bool> {
    let mut from = BufReader::with_capacity(BUFFER, server);
    let mut head = loop {
        let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !matches!(head.status(), 100 | 102..200) {
            break head;
        }
        client.write_all(&head.bytes)?;
    };
    let framing = head.of_answer(&fate.method)?;
    // A server that answers sooner has closed its ears, and what the client still sends is no next request.
    let goes_on = is_read.load(Ordering::SeqCst);
    if !goes_on {
        head.close();
    }
    let passage = Passage { flip: fate.fault == Fault::Flip, is_read: None };
    match fate.fault {
        Fault::ResetAfter => {
            pass(&mut from, &mut io::sink(), framing, passage)?;
            reset(client)?;
            Ok(false)
        }
        Fault::Cut(left) => {
            client.write_all(&head.bytes)?;
            pass(&mut from, &mut Cut { to: client, left }, framing, passage)?;
            Ok(false)
        }
        _ => {
            client.write_all(&head.bytes)?;
            pass(&mut from, &mut client, framing, passage)?;
            Ok(goes_on && !head.closes() && framing != Framing::UntilClose)
        }
    }
}
