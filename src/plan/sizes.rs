//! The sizes of packets that interfaces take and send.

use nix::errno::Errno;

use super::ground::Ground;
use super::member::{Size, SizeOf};
use super::segment::Segment;
use crate::container::Interface;
use crate::{Error, Result};

/// The largest MTU of a veth (`ETH_MAX_MTU`).
pub const MAX_MTU: u32 = 65535;

/// Sets it.
pub fn make(ground: Ground, segment: &Segment, host: &Interface, size: &Size) -> Result<()> {
    if size.what == SizeOf::BridgeMtu {
        // A bridge's MTU follows its ports' until it is set by hand; what it is already, the kernel does
        // not take for set (`netif_set_mtu_ext`, net/core/dev.c).
        ground.set_mtu(&segment.bridge, size.on.saturating_sub(1))?;
    }
    match set(ground, segment, host, size.what, size.on) {
        // The peer of native XDP has one of a page (`veth_xdp_set`, drivers/net/veth.c).
        Err(error) if size.what == SizeOf::HostMtu && error.errno() == Some(Errno::EINVAL) => {
            Err(Error::HostMtu { ifname: host.name.clone(), mtu: size.on })
        }
        done => done,
    }
}

/// Sets it back.
pub fn undo(ground: Ground, segment: &Segment, host: &Interface, size: &Size) -> Result<()> {
    set(ground, segment, host, size.what, size.was)
}

/// Whether it is set.
pub fn holds(ground: Ground, segment: &Segment, host: &Interface, size: &Size) -> Result<bool> {
    let is = |what, bytes| Ok(found(ground, segment, host, what)? == Some(bytes));
    Ok(match size.what {
        // Whether it was set by hand nobody can tell. But only then was the port's raised; and one that
        // was as large when it was found does not change the bridge's.
        SizeOf::BridgeMtu => is(SizeOf::BridgeMtu, size.on)? && is(SizeOf::HostMtu, MAX_MTU)?,
        what => is(what, size.on)?,
    })
}

/// What it is now; `None` if the interface is gone, or the kernel has no such size.
pub fn found(
    ground: Ground,
    segment: &Segment,
    host: &Interface,
    what: SizeOf,
) -> Result<Option<u32>> {
    Ok(match what {
        SizeOf::BridgeMtu => ground.link(&segment.bridge)?.map(|(_, link)| link.mtu),
        SizeOf::HostMtu => ground.link(host)?.map(|(_, link)| link.mtu),
        SizeOf::GsoIpv4 => ground.inside(host)?.and_then(|(_, link)| link.gso_ipv4_max_size),
    })
}

fn set(
    ground: Ground,
    segment: &Segment,
    host: &Interface,
    what: SizeOf,
    bytes: u32,
) -> Result<()> {
    match what {
        SizeOf::BridgeMtu => ground.set_mtu(&segment.bridge, bytes),
        SizeOf::HostMtu => ground.set_mtu(host, bytes),
        SizeOf::GsoIpv4 => ground.set_gso_ipv4(host, bytes),
    }
}
