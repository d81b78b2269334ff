//! What interfaces there are, and how they hang together.

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Iff, Ifla, IflaInfo, Rtm};
use nix::errno::Errno;

use super::gso::IFLA_GSO_IPV4_MAX_SIZE;
use super::msg::{Message, attr, attrs, text, u32_at};
use super::socket::{About, malformed};
use super::{Rtnl, ifinfomsg};
use crate::Result;
use crate::sys::bpf::XdpMode;

/// `IFLA_XDP_*`, `IFLA_BR_*`, `IFLA_BRPORT_*` (include/uapi/linux/if_link.h)
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BRPORT_LOCKED: u16 = 39;
/// `BR_STATE_FORWARDING` (include/uapi/linux/if_bridge.h)
const FORWARDING: u8 = 3;

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinkInfo {
    /// Its number in its namespace.
    pub ifindex: u32,
    /// Its name there; bytes that are not printable ASCII are escaped.
    pub name: String,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// The largest packet, in bytes without the Ethernet header.
    pub mtu: u32,
    /// Switched on (`IFF_UP`).
    pub up: bool,
    /// And connected (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// `veth`, `bridge`, ...; `None` for hardware and the loopback.
    pub kind: Option<String>,
    /// The ifindex of the bridge that it is a port of.
    pub master: Option<u32>,
    /// Of a veth: the ifindex of its peer, in the namespace that `link_netnsid` names.
    pub link: Option<u32>,
    /// Where `link` is, if not here: see [`Rtnl::nsid_of`].
    pub link_netnsid: Option<i32>,
    /// The XDP programs on it.
    pub xdp: Vec<XdpAttached>,
    /// Of a bridge's port: whether it forwards, by spanning tree or as somebody has set it.
    pub forwarding: Option<bool>,
    /// Of a bridge's port: whether the bridge keeps it from the other isolated ports.
    pub isolated: Option<bool>,
    /// Of a bridge's port: whether the bridge takes packets from known addresses alone (kernels from 5.18).
    pub locked: Option<bool>,
    /// Of a bridge: whether it looks at VLAN tags.
    pub vlan_filtering: Option<bool>,
    /// How many bytes of TCP over IPv4 the stack may hand to it at once; `None` before kernel 6.3.
    pub gso_ipv4_max_size: Option<u32>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XdpAttached {
    /// Where it runs.
    pub mode: XdpMode,
    /// Its id.
    pub prog_id: u32,
}

impl Rtnl {
    /// All interfaces of the namespace.
    pub fn links(&self) -> Result<Vec<LinkInfo>> {
        let about = About { call: "RTM_GETLINK", on: "all interfaces" };
        let request =
            || Message::new(Rtm::Getlink, NlmF::REQUEST | NlmF::DUMP, &ifinfomsg(0, 0, 0));
        let items = self.socket.dump(about, request)?;
        let links = items.iter().filter(|(kind, _)| *kind == u16::from(Rtm::Newlink));
        links.map(|(_, body)| parse(body).ok_or_else(|| malformed(about))).collect()
    }

    /// The interface of this name; `None` if there is none.
    pub fn link(&self, name: &str) -> Result<Option<LinkInfo>> {
        // The kernel refuses what is too long for a name.
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            return Ok(None);
        }
        let found = self.one(name, 0, |message| message.attr_str(Ifla::Ifname, name))?;
        // It may be an alternative name.
        Ok(found.filter(|link| link.name == name))
    }

    /// The interface with this index; `None` if there is none.
    pub fn link_at(&self, ifindex: u32) -> Result<Option<LinkInfo>> {
        // The kernel takes zero for none.
        if ifindex == 0 {
            return Ok(None);
        }
        self.one(&format!("ifindex {ifindex}"), ifindex, |_| {})
    }

    /// One interface. A dump of all would cost the more the more there are.
    fn one(
        &self,
        on: &str,
        ifindex: u32,
        fill: impl FnOnce(&mut Message),
    ) -> Result<Option<LinkInfo>> {
        let body = self.newlink(on, ifindex, fill)?;
        let parsed = |body: Vec<u8>| {
            parse(&body).ok_or_else(|| malformed(About { call: "RTM_GETLINK", on }))
        };
        body.map(parsed).transpose()
    }

    /// What the kernel says of one; `None` if there is none.
    pub(super) fn newlink(
        &self,
        on: &str,
        ifindex: u32,
        fill: impl FnOnce(&mut Message),
    ) -> Result<Option<Vec<u8>>> {
        let about = About { call: "RTM_GETLINK", on };
        let flags = NlmF::REQUEST | NlmF::ACK;
        let mut message = Message::new(Rtm::Getlink, flags, &ifinfomsg(ifindex, 0, 0));
        fill(&mut message);
        let items = match self.socket.ask(about, message) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => return Ok(None),
            items => items?,
        };
        let link = items.into_iter().find(|(kind, _)| *kind == u16::from(Rtm::Newlink));
        link.map(|(_, body)| Some(body)).ok_or_else(|| malformed(about))
    }
}

/// Reads what follows the header of an `RTM_NEWLINK`.
fn parse(body: &[u8]) -> Option<LinkInfo> {
    let flags = u32_at(body, 8)?;
    let is = |flag: Iff| flags & flag.bits() != 0;
    let mut link = LinkInfo {
        ifindex: u32_at(body, 4)?,
        up: is(Iff::UP),
        carrier: is(Iff::LOWERUP),
        ..LinkInfo::default()
    };
    for (kind, payload) in attrs(body.get(16..)?) {
        match Ifla::from(kind) {
            Ifla::Ifname => link.name = text(payload),
            Ifla::Address => link.mac = payload.try_into().ok(),
            Ifla::Mtu => link.mtu = u32_at(payload, 0)?,
            Ifla::Master => link.master = u32_at(payload, 0),
            Ifla::Link => link.link = u32_at(payload, 0).filter(|ifindex| *ifindex != 0),
            Ifla::LinkNetnsid => link.link_netnsid = u32_at(payload, 0).map(|nsid| nsid as i32),
            Ifla::Linkinfo => parse_info(&mut link, payload),
            Ifla::Xdp => link.xdp = parse_xdp(payload),
            _ if kind == IFLA_GSO_IPV4_MAX_SIZE => link.gso_ipv4_max_size = u32_at(payload, 0),
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn parse_info(link: &mut LinkInfo, info: &[u8]) {
    let kind = attr(info, IflaInfo::Kind).map(text);
    let slave_kind = attr(info, IflaInfo::SlaveKind).map(text);
    // The numbers in the data mean something else for every kind.
    let byte = |data: IflaInfo, number: u16| attr(attr(info, data)?, number)?.first().copied();
    let flag = |data: IflaInfo, number: u16| byte(data, number).map(|byte| byte != 0);
    if kind.as_deref() == Some("bridge") {
        link.vlan_filtering = flag(IflaInfo::Data, IFLA_BR_VLAN_FILTERING);
    }
    if slave_kind.as_deref() == Some("bridge") {
        let state = byte(IflaInfo::SlaveData, IFLA_BRPORT_STATE);
        link.forwarding = state.map(|state| state == FORWARDING);
        link.isolated = flag(IflaInfo::SlaveData, IFLA_BRPORT_ISOLATED);
        link.locked = flag(IflaInfo::SlaveData, IFLA_BRPORT_LOCKED);
    }
    link.kind = kind;
}

fn parse_xdp(nested: &[u8]) -> Vec<XdpAttached> {
    let mode_of = |kind| match kind {
        IFLA_XDP_DRV_PROG_ID => Some(XdpMode::Native),
        IFLA_XDP_SKB_PROG_ID => Some(XdpMode::Generic),
        IFLA_XDP_HW_PROG_ID => Some(XdpMode::Offload),
        _ => None,
    };
    attrs(nested)
        .filter_map(|(kind, id)| {
            Some(XdpAttached { mode: mode_of(kind)?, prog_id: u32_at(id, 0)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, privileged};

    /// A small generator (xorshift), so that a failure repeats.
    fn random(seed: &mut u64) -> usize {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed as usize
    }

    #[test]
    fn odd_bytes_do_not_panic() {
        // A real reply, cut and altered everywhere.
        let netns = Netns::current().expect("current");
        let socket = Rtnl::open_in(&netns).map(|rtnl| rtnl.socket);
        let body = match socket {
            Ok(socket) => {
                let about = About { call: "RTM_GETLINK", on: "lo" };
                let flags = NlmF::REQUEST | NlmF::DUMP;
                let request = || Message::new(Rtm::Getlink, flags, &ifinfomsg(0, 0, 0));
                socket.dump(about, request).expect("dump").remove(0).1
            }
            // setns(2) needs root; plain bytes do for the rest.
            Err(_) => (0..=255).cycle().take(1200).collect(),
        };
        for len in 0..body.len() {
            let _ = parse(&body[..len]);
        }
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..20_000 {
            let mut odd = body.clone();
            for _ in 0..=random(&mut seed) % 4 {
                let at = random(&mut seed) % odd.len();
                odd[at] = random(&mut seed) as u8;
            }
            let _ = parse(&odd);
        }
    }

    #[test]
    fn a_bridge_and_its_port() {
        if !privileged("link::a_bridge_and_its_port") {
            return;
        }
        let container = in_new_netns(|| Netns::current().expect("current"));
        in_new_netns(|| {
            let host = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&host).expect("socket");
            rtnl.add_bridge("br0").expect("bridge");
            rtnl.add_veth("vetha", "eth0", &container).expect("veth");
            let find = |name| rtnl.link(name).expect("links").expect("is there");
            let (bridge, veth) = (find("br0"), find("vetha"));
            rtnl.set_master(veth.ifindex, Some(bridge.ifindex)).expect("master");
            rtnl.set_up(bridge.ifindex, true).expect("up");
            rtnl.set_up(veth.ifindex, true).expect("up");
            rtnl.set_mtu(veth.ifindex, 1400).expect("mtu");

            let veth = find("vetha");
            assert_eq!((veth.kind.as_deref(), veth.mtu), (Some("veth"), 1400));
            assert_eq!(veth.master, Some(bridge.ifindex));
            assert_eq!(veth.isolated, Some(false));
            assert!(veth.up && !veth.carrier, "the peer is down");
            assert_eq!(veth.link_netnsid, rtnl.nsid_of(&container).expect("nsid"));
            assert!(veth.link_netnsid.is_some());
            assert_eq!(find("br0").vlan_filtering, Some(false));
            assert_eq!((find("br0").kind.as_deref(), find("lo").kind), (Some("bridge"), None));

            let inside = Rtnl::open_in(&container).expect("socket");
            let eth0 = inside.link("eth0").expect("links").expect("eth0");
            assert_eq!((veth.link, eth0.link), (Some(eth0.ifindex), Some(veth.ifindex)));
            assert_ne!(veth.mac, eth0.mac);
            // One by itself is as it is among all.
            for link in rtnl.links().expect("links") {
                assert_eq!(rtnl.link_at(link.ifindex).expect("links").as_ref(), Some(&link));
            }
            inside.set_up(eth0.ifindex, true).expect("up");
            assert!(find("vetha").carrier);
            assert_eq!(find("vetha").locked, Some(false));

            rtnl.set_master(veth.ifindex, None).expect("no master");
            assert_eq!((find("vetha").master, find("vetha").isolated), (None, None));
            rtnl.del_link(veth.ifindex).expect("delete");
            assert_eq!(rtnl.link("vetha").expect("links"), None);
            assert_eq!(rtnl.link_at(veth.ifindex).expect("links"), None);
            assert_eq!(rtnl.link_at(0).expect("links"), None);
            for none in ["", "a-name-that-is-too-long"] {
                assert_eq!(rtnl.link(none).expect("links"), None);
            }
            assert_eq!(inside.link("eth0").expect("links"), None);
        });
    }

    #[test]
    fn unknown_namespaces_have_no_nsid() {
        if !privileged("link::unknown_namespaces_have_no_nsid") {
            return;
        }
        let other = in_new_netns(|| Netns::current().expect("current"));
        in_new_netns(|| {
            let rtnl = Rtnl::open_in(&Netns::current().expect("current")).expect("socket");
            assert_eq!(rtnl.nsid_of(&other).expect("asks"), None);
        });
    }
}
