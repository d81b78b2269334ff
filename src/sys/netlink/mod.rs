//! Netlink: interfaces, addresses and routes (rtnetlink(7)), attaching XDP, driver features.

mod addr;
mod clsact;
mod filter;
mod gso;
mod host_route;
mod link;
mod make;
mod monitor;
pub(in crate::sys) mod msg;
pub mod netdev;
pub mod netfilter;
mod route;
mod socket;
mod stats;
mod xdp;

use std::os::fd::{AsFd, AsRawFd};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::Rtm;
use neli::consts::socket::NlFamily;

use self::msg::{Message, attr, u32_at};
use self::socket::{About, Socket};
use super::netns::Netns;
use crate::Result;

pub use addr::AddrInfo;
pub use filter::TcProgram;
pub use host_route::{Direct, ROUTE_MTU_MAX, RTPROT_XHOP};
pub use link::{LinkInfo, XdpAttached};
pub use monitor::{Change, Monitor};
pub use route::Route;
pub use stats::LinkStats;

/// `NETNSA_*` (include/uapi/linux/net_namespace.h)
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

/// A routing netlink socket in a namespace: all its interfaces and ifindexes are of there.
pub struct Rtnl {
    socket: Socket,
}

impl Rtnl {
    /// Opens one inside `netns`; the calling thread stays where it is.
    pub fn open_in(netns: &Netns) -> Result<Self> {
        Ok(Self { socket: Socket::open_in(netns, NlFamily::Route)? })
    }

    /// The number by which this namespace knows `other` (`link_netnsid` of a veth whose peer is
    /// there); `None` if it does not know it.
    pub fn nsid_of(&self, other: &Netns) -> Result<Option<i32>> {
        let on = other.path().to_string_lossy();
        let about = About { call: "RTM_GETNSID", on: &on };
        // struct rtgenmsg: one byte, padded.
        let mut message = Message::new(Rtm::Getnsid, NlmF::REQUEST | NlmF::ACK, &[0; 4]);
        message.attr(NETNSA_FD, &other.as_fd().as_raw_fd().to_ne_bytes());
        let items = self.socket.ask(about, message)?;
        let nsid = items
            .iter()
            .find_map(|(_, body)| attr(body.get(4..)?, NETNSA_NSID).and_then(|p| u32_at(p, 0)));
        let nsid = nsid.ok_or_else(|| socket::malformed(about))? as i32;
        Ok((nsid >= 0).then_some(nsid))
    }
}

/// `struct ifinfomsg`: the flags in `change` are set to what they are in `flags`.
fn ifinfomsg(ifindex: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut out = [0; 16];
    for (field, value) in out.chunks_exact_mut(4).skip(1).zip([ifindex, flags, change]) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
    out
}
