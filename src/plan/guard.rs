//! A port that keeps a bridge's MTU where it is, while its other ports take larger packets.
//!
//! A bridge's MTU is the least of its ports' (`br_mtu_auto_adjust`, net/bridge/br_if.c). Were it to rise,
//! the host would send its containers packets that they do not take. To set it by hand would keep it too, but
//! that it was set by hand could not be taken back. The port is a veth that is never switched on.

use std::rc::Rc;

use super::ground::Ground;
use super::segment::Segment;
use crate::Result;
use crate::container::Mac;
use crate::sys::netlink::LinkInfo;
use crate::sys::netns::Netns;

/// Higher than any other: a bridge takes the lowest of its ports' addresses for its own.
const MAC: Mac = Mac([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);

/// Its name, which is the bridge's by number.
pub fn name(segment: &Segment) -> String {
    format!("xhop-mtu{}", segment.bridge.ifindex)
}

/// Makes it.
pub fn make(ground: Ground, segment: &Segment, mtu: u32) -> Result<()> {
    let (netns, bridge) = ground.present(&segment.bridge)?;
    let (rtnl, name) = (ground.rtnl(&netns)?, name(segment));
    if rtnl.link(&name)?.is_none() {
        rtnl.add_veth(&name, &format!("{name}p"), &netns)?;
    }
    if let Some(port) = rtnl.link(&name)? {
        rtnl.set_mac(port.ifindex, MAC.0)?;
        rtnl.set_mtu(port.ifindex, mtu)?;
        rtnl.set_master(port.ifindex, Some(bridge.ifindex))?;
    }
    Ok(())
}

/// Removes it.
pub fn undo(ground: Ground, segment: &Segment) -> Result<()> {
    match found(ground, segment)? {
        Some((netns, port)) => ground.rtnl(&netns)?.del_link(port.ifindex),
        None => Ok(()),
    }
}

/// Whether it is there.
pub fn holds(ground: Ground, segment: &Segment, mtu: u32) -> Result<bool> {
    let is_port = |port: &LinkInfo| port.master == Some(segment.bridge.ifindex) && port.mtu == mtu;
    Ok(found(ground, segment)?.is_some_and(|(_, port)| is_port(&port)))
}

/// It by its name, if it is a veth: what else has that name is none of ours.
fn found(ground: Ground, segment: &Segment) -> Result<Option<(Rc<Netns>, LinkInfo)>> {
    let Some(netns) = ground.namespace(&segment.bridge)? else { return Ok(None) };
    let port = ground.rtnl(&netns)?.link(&name(segment))?;
    let port = port.filter(|port| port.kind.as_deref() == Some("veth"));
    Ok(port.map(|port| (netns, port)))
}
