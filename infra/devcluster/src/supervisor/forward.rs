//! Takes what reaches a port of the machine to one inside of the cluster.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// Forwards every connection; ends when the listener does.
pub(super) fn accept(outside: &TcpListener, port: u16) {
    for stream in outside.incoming() {
        match stream {
            Ok(stream) => {
                thread::spawn(move || {
                    // Who finds nobody inside finds the connection closed.
                    let _ = forward(stream, port);
                });
            }
            // Too many open files, for one: others may end meanwhile.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn forward(outside: TcpStream, port: u16) -> io::Result<()> {
    let inside = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    let (from, to) = (outside.try_clone()?, inside.try_clone()?);
    let back = thread::spawn(move || copy(&inside, &outside));
    copy(&from, &to);
    let _ = back.join();
    Ok(())
}

/// Copies one direction to its end, and says so to the other side.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
