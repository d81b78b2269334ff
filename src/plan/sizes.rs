//! The sizes of packets that interfaces take and send.

use nix::errno::Errno;

use super::ground::Ground;
use super::member::{Size, SizeOf};
use crate::container::Interface;
use crate::{Error, Result};

/// Sets it.
pub fn make(ground: Ground, host: &Interface, size: &Size) -> Result<()> {
    match set(ground, host, size.what, size.on) {
        // The peer of native XDP has one of a page (`veth_xdp_set`, drivers/net/veth.c).
        Err(error) if size.what == SizeOf::HostMtu && error.errno() == Some(Errno::EINVAL) => {
            Err(Error::HostMtu { ifname: host.name.clone(), mtu: size.on })
        }
        done => done,
    }
}

/// Sets it back.
pub fn undo(ground: Ground, host: &Interface, size: &Size) -> Result<()> {
    set(ground, host, size.what, size.was)
}

/// Whether it is set.
pub fn holds(ground: Ground, host: &Interface, size: &Size) -> Result<bool> {
    Ok(found(ground, host, size.what)? == Some(size.on))
}

/// What it is now; `None` if the interface is gone, or the kernel has no such size.
pub fn found(ground: Ground, host: &Interface, what: SizeOf) -> Result<Option<u32>> {
    Ok(match what {
        SizeOf::HostMtu => ground.link(host)?.map(|(_, link)| link.mtu),
        SizeOf::GsoIpv4 => ground.inside(host)?.and_then(|(_, link)| link.gso_ipv4_max_size),
    })
}

fn set(ground: Ground, host: &Interface, what: SizeOf, bytes: u32) -> Result<()> {
    match what {
        SizeOf::HostMtu => ground.set_mtu(host, bytes),
        SizeOf::GsoIpv4 => ground.set_gso_ipv4(host, bytes),
    }
}
