//! What routes lead out of an interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Rta, Rtm, Rtn};

use super::Rtnl;
use super::msg::{Message, attr, u16_at, u32_at};
use super::socket::{About, malformed};
use crate::Result;

/// Bytes of `struct rtmsg`.
pub(super) const RTMSG: usize = 12;
/// include/uapi/linux/rtnetlink.h
pub(super) const RTAX_LOCK: u16 = 1;
pub(super) const RTAX_MTU: u16 = 2;
const RTM_F_CLONED: u32 = 0x200;
const RTA_NH_ID: u16 = 30;

/// A unicast route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Where it leads, and with `prefix` its family.
    pub dst: IpAddr,
    /// How many bits of `dst` count.
    pub prefix: u8,
    /// The number of its table: 254 is `main`.
    pub table: u32,
    /// `RTPROT_*`, who made it: 2 is the kernel, [`RTPROT_XHOP`](super::RTPROT_XHOP) we.
    pub protocol: u8,
    /// Its metric: the lowest is taken.
    pub priority: u32,
    /// The largest packet that it takes, if that is not the interface's own.
    pub mtu: Option<u32>,
    /// Whether it leads to its destinations at once, not to a router or over one of several hops.
    pub on_link: bool,
}

impl Rtnl {
    /// All unicast routes of all tables, IPv4 and IPv6, that lead out of an interface, also over one of
    /// several next hops; and those over a next hop object that could be any interface. Those that only
    /// remember what a route led to (exceptions) are not among them.
    pub fn routes(&self, ifindex: u32) -> Result<Vec<Route>> {
        let on = format!("routes of ifindex {ifindex}");
        let about = About { call: "RTM_GETROUTE", on: &on };
        let mut routes = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut fixed = [0; RTMSG];
            fixed[0] = family as u8;
            let request = || Message::new(Rtm::Getroute, NlmF::REQUEST | NlmF::DUMP, &fixed);
            let items = self.socket.dump(about, request)?;
            for (_, body) in items.iter().filter(|(kind, _)| *kind == u16::from(Rtm::Newroute)) {
                let flags = u32_at(body, 8).ok_or_else(|| malformed(about))?;
                // A kernel without IPv6 answers with the routes of another family.
                if flags & RTM_F_CLONED != 0 || body.first() != Some(&(family as u8)) {
                    continue;
                }
                let route = parse(body).ok_or_else(|| malformed(about))?;
                if body.get(7) == Some(&Rtn::Unicast.into()) && leads_to(body, ifindex) {
                    routes.push(route);
                }
            }
        }
        Ok(routes)
    }
}

/// Whether a route may send packets there.
fn leads_to(body: &[u8], ifindex: u32) -> bool {
    let tail = body.get(RTMSG..).unwrap_or(&[]);
    match (attr(tail, Rta::Oif), attr(tail, Rta::Multipath)) {
        (Some(oif), _) => u32_at(oif, 0) == Some(ifindex),
        (None, Some(hops)) => nexthops(hops).any(|hop| hop == ifindex),
        (None, None) => attr(tail, RTA_NH_ID).is_some(),
    }
}

/// The interfaces in a list of `struct rtnexthop`.
fn nexthops(mut hops: &[u8]) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(hops, 0)?).max(8);
        let ifindex = u32_at(hops, 4)?;
        hops = hops.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(ifindex)
    })
}

/// Reads what follows the header of an `RTM_NEWROUTE` of IPv4 or IPv6.
pub(super) fn parse(body: &[u8]) -> Option<Route> {
    let [family, prefix, _, _, table, protocol, _, _] = *body.first_chunk()?;
    let tail = body.get(RTMSG..)?;
    let number = |kind: Rta| attr(tail, kind).and_then(|p| u32_at(p, 0));
    // The default route has no destination.
    let dst = attr(tail, Rta::Dst);
    let dst = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::from(*dst.unwrap_or(&[0; 4]).first_chunk()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(*dst.unwrap_or(&[0; 16]).first_chunk::<16>()?).into(),
        _ => return None,
    };
    let metrics = attr(tail, Rta::Metrics).unwrap_or(&[]);
    let metric = |kind: u16| attr(metrics, kind).and_then(|p| u32_at(p, 0));
    let hops = [Rta::Gateway, Rta::Via, Rta::Multipath].map(u16::from);
    let hops = hops.into_iter().chain([RTA_NH_ID]);
    Some(Route {
        dst,
        prefix,
        table: number(Rta::Table).unwrap_or(table.into()),
        protocol,
        priority: number(Rta::Priority).unwrap_or(0),
        mtu: metric(RTAX_MTU).filter(|mtu| *mtu != 0),
        on_link: hops.map(|kind| attr(tail, kind)).all(|hop| hop.is_none()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, ip, privileged};

    /// A route to 10.1.0.0/16 with a locked MTU of 1400.
    fn body() -> Vec<u8> {
        let fixed = [2, 16, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        let mut message = Message::new(Rtm::Newroute, NlmF::empty(), &fixed);
        message.attr(Rta::Dst, &[10, 1, 0, 0]);
        message.attr(Rta::Oif, &7u32.to_ne_bytes());
        message.nest(Rta::Metrics, |metrics| {
            metrics.attr(RTAX_LOCK, &4u32.to_ne_bytes());
            metrics.attr(RTAX_MTU, &1400u32.to_ne_bytes());
        });
        message.finish(0).split_off(16)
    }

    #[test]
    fn odd_bytes_do_not_panic() {
        let body = body();
        let route = parse(&body).expect("a route");
        assert_eq!((route.dst, route.prefix, route.table), ([10, 1, 0, 0].into(), 16, 254));
        assert_eq!((route.mtu, route.on_link), (Some(1400), true));
        assert!(leads_to(&body, 7) && !leads_to(&body, 8));
        for len in 0..body.len() {
            let cut = &body[..len];
            assert_eq!(parse(cut).is_none(), len < RTMSG, "{len}");
            let _ = leads_to(cut, 7);
        }
        for at in 0..body.len() {
            for odd in 0..=u8::MAX {
                let mut bytes = body.clone();
                bytes[at] = odd;
                let _ = (parse(&bytes), leads_to(&bytes, 7));
                let _ = nexthops(&bytes).count();
            }
        }
        assert_eq!(nexthops(&[0; 64]).count(), 8, "a length of zero does not stand still");
    }

    #[test]
    fn what_leads_to_a_router_is_not_on_link() {
        if !privileged("route::what_leads_to_a_router_is_not_on_link") {
            return;
        }
        in_new_netns(|| {
            let rtnl = Rtnl::open_in(&Netns::current().expect("current")).expect("socket");
            let lines = [
                "link add eth0 type veth peer peer0",
                "link add eth1 type veth peer peer1",
                "link set eth0 up",
                "link set peer0 up",
                "link set eth1 up",
                "link set peer1 up",
                "addr add 172.17.0.2/16 dev eth0",
                "addr add 172.18.0.2/16 dev eth1",
                "route add default via 172.17.0.1",
                "route append default via 172.18.0.1",
                "route add 10.0.0.0/8 table 7 nexthop via 172.17.0.1 nexthop via 172.18.0.1",
                "route add 11.0.0.0/8 nexthop via 172.18.0.1 dev eth1 nexthop via 172.18.0.3 dev eth1",
                "nexthop add id 5 via 172.17.0.1 dev eth0",
                "route add 12.0.0.0/8 nhid 5",
                "route add unreachable 13.0.0.0/8",
                "route add 14.0.0.0/8 via 172.17.0.1 table 1000 metric 9",
            ];
            if !lines.iter().all(|line| ip(line).is_some()) {
                return;
            }
            let ifindex = |name| rtnl.link(name).expect("links").expect("is there").ifindex;
            let on_link = |name| {
                let routes = rtnl.routes(ifindex(name)).expect("routes").into_iter();
                let v4 = routes.filter(|route| route.dst.is_ipv4());
                let mut v4: Vec<_> =
                    v4.map(|route| (route.dst.to_string(), route.table, route.on_link)).collect();
                v4.sort();
                v4
            };
            let line = |dst: &str, table, on_link| (dst.to_string(), table, on_link);
            let (both, object) = (line("10.0.0.0", 7, false), line("12.0.0.0", 254, false));
            let first = vec![
                line("0.0.0.0", 254, false),
                both.clone(),
                object.clone(),
                line("14.0.0.0", 1000, false),
                line("172.17.0.0", 254, true),
            ];
            assert_eq!(on_link("eth0"), first);
            let second = vec![
                line("0.0.0.0", 254, false),
                both,
                line("11.0.0.0", 254, false),
                line("172.18.0.0", 254, true),
            ];
            // nexthop_compat_mode tells of an object's interface.
            let found: Vec<_> = on_link("eth1").into_iter().filter(|l| *l != object).collect();
            assert_eq!(found, second);
        });
    }
}
