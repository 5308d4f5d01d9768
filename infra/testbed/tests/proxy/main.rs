//! What passes through the proxy unchanged, and each fault as client and server see it.
#![cfg(test)]

mod load;
mod real;
mod wire;

use std::{
    io::{BufReader, ErrorKind, Write},
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use kdistro_testbed::{Fault, Proxy, Request};

use self::wire::{Client, Server};

/// A proxy for a server, with a fault for one request.
fn proxy(server: &Server, number: u64, fault: &Fault) -> Proxy {
    let fault = fault.clone();
    let rule = move |request: &Request| match request.number {
        same if same == number => fault.clone(),
        _ => Fault::None,
    };
    Proxy::start(&format!("http://{}", server.address), rule).unwrap()
}

#[test]
fn passes_requests_on_one_connection_on_and_counts_them() {
    let server = Server::echo();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let proxy = Proxy::start(&server.address.to_string(), move |request| {
        let token = request.header("x-token").unwrap_or_default();
        noted.lock().unwrap().push(format!("{request:?} {token}"));
        Fault::None
    });
    let proxy = proxy.unwrap();
    let mut client = Client::connect(&proxy.address());
    for (method, path, body) in
        [("GET", "/a?b=c", ""), ("PUT", "/b", "hello"), ("HEAD", "/c", ""), ("POST", "/d", "x")]
    {
        let answer = client.ask(method, path, body).unwrap();
        assert_eq!(answer.status(), 200);
        let expected = if method == "HEAD" { String::new() } else { format!("{path} {body}") };
        assert_eq!(answer.body, expected);
    }
    // Two that were sent at once, and one in chunks.
    let chunks = "PUT /e HTTP/1.1\r\nX-Token: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    client.send(format!("{chunks}GET /f HTTP/1.1\r\n\r\n")).unwrap();
    assert_eq!(client.answer("PUT").unwrap().body, "/e abcde");
    assert_eq!(client.answer("GET").unwrap().body, "/f ");
    let expected =
        ["1: GET /a?b=c ", "2: PUT /b ", "3: HEAD /c ", "4: POST /d ", "5: PUT /e t", "6: GET /f "];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(proxy.requests(), 6);
    assert_eq!(server.notes(), ["GET /a?b=c", "PUT /b", "HEAD /c", "POST /d", "PUT /e", "GET /f"]);
}

#[test]
fn answers_in_place_of_the_server() {
    let server = Server::echo();
    let proxy = proxy(&server, 2, &Fault::Status(503, "slow down".to_owned()));
    let mut client = Client::connect(&proxy.address());
    assert_eq!(client.ask("PUT", "/a", "1").unwrap().status(), 200);
    let refused = client.ask("PUT", "/b", &"2".repeat(1 << 20)).unwrap();
    assert_eq!((refused.status(), &*refused.body), (503, "slow down"));
    // The connection goes on.
    assert_eq!(client.ask("PUT", "/c", "3").unwrap().body, "/c 3");
    assert_eq!(server.notes(), ["PUT /a", "PUT /c"]);
}

#[test]
fn a_head_request_is_refused_without_a_body() {
    let server = Server::echo();
    let proxy = proxy(&server, 1, &Fault::Status(500, "body".to_owned()));
    let mut client = Client::connect(&proxy.address());
    assert_eq!(client.ask("HEAD", "/a", "").unwrap().status(), 500);
    assert_eq!(client.ask("GET", "/b", "").unwrap().body, "/b ");
}

#[test]
fn resets_before_the_server_sees_the_request() {
    let server = Server::echo();
    let proxy = proxy(&server, 2, &Fault::Reset);
    let mut client = Client::connect(&proxy.address());
    client.ask("GET", "/a", "").unwrap();
    let error = client.ask("GET", "/b", "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.notes(), ["GET /a"]);
    assert_eq!(Client::connect(&proxy.address()).ask("GET", "/c", "").unwrap().body, "/c ");
}

#[test]
fn resets_after_the_server_did_it() {
    let server = Server::echo();
    let proxy = proxy(&server, 1, &Fault::ResetAfter);
    let mut client = Client::connect(&proxy.address());
    let error = client.ask("PUT", "/a", "content").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.notes(), ["PUT /a"]);
}

#[test]
fn cuts_the_answer() {
    let server = Server::echo();
    for (count, expected) in [(0, ""), (3, "/a ")] {
        let proxy = proxy(&server, 1, &Fault::Cut(count));
        let mut client = Client::connect(&proxy.address());
        client.send("PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz").unwrap();
        let got = String::from_utf8(client.rest().unwrap()).unwrap();
        assert_eq!(got, format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{expected}"));
    }
    let proxy = proxy(&server, 1, &Fault::Cut(100));
    let mut client = Client::connect(&proxy.address());
    assert_eq!(client.ask("PUT", "/a", "xyz").unwrap().body, "/a xyz");
    assert!(client.rest().unwrap().is_empty());
}

#[test]
fn flips_a_bit_of_the_answer() {
    let server = Server::echo();
    let proxy = Proxy::start(&server.address.to_string(), |request| match request.number {
        1 | 3 => Fault::Flip,
        _ => Fault::None,
    });
    let mut client = Client::connect(&proxy.as_ref().unwrap().address());
    // Byte 3 of 6 is the x.
    assert_eq!(client.ask("PUT", "/a", "xyz").unwrap().body, "/a yyz");
    assert_eq!(client.ask("PUT", "/a", "xyz").unwrap().body, "/a xyz");
    client.send("GET /chunks HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let got = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(got.ends_with("\r\n\r\n4\r\nabbd\r\n1\r\ne\r\n0\r\n\r\n"), "{got}");
}

#[test]
fn waits_before_it_passes_on() {
    let server = Server::echo();
    let proxy = proxy(&server, 1, &Fault::Delay(Duration::from_millis(300)));
    let begin = Instant::now();
    let mut client = Client::connect(&proxy.address());
    assert_eq!(client.ask("GET", "/a", "").unwrap().body, "/a ");
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let server = Server::start(|stream, _| {
        let mut from = BufReader::new(stream.try_clone()?);
        let head = wire::head(&mut from)?;
        assert_eq!(wire::value(&head, "expect"), Some("100-continue"));
        (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        let body = wire::body(&mut from, &head)?;
        (&stream).write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\n")?;
        (&stream).write_all(&body)
    });
    let ask = "PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let proxy = proxy(&server, 3, &Fault::ResetAfter);
    let mut client = Client::connect(&proxy.address());
    for _ in 0..2 {
        client.send(ask).unwrap();
        assert_eq!(client.answer("PUT").unwrap().status(), 100);
        client.send("hello").unwrap();
        let answer = client.answer("PUT").unwrap();
        assert_eq!((answer.status(), &*answer.body), (201, "hello"));
    }
    client.send(ask).unwrap();
    assert_eq!(client.answer("PUT").unwrap().status(), 100);
    client.send("hello").unwrap();
    assert_eq!(client.answer("PUT").unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_no() {
    // By the server, or by the proxy in its place.
    let server = Server::start(|stream, _| {
        wire::head(&mut BufReader::new(stream.try_clone()?))?;
        (&stream).write_all(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
    });
    for fault in [Fault::None, Fault::Status(401, "no".to_owned())] {
        let proxy = proxy(&server, 1, &fault);
        let mut client = Client::connect(&proxy.address());
        let length = 1 << 20;
        let head =
            format!("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
        client.send(head).unwrap();
        let answer = client.answer("PUT").unwrap();
        assert_eq!((answer.status(), &*answer.body), (401, "no"), "{fault:?}");
        assert_eq!(wire::value(&answer.head, "connection"), Some("close"), "{fault:?}");
        assert!(client.rest().unwrap().is_empty());
    }
}

#[test]
fn an_answer_that_comes_before_the_end_of_the_request_is_not_lost() {
    let server = Server::start(|stream, _| {
        wire::head(&mut BufReader::new(stream.try_clone()?))?;
        (&stream).write_all(b"HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\nfar")
    });
    let proxy = proxy(&server, 0, &Fault::None);
    let mut client = Client::connect(&proxy.address());
    client.send(format!("PUT /a HTTP/1.1\r\nContent-Length: {}\r\n\r\n", 8 << 20)).unwrap();
    for _ in 0..8 {
        client.send(vec![b'x'; 1 << 20]).unwrap();
    }
    let answer = client.answer("PUT").unwrap();
    assert_eq!((answer.status(), &*answer.body), (413, "far"));
}

#[test]
fn an_upload_that_is_broken_off_is_broken_off_at_the_server() {
    let server = Server::start(|stream, notes| {
        let mut from = BufReader::new(stream);
        let head = wire::head(&mut from)?;
        let error = wire::body(&mut from, &head).unwrap_err();
        notes.lock().unwrap().push(format!("{:?}", error.kind()));
        Ok(())
    });
    let proxy = proxy(&server, 0, &Fault::None);
    let mut client = Client::connect(&proxy.address());
    client.send("PUT /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    drop(client);
    let begin = Instant::now();
    while server.notes().is_empty() && begin.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.notes(), ["UnexpectedEof"]);
}

#[test]
fn ends_with_everything_that_hangs() {
    let server = Server::start(|stream, notes| {
        notes.lock().unwrap().push("waits".to_owned());
        wire::head(&mut BufReader::new(stream.try_clone()?))?;
        thread::sleep(Duration::from_hours(1));
        drop(stream);
        Ok(())
    });
    let proxy = proxy(&server, 2, &Fault::Delay(Duration::from_hours(1)));
    let mut clients = [(); 3].map(|()| Client::connect(&proxy.address()));
    // One waits for the server, one for the proxy; one says nothing.
    for (count, client) in clients[..2].iter_mut().enumerate() {
        client.send("GET / HTTP/1.1\r\n\r\n").unwrap();
        while proxy.requests() <= count as u64 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let begin = Instant::now();
    drop(proxy);
    for client in &mut clients {
        let _ = client.rest();
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(server.connections.load(Ordering::SeqCst) <= 1);
}

#[test]
fn a_server_that_is_not_there_ends_the_connection() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(&free.to_string(), |_| Fault::None).unwrap();
    assert!(Client::connect(&proxy.address()).ask("GET", "/", "").is_err());
}

#[test]
fn refuses_what_is_no_address() {
    for wrong in ["https://localhost:1", "localhost", "http://localhost:1/a", "localhost:x", ""] {
        let error = Proxy::start(wrong, |_| Fault::None).err().unwrap();
        assert!(error.to_string().contains("expected http://HOST:PORT"), "{error}");
    }
    Proxy::start("http://localhost:1/", |_| Fault::None).unwrap();
}
