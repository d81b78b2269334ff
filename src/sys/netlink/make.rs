//! Interfaces made, changed and removed.

use std::os::fd::{AsFd, AsRawFd};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Iff, Ifla, IflaInfo, Rtm};

use super::msg::Message;
use super::socket::About;
use super::{Rtnl, ifinfomsg};
use crate::Result;
use crate::sys::netns::Netns;

/// include/uapi/linux/veth.h
const VETH_INFO_PEER: u16 = 1;

impl Rtnl {
    /// Makes a bridge, down.
    pub fn add_bridge(&self, name: &str) -> Result<()> {
        self.add(name, |message| {
            message.nest(Ifla::Linkinfo, |info| info.attr_str(IflaInfo::Kind, "bridge"));
        })
    }

    /// Makes a pair of veths, down: `name` here, `peer` in another namespace.
    pub fn add_veth(&self, name: &str, peer: &str, peer_netns: &Netns) -> Result<()> {
        self.add(name, |message| {
            message.nest(Ifla::Linkinfo, |info| {
                info.attr_str(IflaInfo::Kind, "veth");
                info.nest(IflaInfo::Data, |data| {
                    data.nest(VETH_INFO_PEER, |end| {
                        end.put(&ifinfomsg(0, 0, 0));
                        end.attr_str(Ifla::Ifname, peer);
                        end.attr(Ifla::NetNsFd, &peer_netns.as_fd().as_raw_fd().to_ne_bytes());
                    });
                });
            });
        })
    }

    /// Makes a pair of veths, down, as a port of a bridge: `name` with this Ethernet address, and its peer, which
    /// the kernel names, both with this MTU. All at once: nobody sees it half done.
    pub fn add_port(&self, name: &str, mac: [u8; 6], mtu: u32, bridge: u32) -> Result<()> {
        self.add(name, |message| {
            message.attr(Ifla::Address, &mac);
            message.attr(Ifla::Mtu, &mtu.to_ne_bytes());
            message.attr(Ifla::Master, &bridge.to_ne_bytes());
            message.nest(Ifla::Linkinfo, |info| info.attr_str(IflaInfo::Kind, "veth"));
        })
    }

    /// Removes an interface; a veth takes its peer with it.
    pub fn del_link(&self, ifindex: u32) -> Result<()> {
        let message =
            Message::new(Rtm::Dellink, NlmF::REQUEST | NlmF::ACK, &ifinfomsg(ifindex, 0, 0));
        let on = format!("ifindex {ifindex}");
        self.socket.ask(About { call: "RTM_DELLINK", on: &on }, message).map(drop)
    }

    /// Switches an interface on or off.
    pub fn set_up(&self, ifindex: u32, up: bool) -> Result<()> {
        let flags = if up { Iff::UP.bits() } else { 0 };
        self.set(ifindex, ifinfomsg(ifindex, flags, Iff::UP.bits()), |_| {})
    }

    /// Makes an interface a port of a bridge, or of none.
    pub fn set_master(&self, ifindex: u32, master: Option<u32>) -> Result<()> {
        let master = master.unwrap_or(0).to_ne_bytes();
        self.set(ifindex, ifinfomsg(ifindex, 0, 0), |message| message.attr(Ifla::Master, &master))
    }

    /// Sets the largest packet, in bytes without the Ethernet header. Nothing happens if it is that already.
    ///
    /// A bridge's MTU is the least of its ports' until it is *changed* by this: from then on, and as long as the
    /// bridge lives, it stays as it was set (`BROPT_MTU_SET_BY_USER`, which is shown nowhere).
    pub fn set_mtu(&self, ifindex: u32, mtu: u32) -> Result<()> {
        let mtu = mtu.to_ne_bytes();
        self.set(ifindex, ifinfomsg(ifindex, 0, 0), |message| message.attr(Ifla::Mtu, &mtu))
    }

    fn add(&self, name: &str, fill: impl FnOnce(&mut Message)) -> Result<()> {
        let flags = NlmF::REQUEST | NlmF::ACK | NlmF::CREATE | NlmF::EXCL;
        let mut message = Message::new(Rtm::Newlink, flags, &ifinfomsg(0, 0, 0));
        message.attr_str(Ifla::Ifname, name);
        fill(&mut message);
        self.socket.ask(About { call: "RTM_NEWLINK", on: name }, message).map(drop)
    }

    /// Changes an interface.
    pub(super) fn set(
        &self,
        ifindex: u32,
        fixed: [u8; 16],
        fill: impl FnOnce(&mut Message),
    ) -> Result<()> {
        let mut message = Message::new(Rtm::Setlink, NlmF::REQUEST | NlmF::ACK, &fixed);
        fill(&mut message);
        let on = format!("ifindex {ifindex}");
        self.socket.ask(About { call: "RTM_SETLINK", on: &on }, message).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{in_new_netns, privileged};

    #[test]
    fn a_bridge_has_its_ports_mtu_until_its_own_is_changed() {
        if !privileged("make::a_bridge_has_its_ports_mtu_until_its_own_is_changed") {
            return;
        }
        let container = in_new_netns(|| Netns::current().expect("current"));
        in_new_netns(|| {
            let rtnl = Rtnl::open_in(&Netns::current().expect("current")).expect("socket");
            let find = |name| rtnl.link(name).expect("links").expect("is there");
            rtnl.add_bridge("br0").expect("bridge");
            let bridge = find("br0").ifindex;
            let ports = ["vetha", "vethb"].map(|name| {
                rtnl.add_veth(name, name, &container).expect("veth");
                rtnl.set_master(find(name).ifindex, Some(bridge)).expect("master");
                find(name).ifindex
            });
            let set = |port, mtu| {
                rtnl.set_mtu(port, mtu).expect("mtu");
                find("br0").mtu
            };
            assert_eq!(set(bridge, 1500), 1500, "no change, so nothing is pinned");
            assert_eq!(ports.map(|port| set(port, 9000)), [1500, 9000]);
            assert_eq!(ports.map(|port| set(port, 1500)), [1500, 1500]);
            assert_eq!([1499, 1500].map(|mtu| set(bridge, mtu)), [1499, 1500]);
            assert_eq!(ports.map(|port| set(port, 9000)), [1500, 1500], "pinned");
            assert_eq!(ports.map(|port| set(port, 1400)), [1500, 1500]);
        });
    }
}
