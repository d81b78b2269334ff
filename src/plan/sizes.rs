//! The sizes of packets that interfaces take and send.

use super::ground::Ground;
use super::member::{Size, SizeOf};
use super::segment::Segment;
use crate::Result;
use crate::container::Interface;

/// Sets it.
pub fn make(ground: Ground, segment: &Segment, host: &Interface, size: &Size) -> Result<()> {
    if size.what == SizeOf::BridgeMtu {
        // A bridge's MTU follows its ports' until it is set by hand; what it is already, the kernel does
        // not take for set (`netif_set_mtu_ext`, net/core/dev.c).
        ground.set_mtu(&segment.bridge, size.on.saturating_sub(1))?;
    }
    set(ground, segment, host, size.what, size.on)
}

/// Sets it back.
pub fn undo(ground: Ground, segment: &Segment, host: &Interface, size: &Size) -> Result<()> {
    set(ground, segment, host, size.what, size.was)
}

/// Whether it is set.
pub fn holds(ground: Ground, segment: &Segment, host: &Interface, size: &Size) -> Result<bool> {
    Ok(match size.what {
        // Whether it was set by hand nobody can tell.
        SizeOf::BridgeMtu => false,
        _ => found(ground, segment, host, size.what)? == Some(size.on),
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
