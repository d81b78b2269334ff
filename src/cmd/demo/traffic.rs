//! Traffic: a small HTTP server, a GET, a TCP stream, and the receiver's complaints.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::{Error, Result};

const PAGE: &str = "<!doctype html><title>xhop</title><p>It hops.</p>\n";
/// What is written at once: enough that the system call is not what is measured.
const CHUNK: usize = 128 << 10;

/// Starts the servers in the calling thread's namespace: HTTP, and one that swallows a stream and
/// answers with the number of its bytes. They run until the process ends.
pub fn serve(http: SocketAddr, bulk: SocketAddr) -> Result<()> {
    for (at, answer) in [(http, answer_http as fn(TcpStream) -> _), (bulk, swallow)] {
        let listener = TcpListener::bind(at).map_err(Error::io(at.to_string()))?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
    }
    Ok(())
}

fn answer_http(stream: TcpStream) -> std::io::Result<()> {
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

fn swallow(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut buffer, mut bytes) = (vec![0; CHUNK], 0u64);
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.write_all(&bytes.to_be_bytes()),
            got => bytes += got as u64,
        }
    }
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

/// Bits a microsecond (Mbit/s) that arrive at the other end, while as much as possible is written.
pub fn blast(to: SocketAddr, time: Duration) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(&to, time)?;
    let chunk = vec![0x5a; CHUNK];
    let start = Instant::now();
    while start.elapsed() < time {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    let micros = start.elapsed().as_micros().max(1) as u64;
    Ok(u64::from_be_bytes(bytes).saturating_mul(8) / micros)
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
