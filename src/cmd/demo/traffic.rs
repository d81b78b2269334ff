//! Traffic: a small HTTP server, a GET, and the receiver's complaints.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::{Error, Result};

const PAGE: &str = "<!doctype html><title>xhop</title><p>It hops.</p>\n";

/// Starts the server in the calling thread's namespace. It runs until the process ends.
pub fn serve(at: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(at).map_err(Error::io(at.to_string()))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(())
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    // Up to the empty line that ends the head.
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let len = PAGE.len();
    let head =
        format!("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len}\r\n\r\n");
    (&stream).write_all(head.as_bytes())?;
    (&stream).write_all(PAGE.as_bytes())
}

/// The status line and size of the answer to a GET, if it comes whole and in time.
pub fn get(from: SocketAddr, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&from, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.lines().next()?.strip_prefix("HTTP/1.0 ")?;
    (body == PAGE).then(|| format!("{status}, {} bytes", body.len()))
}

/// `InCsumErrors` of TCP in the calling thread's namespace (proc_net(5): /proc/net/snmp).
pub fn tcp_checksum_errors() -> Result<u64> {
    let path = "/proc/thread-self/net/snmp";
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let errors = pairs.find(|(name, _)| *name == "InCsumErrors");
    Ok(errors.and_then(|(_, value)| value.parse().ok()).unwrap_or(0))
}
