//! What the standard library's sockets can't: ICMP echo (raw(7)), counting what the kernel sees on an
//! interface (packet(7)), connecting in time or not at all, and ending a TCP connection by a reset.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::{Error, Result};

/// `ETH_P_IP`, in host order.
const ETH_P_IP: u16 = 0x0800;

/// A socket of the calling thread's namespace.
pub(super) fn open(domain: i32, kind: i32, protocol: i32, what: &'static str) -> Result<OwnedFd> {
    // SAFETY: no addresses are passed.
    let fd = Errno::result(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })
        .map_err(Error::sys("socket", what))?;
    // SAFETY: it has just been opened, so it is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Connects to a server of this host by its path (unix(7)). Neither that nor what is written later takes longer
/// than `patience`, unlike the standard library's: one who does not accept keeps callers waiting.
pub fn connect(path: &Path, patience: Duration) -> std::io::Result<UnixStream> {
    // SAFETY: numbers only, for which zero is a valid value.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    let bytes = path.as_os_str().as_bytes();
    // With the NUL that ends it.
    if bytes.len() >= address.sun_path.len() {
        return Err(Errno::ENAMETOOLONG.into());
    }
    address.sun_path.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte as libc::c_char);
    let socket =
        open(libc::AF_UNIX, libc::SOCK_STREAM, 0, "unix").map_err(std::io::Error::other)?;
    let limit =
        libc::timeval { tv_sec: patience.as_secs() as _, tv_usec: patience.subsec_micros() as _ };
    let len = size_of_val(&limit) as libc::socklen_t;
    // SAFETY: the value is of the option's type, and `len` bytes long.
    Errno::result(unsafe {
        let value = (&raw const limit).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDTIMEO, value, len)
    })?;
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is of the family's type, and `len` bytes long.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) };
    match Errno::result(done) {
        Ok(_) => Ok(socket.into()),
        Err(Errno::EAGAIN) => Err(ErrorKind::TimedOut.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Lets the connection end with a reset when it is closed, of which nothing remains: no `TIME_WAIT`, no
/// port that is taken for a minute (socket(7), SO_LINGER).
pub fn reset_on_close(stream: &TcpStream) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(stream, (libc::SOL_SOCKET, libc::SO_LINGER), "SO_LINGER", linger)
}

/// Sends an ICMP echo request from the calling thread's namespace and waits for its answer. Gives the
/// time that it took; `None` if none came in time.
pub fn ping(to: Ipv4Addr, sequence: u16, patience: Duration) -> Result<Option<Duration>> {
    let failed = |error| Error::io("ping")(error);
    // The standard library's datagram socket sends and receives on any socket of that manner.
    let raw = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, "ICMP")?;
    let socket = UdpSocket::from(raw);
    socket.connect((to, 0)).map_err(failed)?;
    let request = echo(8, sequence);
    let start = Instant::now();
    socket.send(&request).map_err(failed)?;
    let mut answer = [0; 1500];
    while let Some(left) = patience.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left)).map_err(failed)?;
        let Ok(len) = socket.recv(&mut answer) else { continue };
        // A raw socket gives the IP header too.
        let header = usize::from(answer[0] & 0xf) * 4;
        if answer.get(header..len) == Some(&echo(0, sequence)[..]) {
            return Ok(Some(start.elapsed()));
        }
    }
    Ok(None)
}

/// An echo request (8) or reply (0) with its checksum (RFC 792).
fn echo(kind: u8, sequence: u16) -> [u8; 8] {
    const ID: u16 = 0x7868;
    let sum = u32::from(u16::from(kind) << 8) + u32::from(ID) + u32::from(sequence);
    let check = !((sum & 0xffff) + (sum >> 16)) as u16;
    let [c, k] = check.to_be_bytes();
    let ([i, d], [s, q]) = (ID.to_be_bytes(), sequence.to_be_bytes());
    [kind, 0, c, k, i, d, s, q]
}

/// Counts the IPv4 packets that the kernel's own path sends out by an interface, a bridge's port say. What
/// a program redirects does not come by taps; where packets are received, they come before traffic control.
#[derive(Debug)]
pub struct Counter {
    socket: OwnedFd,
}

impl Counter {
    /// On an interface of the calling thread's namespace, from now on.
    pub fn on(ifindex: u32) -> Result<Self> {
        // Opened for no protocol: nothing comes before it is bound.
        let socket = open(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0, "packet")?;
        bind_packet(&socket, ifindex)?;
        Ok(Self { socket })
    }

    /// How many since the last call, of those that the socket had room for: some hundred.
    pub fn take(&self) -> Result<usize> {
        let mut count = 0;
        loop {
            let mut from = unspecified();
            let mut len = size_of_val(&from) as libc::socklen_t;
            // SAFETY: no byte of the packet is asked for, and at most `len` of its address.
            let got = unsafe {
                let address = (&raw mut from).cast();
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    std::ptr::null_mut(),
                    0,
                    0,
                    address,
                    &raw mut len,
                )
            };
            match Errno::result(got) {
                Ok(_) => {
                    let sent = from.sll_pkttype == libc::PACKET_OUTGOING;
                    count += usize::from(sent && from.sll_protocol == ETH_P_IP.to_be());
                }
                Err(Errno::EAGAIN) => return Ok(count),
                Err(errno) => return Err(Error::sys("recvfrom", "packet socket")(errno)),
            }
        }
    }
}

/// Lets a packet socket of the calling thread's namespace get what an interface there receives and sends.
pub(super) fn bind_packet(socket: &OwnedFd, ifindex: u32) -> Result<()> {
    let mut address = unspecified();
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = ifindex as i32;
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is of the family's type, and `len` bytes long.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    Errno::result(bound).map(drop).map_err(Error::sys("bind", format!("ifindex {ifindex}")))
}

/// Sets an option that is plain data (setsockopt(2)).
pub(super) fn set_option<T: Copy>(
    socket: &impl AsRawFd,
    (level, option): (i32, i32),
    what: &'static str,
    value: T,
) -> Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of the value.
    let set = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(socket.as_raw_fd(), level, option, value, len)
    };
    Errno::result(set).map(drop).map_err(Error::sys("setsockopt", what))
}

pub(super) fn unspecified() -> libc::sockaddr_ll {
    // SAFETY: numbers only, for which zero is a valid value.
    unsafe { std::mem::zeroed() }
}
