//! Servers and transfers in pure Rust, for the ends of a connection in two containers.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Lab, Where};

/// After so long without a byte a connection counts as broken.
const SILENCE: Duration = Duration::from_secs(10);
const BLOCK: usize = 64 * 1024;

/// A server in a thread of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    fn start(serve: impl FnOnce(&AtomicBool) + Send + 'static) -> Service {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        Service { stop, thread: Some(thread::spawn(move || serve(&seen))) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A server that has panicked has said so itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Lab {
    /// Serves `body` over HTTP on all addresses, IPv4 and IPv6, of the namespace `at`.
    pub fn http_server(&self, at: impl Into<Where>, port: u16, body: Vec<u8>) -> Service {
        self.in_netns(at, || {
            let listener = listen(port).expect("a port to listen on");
            Service::start(move |stop| {
                while let Ok(stream) = accept(&listener, || stop.load(Ordering::Relaxed)) {
                    // A client that goes away is the client's affair.
                    let _ = answer(stream, &body);
                }
            })
        })
    }

    /// Sends each datagram back that comes to `port` of the namespace `at`.
    pub fn udp_echo(&self, at: impl Into<Where>, port: u16) -> Service {
        self.in_netns(at, || {
            let socket = UdpSocket::bind(("::", port)).expect("a UDP port");
            socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
            Service::start(move |stop| {
                let mut datagram = vec![0; BLOCK];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((len, from)) = socket.recv_from(&mut datagram) {
                        // As unreliable as UDP itself.
                        let _ = socket.send_to(&datagram[..len], from);
                    }
                }
            })
        })
    }

    /// Sends `payload` from the namespace `from` to an echo server, and returns what comes back.
    ///
    /// # Errors
    /// WouldBlock when nothing has come for two seconds.
    pub fn udp_ask(
        &self,
        from: impl Into<Where>,
        to: SocketAddr,
        payload: &[u8],
    ) -> io::Result<Vec<u8>> {
        self.in_netns(from, || {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            socket.connect(to)?;
            socket.send(payload)?;
            let mut answer = vec![0; BLOCK];
            let len = socket.recv(&mut answer)?;
            answer.truncate(len);
            Ok(answer)
        })
    }

    /// One TCP connection from `from` to `address` of `to`, over which bytes go until `stop`; the
    /// hashes of what was sent and what has come must be the same. `progress` is what has come.
    ///
    /// # Errors
    /// Those of [`Lab::bulk`].
    pub fn stream(
        &self,
        from: &str,
        to: &str,
        address: &str,
        stop: &AtomicBool,
        progress: &AtomicU64,
    ) -> io::Result<()> {
        let address: IpAddr = address.parse().expect("an IP address");
        let listener = self.in_netns(to, || listen(0))?;
        let target = SocketAddr::new(address, listener.local_addr()?.port());
        let start = Instant::now();
        let (near, far) = thread::scope(|scope| {
            let far = scope.spawn(|| -> io::Result<u64> {
                let mut stream = accept(&listener, || start.elapsed() > SILENCE)?;
                let (mut hash, mut block) = (Hash::default(), vec![0; BLOCK]);
                loop {
                    match stream.read_exact(&mut block) {
                        Ok(()) => hash.add(&block),
                        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(hash.0),
                        Err(e) => return Err(e),
                    }
                    progress.fetch_add(block.len() as u64, Ordering::Relaxed);
                }
            });
            let near = self.in_netns(from, || -> io::Result<u64> {
                let mut stream = TcpStream::connect_timeout(&target, SILENCE)?;
                patient(&stream)?;
                let (mut hash, mut state, mut block) = (Hash::default(), 1, vec![0; BLOCK]);
                while !stop.load(Ordering::Relaxed) {
                    fill(&mut block, &mut state);
                    hash.add(&block);
                    stream.write_all(&block)?;
                }
                Ok(hash.0)
            });
            (near, far.join().expect("the far end"))
        });
        if near? == far? { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    }

    /// Moves `bytes` over one TCP connection from `from` to `to`, whose address is `address`, and
    /// then as many back; compares the hashes of what was sent and what has come.
    ///
    /// # Errors
    /// TimedOut or WouldBlock when the connection starves; InvalidData when the hashes differ.
    pub fn bulk(
        &self,
        from: impl Into<Where> + Send,
        to: impl Into<Where>,
        address: &str,
        bytes: u64,
    ) -> io::Result<Duration> {
        let address: IpAddr = address.parse().expect("an IP address");
        let listener = self.in_netns(to, || listen(0))?;
        let target = SocketAddr::new(address, listener.local_addr()?.port());
        let start = Instant::now();
        let (near, far) = thread::scope(|scope| {
            let far = scope.spawn(|| -> io::Result<[u64; 2]> {
                let mut stream = accept(&listener, || start.elapsed() > SILENCE)?;
                Ok([receive(&mut stream, bytes)?, send(&mut stream, bytes, 2)?])
            });
            let near = self.in_netns(from, || -> io::Result<[u64; 2]> {
                let mut stream = TcpStream::connect_timeout(&target, SILENCE)?;
                patient(&stream)?;
                Ok([send(&mut stream, bytes, 1)?, receive(&mut stream, bytes)?])
            });
            (near, far.join().expect("the far end"))
        });
        if near? == far? { Ok(start.elapsed()) } else { Err(ErrorKind::InvalidData.into()) }
    }
}

/// A socket on `[::]` takes IPv4 too (ipv6(7), IPV6_V6ONLY).
fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("::", port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The next connection; Interrupted when `stop` says so first.
fn accept(listener: &TcpListener, stop: impl Fn() -> bool) -> io::Result<TcpStream> {
    while !stop() {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                patient(&stream)?;
                return Ok(stream);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(e) => return Err(e),
        }
    }
    Err(ErrorKind::Interrupted.into())
}

fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))
}

/// Reads a request up to its empty line, whatever it asks for, and answers with `body`.
fn answer(mut stream: TcpStream, body: &[u8]) -> io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            len => request.extend_from_slice(&part[..len]),
        }
    }
    let length = body.len();
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}

/// Sends `bytes` pseudo-random ones and returns their hash.
fn send(stream: &mut TcpStream, bytes: u64, seed: u64) -> io::Result<u64> {
    let mut hash = Hash::default();
    let mut state = seed;
    for_blocks(bytes, |block| {
        fill(block, &mut state);
        hash.add(block);
        stream.write_all(block)
    })?;
    Ok(hash.0)
}

/// Fills a block with the next pseudo-random bytes: xorshift64 (Marsaglia, 2003).
fn fill(block: &mut [u8], state: &mut u64) {
    for word in block.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
}

/// Takes `bytes` and returns their hash.
fn receive(stream: &mut TcpStream, bytes: u64) -> io::Result<u64> {
    let mut hash = Hash::default();
    for_blocks(bytes, |block| {
        stream.read_exact(block)?;
        hash.add(block);
        Ok(())
    })?;
    Ok(hash.0)
}

/// Gives `bytes` in pieces to `each`, through one buffer.
fn for_blocks(bytes: u64, mut each: impl FnMut(&mut [u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        each(&mut buffer[..len])?;
        left -= len as u64;
    }
    Ok(())
}

/// FNV-1a over 64-bit words: quick in a debug build, and any change or swap of words shows.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn add(&mut self, block: &[u8]) {
        for chunk in block.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
