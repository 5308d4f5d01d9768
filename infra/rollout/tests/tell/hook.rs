//! A web address that notices are posted to: it refuses the first, and keeps what is signed.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use aws_lc_rs::hmac;
use kdistro_formats::digest::hex;
use serde_json::Value;

/// An address that is posted to.
pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    key: hmac::Key,
    taken: Mutex<Vec<Value>>,
    refused: AtomicUsize,
    refuses_all: AtomicBool,
}

impl Hook {
    pub(crate) fn start(secret: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            taken: Mutex::default(),
            refused: AtomicUsize::new(0),
            refuses_all: AtomicBool::new(false),
        });
        let (address, serving) = (listener.local_addr().unwrap(), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming() {
                serving.serve(&stream.unwrap());
            }
        });
        Self { address, shared }
    }

    pub(crate) fn refuse_everything(&self) {
        self.shared.refuses_all.store(true, Ordering::SeqCst);
    }

    /// Waits for half a minute until so many were taken.
    pub(crate) fn until(&self, count: usize) -> Vec<Value> {
        for _ in 0..300 {
            let taken = self.shared.taken.lock().unwrap().clone();
            if taken.len() >= count {
                assert!(self.shared.refused.load(Ordering::SeqCst) > 0, "the first was refused");
                return taken;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{:?}", self.shared.taken.lock().unwrap());
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) {
        let (mut reader, mut length, mut signature) = (BufReader::new(stream), 0, String::new());
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            let (name, value) = line.trim().split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "kdistro-signature" => value.clone_into(&mut signature),
                _ => {}
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let status = self.take(&body, &signature);
        let mut stream = stream;
        let answer =
            format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    }

    fn take(&self, body: &[u8], signature: &str) -> u16 {
        let right = format!("sha256={}", hex(hmac::sign(&self.key, body).as_ref()));
        assert_eq!(signature, right, "what is posted is signed");
        let first = self.refused.fetch_add(1, Ordering::SeqCst) == 0;
        if first || self.refuses_all.load(Ordering::SeqCst) {
            return 403;
        }
        let posted: Value = serde_json::from_slice(body).unwrap();
        let message: Value = serde_json::from_str(posted["message"].as_str().unwrap()).unwrap();
        let text = message["default"].as_str().unwrap();
        self.taken.lock().unwrap().push(serde_json::from_str(text).unwrap());
        204
    }
}
