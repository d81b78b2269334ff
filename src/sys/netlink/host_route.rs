//! Host routes of our own: to one on-link address, with an MTU of its own.

use std::net::IpAddr;

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{RtScope, RtTable, Rta, Rtm, Rtn};
use nix::errno::Errno;

use super::Rtnl;
use super::msg::Message;
use super::route::{RTAX_LOCK, RTAX_MTU};
use super::socket::About;
use crate::Result;

/// The `rtm_protocol` of the routes that xhop makes, by which it knows them: ip(8) shows `proto 88`. The
/// kernel's list (include/uapi/linux/rtnetlink.h) gives it to nobody.
pub const RTPROT_XHOP: u8 = 88;

/// The most that a route's MTU can be; the kernel makes it of whatever is larger (net/ipv4/metrics.c).
pub const ROUTE_MTU_MAX: u32 = 65_520;

impl Rtnl {
    /// Makes a route to one on-link address, in table `main`. Fine if it is there, but an error (`EEXIST`) if
    /// one is there that is not ours. In IPv6 its MTU is locked: a router advertisement would change it.
    pub fn add_host_route(&self, ifindex: u32, dst: IpAddr, mtu: u32) -> Result<()> {
        let on = format!("{dst} of ifindex {ifindex}");
        let flags = NlmF::REQUEST | NlmF::ACK | NlmF::CREATE | NlmF::EXCL;
        let mut message = host_route(Rtm::Newroute, flags, ifindex, dst);
        message.nest(Rta::Metrics, |metrics| {
            metrics.attr(RTAX_MTU, &mtu.to_ne_bytes());
            if dst.is_ipv6() {
                metrics.attr(RTAX_LOCK, &(1u32 << RTAX_MTU).to_ne_bytes());
            }
        });
        match self.socket.ask(About { call: "RTM_NEWROUTE", on: &on }, message) {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                match self.has_host_route(ifindex, dst, mtu)? {
                    true => Ok(()),
                    false => Err(error),
                }
            }
            made => made.map(drop),
        }
    }

    /// Whether the route is there, ours, with this MTU.
    pub fn has_host_route(&self, ifindex: u32, dst: IpAddr, mtu: u32) -> Result<bool> {
        let main = u32::from(u8::from(RtTable::Main));
        Ok(self.routes(ifindex)?.iter().any(|route| {
            (route.dst, route.table, route.protocol) == (dst, main, RTPROT_XHOP)
                && usize::from(route.prefix) == octets(dst).len() * 8
                && route.mtu == Some(mtu.min(ROUTE_MTU_MAX))
        }))
    }

    /// Removes what [`add_host_route`](Self::add_host_route) made, and only that. Fine if it is gone.
    pub fn del_host_route(&self, ifindex: u32, dst: IpAddr) -> Result<()> {
        let on = format!("{dst} of ifindex {ifindex}");
        let message = host_route(Rtm::Delroute, NlmF::REQUEST | NlmF::ACK, ifindex, dst);
        match self.socket.ask(About { call: "RTM_DELROUTE", on: &on }, message) {
            Err(error) if matches!(error.errno(), Some(Errno::ESRCH | Errno::ENODEV)) => Ok(()),
            answer => answer.map(drop),
        }
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// What a request to make or remove a host route has in common.
fn host_route(kind: Rtm, flags: NlmF, ifindex: u32, dst: IpAddr) -> Message {
    let family = if dst.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    let bytes = octets(dst);
    let prefix = bytes.len() as u8 * 8;
    let (table, scope, unicast) = (RtTable::Main.into(), RtScope::Link.into(), Rtn::Unicast.into());
    let fixed = [family, prefix, 0, 0, table, RTPROT_XHOP, scope, unicast, 0, 0, 0, 0];
    let mut message = Message::new(kind, flags, &fixed);
    message.attr(Rta::Dst, &bytes);
    message.attr(Rta::Oif, &ifindex.to_ne_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, ip, privileged};

    #[test]
    fn host_routes_are_ours_alone() {
        if !privileged("host_route::host_routes_are_ours_alone") {
            return;
        }
        in_new_netns(|| {
            let rtnl = Rtnl::open_in(&Netns::current().expect("current")).expect("socket");
            rtnl.add_bridge("eth0").expect("bridge");
            let eth0 = rtnl.link("eth0").expect("links").expect("eth0").ifindex;
            rtnl.set_up(eth0, true).expect("up");
            let addr: [[IpAddr; 3]; 2] = [
                [[10, 0, 0, 2].into(), [10, 0, 0, 3].into(), [10, 0, 0, 4].into()],
                [2, 3, 4].map(|last| [0xfd00, 0, 0, 0, 0, 0, 0, last].into()),
            ];
            for [own, peer, other] in addr {
                let (net, host) = if own.is_ipv4() { (24, 32) } else { (64, 128) };
                rtnl.add_addr(eth0, own, net).expect("address");
                let before = rtnl.routes(eth0).expect("routes");
                let ours = || {
                    let routes = rtnl.routes(eth0).expect("routes");
                    let mut ours: Vec<_> =
                        routes.into_iter().filter(|route| !before.contains(route)).collect();
                    assert!(ours.len() < 2);
                    ours.pop()
                };
                let add = |dst, mtu| rtnl.add_host_route(eth0, dst, mtu);
                rtnl.del_host_route(eth0, peer).expect("there is none");
                for mtu in [65_535, 65_535] {
                    add(peer, mtu).expect("added");
                    let route = ours().expect("ours");
                    assert_eq!((route.dst, route.prefix, route.table), (peer, host, 254));
                    assert_eq!(route.mtu, Some(mtu.min(ROUTE_MTU_MAX)));
                    assert_eq!((route.protocol, route.on_link), (RTPROT_XHOP, true));
                }
                assert!(add(peer, 9000).is_err(), "another of ours");
                rtnl.del_host_route(eth0, other).expect("there is none");
                rtnl.del_host_route(eth0 + 1, peer).expect("no such interface");
                assert!(ours().is_some());
                rtnl.del_host_route(eth0, peer).expect("removed");
                assert_eq!(ours(), None);

                // Somebody else's is neither changed nor removed.
                let dev = if own.is_ipv4() { "dev eth0 scope link" } else { "dev eth0" };
                if ip(&format!("route add {other} {dev} proto static mtu 1400")).is_none() {
                    continue;
                }
                let theirs = ours().expect("theirs");
                let error = add(other, 65_520).expect_err("it is there");
                assert_eq!(error.errno(), Some(Errno::EEXIST));
                rtnl.del_host_route(eth0, other).expect("none of ours");
                assert_eq!(ours(), Some(theirs));
            }
        });
    }
}
