//! A server that does what servers do when they fail.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub const ARCHIVE: &[u8] = include_bytes!("../../../pickles/cifar-10-python.tar.gz");

/// What the server does with one request.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// The file, or the range of it that is asked for.
    Good,
    /// The whole file, whatever is asked for.
    NoRanges,
    /// The beginning, and the connection is closed.
    Cut(usize),
    /// The same, whatever is asked for.
    CutAnew(usize),
    /// As much, then nothing more.
    Stall(usize),
    /// The whole file with another byte in it.
    Corrupt,
    /// The file, said to be so long.
    Length(usize),
    /// The file and more, without a length.
    Endless,
    /// Another range than is asked for.
    OtherRange,
    /// Another version: the range is not heeded because the tag differs.
    Changed,
    Status(u16),
    /// These lines of a head, then as many letters.
    Says(&'static str, usize),
    /// To another place on the same server, which is then good.
    Redirect,
    /// Bytes that are no answer.
    Garbage,
}

/// A server with an answer for each request to come; its address, and what it was asked.
pub fn server(replies: Vec<Reply>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for reply in replies {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            let request = request(&mut stream);
            log.lock().unwrap().push(request.clone());
            thread::spawn(move || answer(&mut stream, &request, reply));
        }
    });
    (address, asked)
}

fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap().to_lowercase()
}

/// Nothing here minds that the client goes away.
fn answer(stream: &mut TcpStream, request: &str, reply: Reply) {
    let n = ARCHIVE.len();
    let range = request
        .split("range: bytes=")
        .nth(1)
        .and_then(|rest| rest.split('-').next());
    let from: usize = range.and_then(|from| from.parse().ok()).unwrap_or(0);
    let whole = |length: usize, tag: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nETag: \"{tag}\"\r\nConnection: close\r\n\r\n"
        )
    };
    let part = |from: usize| {
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{n}\r\n\
             Connection: close\r\n\r\n",
            n - from,
            n - 1
        )
    };
    let mut send = |head: String, body: &[u8]| {
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body));
    };
    match reply {
        Reply::Good if from > 0 => send(part(from), &ARCHIVE[from..]),
        Reply::Good | Reply::NoRanges => send(whole(n, "one"), ARCHIVE),
        Reply::Cut(end) if from > 0 => send(part(from), &ARCHIVE[from..end]),
        Reply::Cut(end) | Reply::CutAnew(end) => send(whole(n, "one"), &ARCHIVE[..end]),
        Reply::Stall(end) => {
            send(whole(n, "one"), &ARCHIVE[..end]);
            thread::sleep(Duration::from_secs(60));
        }
        Reply::Corrupt => {
            let mut other = ARCHIVE.to_vec();
            other[n / 2] ^= 1;
            send(whole(n, "one"), &other);
        }
        Reply::Length(length) => send(whole(length, "one"), ARCHIVE),
        Reply::Endless => {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".into();
            send(head, &[ARCHIVE, &[0; 100_000]].concat());
        }
        Reply::OtherRange => send(part(from + 1), &ARCHIVE[from + 1..]),
        Reply::Changed => send(whole(n, "two"), ARCHIVE),
        Reply::Status(status) => {
            send(
                format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
                b"",
            );
        }
        Reply::Says(head, n) => {
            let head = format!("{head}\r\nConnection: close\r\n\r\n");
            send(head, &b"x".repeat(n));
        }
        Reply::Redirect => {
            let head = "HTTP/1.1 302 Found\r\nLocation: /elsewhere.tar.gz\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            send(head.into(), b"");
        }
        Reply::Garbage => send("what?\r\n\r\n".into(), b""),
    }
}
