//! Many large uploads at once.

use std::{
    fs,
    io::{self, BufReader, Write},
    net::TcpStream,
    thread,
};

use kdistro_testbed::{Fault, Proxy};

use crate::wire::{self, Client, Server};

const CLIENTS: usize = 16;
const PIECE: usize = 1 << 20;
const PIECES: usize = 50;

/// The most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// What a client sends again and again: no two clients the same.
fn piece(number: usize) -> Vec<u8> {
    let number = u8::try_from(number).unwrap();
    let mut piece = (0..=250).map(|byte: u8| byte ^ number).collect::<Vec<_>>().repeat(PIECE / 250);
    piece.truncate(PIECE);
    piece
}

/// Reads uploads; says how many bytes came, and whether all are what the client sends.
fn serve(stream: &TcpStream) -> io::Result<()> {
    let mut from = BufReader::with_capacity(PIECE, stream);
    while let Ok(head) = wire::head(&mut from) {
        let number = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        let (piece, mut position, mut is_same) = (piece(number), 0, true);
        wire::stream(&mut from, &head, |mut bytes| {
            while !bytes.is_empty() {
                let expected = &piece[position % PIECE..];
                let count = expected.len().min(bytes.len());
                is_same &= expected[..count] == bytes[..count];
                position += count;
                bytes = &bytes[count..];
            }
        })?;
        let text = format!("{position} {is_same}");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        (&mut &*stream).write_all(format!("{head}{text}").as_bytes())?;
    }
    Ok(())
}

#[test]
fn holds_up_under_many_large_uploads() {
    let server = Server::start(|stream, _| serve(&stream));
    let proxy = Proxy::start(&server.address.to_string(), |_| Fault::None).unwrap();
    let address = proxy.address();
    let before = peak();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let address = &address;
            scope.spawn(move || upload(address, number));
        }
    });
    assert_eq!(proxy.requests(), CLIENTS as u64 * 2);
    // Client and server of each connection hold three pieces; the rest is the proxy's.
    let grown = peak().saturating_sub(before);
    assert!(grown < 3 * CLIENTS * PIECE + (32 << 20), "{} MB", grown >> 20);
}

/// Two uploads on one connection, the second in chunks.
fn upload(address: &str, number: usize) {
    let (piece, expected) = (piece(number), format!("{} true", PIECE * PIECES));
    let mut client = Client::connect(address);
    let length = PIECE * PIECES;
    client.send(format!("PUT /{number} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n")).unwrap();
    for _ in 0..PIECES {
        client.send(&piece).unwrap();
    }
    assert_eq!(client.answer("PUT").unwrap().body, expected);
    client.send(format!("PUT /{number} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")).unwrap();
    for _ in 0..PIECES {
        client.send(format!("{PIECE:x}\r\n")).unwrap();
        client.send(&piece).unwrap();
        client.send("\r\n").unwrap();
    }
    client.send("0\r\n\r\n").unwrap();
    assert_eq!(client.answer("PUT").unwrap().body, expected);
}
