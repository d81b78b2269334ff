//! What the standard library's UDP sockets can't: say how much fits a packet, and send several datagrams in one
//! (ip(7), ipv6(7), udp(7)).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use super::socket::{open, set_option};
use crate::{Error, Result};

/// include/uapi/linux/udp.h
const UDP_SEGMENT: i32 = 103;
/// Discover it, and send nothing that has to be cut up.
const PMTUDISC_DO: i32 = libc::IP_PMTUDISC_DO;

/// A socket of the calling thread's namespace from an address to a peer, which sends no fragments.
pub fn connected(from: IpAddr, to: SocketAddr) -> Result<UdpSocket> {
    let failed = |error| Error::io(format!("UDP to {to}"))(error);
    let socket = UdpSocket::bind((from, 0)).map_err(failed)?;
    let option = match from {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    };
    set_option(&socket, option, "MTU_DISCOVER", PMTUDISC_DO)?;
    socket.connect(to).map_err(failed)?;
    Ok(socket)
}

/// How many bytes of IP may be sent in one packet on the way of a connected socket.
pub fn path_mtu(socket: &UdpSocket) -> Result<usize> {
    let v4 = socket.local_addr().is_ok_and(|address| address.is_ipv4());
    let (level, option) = match v4 {
        true => (libc::IPPROTO_IP, libc::IP_MTU),
        false => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let mut mtu = 0i32;
    let mut len = size_of_val(&mtu) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes of the number.
    let got = unsafe {
        let value = (&raw mut mtu).cast();
        libc::getsockopt(socket.as_raw_fd(), level, option, value, &raw mut len)
    };
    Errno::result(got).map_err(Error::sys("getsockopt", "IP_MTU"))?;
    Ok(mtu.max(0) as usize)
}

/// From now on what is sent are datagrams of so many bytes, which go down the stack as one packet (GSO, kernels
/// from 4.18).
pub fn segment(socket: &UdpSocket, bytes: u16) -> Result<()> {
    set_option(socket, (libc::SOL_UDP, UDP_SEGMENT), "UDP_SEGMENT", i32::from(bytes))
}

/// A socket of the calling thread's namespace for ICMP echo with this address, from this one. It gets all
/// ICMP that comes; of IPv4 with the IP header before.
pub fn icmp(from: IpAddr, to: IpAddr) -> Result<UdpSocket> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP),
        IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
    };
    // The standard library's datagram socket sends and receives on any socket of that manner.
    let socket = UdpSocket::from(open(domain, libc::SOCK_RAW, protocol, "ICMP")?);
    let failed = |error| Error::io(format!("ICMP to {to}"))(error);
    bind(&socket, from)?;
    socket.connect((to, 0)).map_err(failed)?;
    Ok(socket)
}

/// Lets a socket send from this address.
fn bind(socket: &UdpSocket, from: IpAddr) -> Result<()> {
    // SAFETY: numbers only, for which zero is a valid value.
    let (mut v4, mut v6): (libc::sockaddr_in, libc::sockaddr_in6) = unsafe { std::mem::zeroed() };
    let (address, len) = match from {
        IpAddr::V4(ip) => {
            v4.sin_family = libc::AF_INET as u16;
            v4.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
            ((&raw const v4).cast(), size_of_val(&v4))
        }
        IpAddr::V6(ip) => {
            v6.sin6_family = libc::AF_INET6 as u16;
            v6.sin6_addr.s6_addr = ip.octets();
            ((&raw const v6).cast(), size_of_val(&v6))
        }
    };
    // SAFETY: the address is of the family's type, and `len` bytes long.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), address, len as libc::socklen_t) };
    Errno::result(bound).map(drop).map_err(Error::sys("bind", from))
}
