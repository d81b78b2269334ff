//! Host routes of our own: to one on-link address, with an MTU of its own.

use std::collections::HashSet;
use std::net::IpAddr;

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{RtScope, RtTable, Rta, Rtm, Rtn};
use nix::errno::Errno;

use super::Rtnl;
use super::msg::{Message, attr, attrs, u32_at};
use super::route::{RTAX_LOCK, RTAX_MTU, RTMSG, Route, parse};
use super::socket::{About, malformed};
use crate::Result;

/// Asks for the entry itself, not for what was made of it (kernels from 4.13), and for its true table.
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;

/// The `rtm_protocol` of the routes that xhop makes, by which it knows them: ip(8) shows `proto 88`. The
/// kernel's list (include/uapi/linux/rtnetlink.h) gives it to nobody.
pub const RTPROT_XHOP: u8 = 88;

/// The most that a route's MTU can be; the kernel makes it of whatever is larger (net/ipv4/metrics.c).
pub const ROUTE_MTU_MAX: u32 = 65_520;

/// A route that leads straight out of an interface, with what one in its place should have too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Direct {
    /// The route.
    pub route: Route,
    /// The source address that it prefers, as bytes.
    source: Option<Vec<u8>>,
    /// Its metrics, as netlink attributes.
    metrics: Vec<u8>,
}

impl Direct {
    /// Whether it is to this one address.
    pub fn is_host_route(&self) -> bool {
        usize::from(self.route.prefix) == octets(self.route.dst).len() * 8
    }
}

impl Rtnl {
    /// By which route of table `main` an address is reached, as the kernel finds it, its rules included. `None` if
    /// by none, by a router, by another interface or by another table.
    pub fn direct_route(&self, ifindex: u32, dst: IpAddr) -> Result<Option<Direct>> {
        let on = format!("{dst} of ifindex {ifindex}");
        let about = About { call: "RTM_GETROUTE", on: &on };
        let bytes = octets(dst);
        let mut fixed = [0; RTMSG];
        (fixed[0], fixed[1]) = (family(dst), bytes.len() as u8 * 8);
        let flags = RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE;
        fixed[8..].copy_from_slice(&flags.to_ne_bytes());
        let mut message = Message::new(Rtm::Getroute, NlmF::REQUEST | NlmF::ACK, &fixed);
        message.attr(Rta::Dst, &bytes);
        let items = match self.socket.ask(about, message) {
            Err(error) if error.errno().is_some_and(leads_nowhere) => return Ok(None),
            items => items?,
        };
        let is_route = |(kind, _): &&(u16, Vec<u8>)| *kind == u16::from(Rtm::Newroute);
        let (_, body) = items.iter().find(is_route).ok_or_else(|| malformed(about))?;
        let route = parse(body).ok_or_else(|| malformed(about))?;
        let tail = body.get(RTMSG..).unwrap_or_default();
        let oif = attr(tail, Rta::Oif).and_then(|oif| u32_at(oif, 0));
        let main = route.table == u32::from(u8::from(RtTable::Main));
        let unicast = body.get(7) == Some(&Rtn::Unicast.into());
        let direct = unicast && main && route.on_link && oif == Some(ifindex);
        Ok(direct.then(|| Direct {
            route,
            source: attr(tail, Rta::Prefsrc).map(<[u8]>::to_vec),
            metrics: attr(tail, Rta::Metrics).unwrap_or_default().to_vec(),
        }))
    }

    /// Makes a route to one on-link address, in table `main`: like the one that is taken so far, but for the MTU.
    /// Fine if it is there, but an error (`EEXIST`) if one is there that is not ours. In IPv6 its MTU is locked:
    /// a router advertisement would change it.
    pub fn add_host_route(&self, ifindex: u32, dst: IpAddr, mtu: u32, like: &Direct) -> Result<()> {
        let on = format!("{dst} of ifindex {ifindex}");
        let flags = NlmF::REQUEST | NlmF::ACK | NlmF::CREATE | NlmF::EXCL;
        let mut message = host_route(Rtm::Newroute, flags, ifindex, dst);
        if let Some(source) = &like.source {
            message.attr(Rta::Prefsrc, source);
        }
        message.nest(Rta::Metrics, |metrics| {
            let mut lock = if dst.is_ipv6() { 1 << RTAX_MTU } else { 0 };
            for (kind, value) in attrs(&like.metrics) {
                match kind {
                    RTAX_LOCK => lock |= u32_at(value, 0).unwrap_or(0),
                    RTAX_MTU => {}
                    _ => metrics.attr(kind, value),
                }
            }
            metrics.attr(RTAX_MTU, &mtu.to_ne_bytes());
            metrics.attr(RTAX_LOCK, &lock.to_ne_bytes());
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
    fn has_host_route(&self, ifindex: u32, dst: IpAddr, mtu: u32) -> Result<bool> {
        Ok(self.host_routes(ifindex, mtu)?.contains(&dst))
    }

    /// Where the routes lead that are ours and have this MTU.
    pub fn host_routes(&self, ifindex: u32, mtu: u32) -> Result<HashSet<IpAddr>> {
        let main = u32::from(u8::from(RtTable::Main));
        let mut routes = self.routes(ifindex)?;
        routes.retain(|route| {
            (route.table, route.protocol) == (main, RTPROT_XHOP)
                && usize::from(route.prefix) == octets(route.dst).len() * 8
                && route.mtu == Some(mtu.min(ROUTE_MTU_MAX))
        });
        Ok(routes.into_iter().map(|route| route.dst).collect())
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

/// What the kernel says of an address that no route leads to, or one that rejects.
fn leads_nowhere(errno: Errno) -> bool {
    use Errno::{EACCES, EAGAIN, EHOSTUNREACH, EINVAL, ENETUNREACH};
    matches!(errno, EACCES | EAGAIN | EHOSTUNREACH | EINVAL | ENETUNREACH)
}

fn family(ip: IpAddr) -> u8 {
    (if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// What a request to make or remove a host route has in common.
fn host_route(kind: Rtm, flags: NlmF, ifindex: u32, dst: IpAddr) -> Message {
    let bytes = octets(dst);
    let prefix = bytes.len() as u8 * 8;
    let (table, scope, unicast) = (RtTable::Main.into(), RtScope::Link.into(), Rtn::Unicast.into());
    let fixed = [family(dst), prefix, 0, 0, table, RTPROT_XHOP, scope, unicast, 0, 0, 0, 0];
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
                let direct = |dst| rtnl.direct_route(eth0, dst).expect("asks");
                let net_route = direct(peer).expect("on link");
                assert!(!net_route.is_host_route());
                let add = |dst, mtu| rtnl.add_host_route(eth0, dst, mtu, &net_route);
                rtnl.del_host_route(eth0, peer).expect("there is none");
                for mtu in [65_535, 65_535] {
                    add(peer, mtu).expect("added");
                    let route = ours().expect("ours");
                    assert_eq!((route.dst, route.prefix, route.table), (peer, host, 254));
                    assert_eq!(route.mtu, Some(mtu.min(ROUTE_MTU_MAX)));
                    assert_eq!((route.protocol, route.on_link), (RTPROT_XHOP, true));
                    let found = direct(peer).expect("ours");
                    assert!(found.is_host_route() && found.route == route);
                    assert_eq!(found.source, net_route.source);
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
                assert!(direct(other).is_some_and(|found| found.is_host_route()));
                assert_eq!(ours(), Some(theirs));
                let elsewhere = if own.is_ipv4() { "10.9.9.9" } else { "fd99::9" };
                assert_eq!(direct(elsewhere.parse().expect("an address")), None);
            }
        });
    }
}
