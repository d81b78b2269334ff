//! A port that keeps a bridge's MTU where it is, while its other ports take larger packets.
//!
//! A bridge's MTU is the least of its ports' (`br_mtu_auto_adjust`, net/bridge/br_if.c). Were it to rise,
//! the host would send its containers packets that they do not take. To set it by hand would keep it too, but
//! that it was set by hand could not be taken back. The port is a veth that is never switched on.

use std::rc::Rc;

use super::ground::Ground;
use super::segment::Segment;
use crate::container::Mac;
use crate::sys::netlink::LinkInfo;
use crate::sys::netns::Netns;
use crate::{Error, Result};

/// Higher than any other: a bridge takes the lowest of its ports' addresses for its own. By it we know ours.
const MAC: Mac = Mac([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);

/// Its name, which is the bridge's by number: at most 15 characters.
fn name(segment: &Segment) -> String {
    format!("xhop-{}", segment.bridge.ifindex)
}

/// Makes it.
pub fn make(ground: Ground, segment: &Segment, mtu: u32) -> Result<()> {
    let (netns, bridge) = ground.present(&segment.bridge)?;
    let rtnl = ground.rtnl(&netns)?;
    match found(ground, segment)? {
        Found::None => rtnl.add_port(&name(segment), MAC.0, mtu, bridge.ifindex),
        Found::Ours(_, port) => {
            rtnl.set_mtu(port.ifindex, mtu)?;
            rtnl.set_master(port.ifindex, Some(bridge.ifindex))
        }
        Found::Foreign => {
            Err(Error::GuardTaken { ifname: name(segment), bridge: segment.to_string() })
        }
    }
}

/// Removes it.
pub fn undo(ground: Ground, segment: &Segment) -> Result<()> {
    match found(ground, segment)? {
        Found::Ours(netns, port) => ground.rtnl(&netns)?.del_link(port.ifindex),
        Found::Foreign | Found::None => Ok(()),
    }
}

/// Whether it is there.
pub fn holds(ground: Ground, segment: &Segment, mtu: u32) -> Result<bool> {
    let is_it = |port: &LinkInfo| port.master == Some(segment.bridge.ifindex) && port.mtu == mtu;
    Ok(matches!(found(ground, segment)?, Found::Ours(_, port) if is_it(&port)))
}

/// What has its name.
enum Found {
    None,
    Ours(Rc<Netns>, LinkInfo),
    Foreign,
}

fn found(ground: Ground, segment: &Segment) -> Result<Found> {
    let Some(netns) = ground.namespace(&segment.bridge)? else { return Ok(Found::None) };
    Ok(match ground.rtnl(&netns)?.link(&name(segment))? {
        None => Found::None,
        Some(port) if port.kind.as_deref() == Some("veth") && port.mac == Some(MAC.0) => {
            Found::Ours(netns, port)
        }
        Some(_) => Found::Foreign,
    })
}
