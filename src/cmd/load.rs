//! Load from one container to another: TCP streams, ping-pong, short connections, datagrams.
//!
//! A socket belongs to the namespace that it was made in, whoever uses it: only what makes sockets has
//! to run there. Whatever waits does so for a limited time, and all ends early when a signal is pending.
//!
//! Of one flow the client is on one processor and the server on another, where there are two: whether the
//! scheduler puts them together or apart would else be most of what is measured. Several streams it may
//! place as it likes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};
use std::time::{Duration, Instant};

use crate::sys::netns::Netns;
use crate::sys::{cpu, signal, socket};
use crate::{Error, Result};

/// What is written at once: enough that the system call is not what is measured.
const CHUNK: usize = 128 << 10;
/// A UDP payload.
const DATAGRAM: [u8; 64] = [0x5a; 64];
/// Datagrams that are sent before the clock is looked at.
const BURST: usize = 32;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last datagrams may be on their way.
const TAIL: Duration = Duration::from_millis(50);

/// From which namespace to which, and by which address.
pub struct Route<'a> {
    /// The client's namespace.
    pub from: &'a Netns,
    /// The server's.
    pub to: &'a Netns,
    /// The server's address where the server is, with any port that is free.
    pub listen: SocketAddr,
    /// The same as the client sees it.
    pub target: SocketAddr,
}

/// How many in which time.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Bytes, connections or datagrams.
    pub count: u64,
    /// The time that they took.
    pub time: Duration,
}

impl Counted {
    /// How many a second.
    pub fn a_second(&self) -> u64 {
        self.count.saturating_mul(1_000_000) / self.micros()
    }

    /// Mbit/s, of bytes: bits a microsecond.
    pub fn mbit(&self) -> u64 {
        self.count.saturating_mul(8) / self.micros()
    }

    fn micros(&self) -> u64 {
        (self.time.as_micros() as u64).max(1)
    }
}

/// A time to go on for.
#[derive(Clone, Copy)]
struct Until {
    start: Instant,
    time: Duration,
}

impl Until {
    fn from_now(time: Duration) -> Self {
        Self { start: Instant::now(), time }
    }

    fn more(&self) -> bool {
        self.start.elapsed() < self.time && !signal::pending()
    }
}

impl Route<'_> {
    /// As many TCP streams at once as `streams` says: the bytes that arrive while each sends all that it can.
    pub fn streams(&self, streams: usize, time: Duration) -> Result<Counted> {
        let listener = self.listen()?;
        let connect = |_| self.connect(&listener);
        let pairs = (0..streams).map(connect).collect::<Result<Vec<_>>>()?;
        let [near, far] = if streams == 1 { cpu::two() } else { [None; 2] };
        let until = Until::from_now(time);
        let bytes = scope(|scope| {
            let mut threads = Vec::new();
            for (client, server) in &pairs {
                threads.push(spawn(scope, near, move || flood(client, until).map(|()| 0))?);
                threads.push(spawn(scope, far, || swallow(server))?);
            }
            threads.into_iter().map(join).sum()
        });
        Ok(Counted { count: self.failed(bytes)?, time: until.start.elapsed() })
    }

    /// One byte there and back, over and over: the time of each round trip, in ns.
    pub fn ping_pong(&self, time: Duration) -> Result<Vec<u64>> {
        let listener = self.listen()?;
        let (client, server) = self.connect(&listener)?;
        let [near, far] = cpu::two();
        let times = scope(|scope| {
            let echo = spawn(scope, far, || echo(server))?;
            let times = cpu::on(near, || exchange(client, Until::from_now(time)));
            join(echo).and(times?)
        });
        self.failed(times)
    }

    /// TCP connections, one after the other: each with a request and an answer of one byte.
    pub fn connections(&self, time: Duration) -> Result<Counted> {
        let listener = self.listen()?;
        let target = self.target_at(self.failed(listener.local_addr())?);
        let control = self.failed(as_stream(&listener))?;
        let [near, far] = cpu::two();
        let until = Until::from_now(time);
        let count = scope(|scope| {
            let server = spawn(scope, far, || answer_each(&listener))?;
            let count = self.from.run(|| cpu::on(near, || connect_each(target, until)));
            // Wakes who waits for the next connection.
            let stopped = control.shutdown(Shutdown::Both);
            stopped.and(join(server)).map(|()| count)
        });
        let count = self.failed(self.failed(self.failed(count)??)?)?;
        Ok(Counted { count, time: until.start.elapsed() })
    }

    /// As many UDP datagrams of 64 bytes as one sender can send: those that arrive.
    pub fn datagrams(&self, time: Duration) -> Result<Counted> {
        let receiver = self.failed(self.to.run(|| UdpSocket::bind(self.listen))?)?;
        let target = self.target_at(self.failed(receiver.local_addr())?);
        let any: IpAddr = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let sender = self.failed(self.from.run(|| UdpSocket::bind((any, 0)))?)?;
        self.failed(sender.connect(target))?;
        self.failed(receiver.set_read_timeout(Some(TAIL)))?;
        let (until, sent_all) = (Until::from_now(time), AtomicBool::new(false));
        let [near, far] = cpu::two();
        let counted = scope(|scope| {
            let arrived = spawn(scope, far, || count(&receiver, &sent_all))?;
            let sent = cpu::on(near, || send(&sender, until)).and_then(|sent| sent);
            let time = until.start.elapsed();
            sent_all.store(true, Ordering::Relaxed);
            let count = join(arrived)?;
            sent.map(|()| Counted { count, time })
        });
        self.failed(counted)
    }

    fn listen(&self) -> Result<TcpListener> {
        let listener = self.failed(self.to.run(|| TcpListener::bind(self.listen))?)?;
        // For accept(2) too; a connection may end up elsewhere (socket(7), SO_RCVTIMEO).
        let limited = as_stream(&listener).and_then(|it| it.set_read_timeout(Some(PATIENCE)));
        self.failed(limited)?;
        Ok(listener)
    }

    /// Both ends of a new connection, the client's first.
    fn connect(&self, listener: &TcpListener) -> Result<(TcpStream, TcpStream)> {
        let target = self.target_at(self.failed(listener.local_addr())?);
        let client = self.from.run(|| TcpStream::connect_timeout(&target, PATIENCE))?;
        let client = self.failed(client)?;
        Ok((client, self.failed(listener.accept())?.0))
    }

    fn target_at(&self, listening: SocketAddr) -> SocketAddr {
        let mut target = self.target;
        target.set_port(listening.port());
        target
    }

    fn failed<T>(&self, result: io::Result<T>) -> Result<T> {
        result.map_err(|source| Error::NoTraffic { to: self.target.ip(), source })
    }
}

/// The socket as one whose settings the standard library lets be changed.
fn as_stream(listener: &TcpListener) -> io::Result<TcpStream> {
    Ok(OwnedFd::from(listener.try_clone()?).into())
}

fn flood(mut stream: &TcpStream, until: Until) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let chunk = vec![0x5a; CHUNK];
    while until.more() {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(Shutdown::Write)
}

fn swallow(mut stream: &TcpStream) -> io::Result<u64> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut buffer, mut bytes) = (vec![0; CHUNK], 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(bytes),
            got => bytes += got as u64,
        }
    }
}

/// Ends with the stream: the sockets are closed when one end gives up.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    prepare(&stream)?;
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

fn exchange(mut stream: TcpStream, until: Until) -> io::Result<Vec<u64>> {
    prepare(&stream)?;
    let (mut byte, mut times) = ([0], Vec::new());
    while until.more() {
        let start = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    Ok(times)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))
}

/// Until the listener is shut down: accept(2) then gives EINVAL.
fn answer_each(listener: &TcpListener) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        stream.write_all(&byte)?;
    }
}

/// The server closes first, in good order; the reset that answers it leaves nothing behind. Thousands a
/// second would otherwise use up the ports.
fn connect_each(target: SocketAddr, until: Until) -> io::Result<u64> {
    let mut connections = 0;
    while until.more() {
        let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
        socket::reset_on_close(&stream).map_err(io::Error::other)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = [0; 2];
        stream.write_all(&[1])?;
        stream.read_exact(&mut answer[..1])?;
        // The end of the stream.
        if stream.read(&mut answer)? != 0 {
            return Err(ErrorKind::InvalidData.into());
        }
        connections += 1;
    }
    Ok(connections)
}

fn send(socket: &UdpSocket, until: Until) -> io::Result<()> {
    while until.more() {
        for _ in 0..BURST {
            socket.send(&DATAGRAM)?;
        }
    }
    Ok(())
}

/// Until nothing comes any more after all is sent.
fn count(socket: &UdpSocket, sent_all: &AtomicBool) -> io::Result<u64> {
    let (mut buffer, mut arrived) = ([0; DATAGRAM.len() + 1], 0);
    loop {
        let over = sent_all.load(Ordering::Relaxed);
        match socket.recv(&mut buffer) {
            Ok(len) => arrived += u64::from(len == DATAGRAM.len()),
            Err(error) if error.kind() == ErrorKind::WouldBlock && over => return Ok(arrived),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// On a thread of its own, which is on this processor alone if one is given.
fn spawn<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    on: Option<usize>,
    f: impl FnOnce() -> io::Result<T> + Send + 's,
) -> io::Result<ScopedJoinHandle<'s, io::Result<T>>> {
    Builder::new().spawn_scoped(scope, move || cpu::on(on, f)?)
}

fn join<T>(thread: ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
