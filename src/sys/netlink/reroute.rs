//! Routes changed: the MTU of one that is there, and host routes of our own.

use std::net::IpAddr;

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{RtScope, RtTable, Rta, Rtm, Rtn};
use nix::errno::Errno;

use super::msg::{Message, attr, attrs, u32_at};
use super::route::{RTAX_LOCK, RTAX_MTU, RTMSG};
use super::socket::About;
use super::{Route, Rtnl};
use crate::{Error, Result};

/// The `rtm_protocol` of the routes that xhop makes, by which it knows them: ip(8) shows `proto 88`. The
/// kernel's list (include/uapi/linux/rtnetlink.h) gives it to nobody.
pub const RTPROT_XHOP: u8 = 88;

/// The most that a route's MTU can be; the kernel makes it of whatever is larger (net/ipv4/metrics.c).
pub const ROUTE_MTU_MAX: u32 = 65_520;

/// include/uapi/linux/rtnetlink.h
const RTNH_F_ONLINK: u32 = 4;
const RTA_EXPIRES: u16 = 23;
/// `USER_HZ`, the unit of `rta_expires` in `struct rta_cacheinfo`, and where it stands there.
const USER_HZ: u32 = 100;
const RTA_EXPIRES_AT: usize = 8;

impl Rtnl {
    /// Gives a route this MTU, or none of its own, and leaves all else of it as it was read. A route that is
    /// gone is an error (`ENOENT` or `ESRCH`) and is not made anew.
    ///
    /// It replaces the route. What is learned about destinations (path MTUs, redirects) is forgotten with it.
    /// Of an IPv6 route the kernel forgets that it came from an address or a router advertisement
    /// (`RTF_ADDRCONF`, `RTF_DEFAULT`, `RTF_PREFIX_RT` in /proc/net/ipv6_route): its protocol still says so, and
    /// it still expires, but the next advertisement may not find it.
    pub fn set_route_mtu(&self, route: &Route, mtu: Option<u32>) -> Result<()> {
        if let Some(why) = route.unfit {
            return Err(Error::Route { route: route.to_string(), why });
        }
        let on = format!("route {route}");
        let flags = NlmF::REQUEST | NlmF::ACK | NlmF::REPLACE;
        self.socket
            .ask(About { call: "RTM_NEWROUTE", on: &on }, with_mtu(route, flags, mtu))
            .map(drop)
    }

    /// Makes a route to one on-link address, in table `main`. Fine if it is there, but an error (`EEXIST`) if
    /// one is there that is not ours. In IPv6 its MTU is locked: a router advertisement would change it.
    pub fn add_host_route(
        &self,
        ifindex: u32,
        dst: IpAddr,
        mtu: u32,
        prefsrc: Option<IpAddr>,
    ) -> Result<()> {
        let on = format!("{dst} of ifindex {ifindex}");
        let flags = NlmF::REQUEST | NlmF::ACK | NlmF::CREATE | NlmF::EXCL;
        let mut message = host_route(Rtm::Newroute, flags, ifindex, dst);
        if let Some(prefsrc) = prefsrc {
            message.attr(Rta::Prefsrc, &octets(prefsrc));
        }
        message.nest(Rta::Metrics, |metrics| {
            metrics.attr(RTAX_MTU, &mtu.to_ne_bytes());
            if dst.is_ipv6() {
                metrics.attr(RTAX_LOCK, &(1u32 << RTAX_MTU).to_ne_bytes());
            }
        });
        let made = self.socket.ask(About { call: "RTM_NEWROUTE", on: &on }, message).map(drop);
        let Err(error) = made else { return Ok(()) };
        if error.errno() != Some(Errno::EEXIST) {
            return Err(error);
        }
        let main = u32::from(u8::from(RtTable::Main));
        let ours = self.routes(ifindex)?.into_iter().find(|route| {
            (route.dst, route.table, route.protocol) == (dst, main, RTPROT_XHOP)
                && usize::from(route.prefix) == octets(dst).len() * 8
        });
        match ours {
            Some(route) if route.mtu == Some(mtu.min(ROUTE_MTU_MAX)) => Ok(()),
            Some(route) => self.set_route_mtu(&route, Some(mtu)),
            None => Err(error),
        }
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

/// The request that writes a route as it was read, but for its MTU.
fn with_mtu(route: &Route, flags: NlmF, mtu: Option<u32>) -> Message {
    let (fixed, tail) = route.body.split_at_checked(RTMSG).unwrap_or((&route.body, &[]));
    let mut fixed = fixed.to_vec();
    // Of the flags only this is the route's; the others tell of its state, and may not be written.
    let state = u32_at(&fixed, 8).unwrap_or(0) & RTNH_F_ONLINK;
    fixed.truncate(8);
    fixed.extend(state.to_ne_bytes());
    let mut message = Message::new(Rtm::Newroute, flags, &fixed);
    for (kind, payload) in attrs(tail) {
        match Rta::from(kind) {
            Rta::Metrics => {}
            Rta::Cacheinfo => {
                let ticks = u32_at(payload, RTA_EXPIRES_AT).map_or(0, |ticks| ticks as i32);
                if ticks > 0 {
                    let seconds = (ticks as u32).div_ceil(USER_HZ);
                    message.attr(RTA_EXPIRES, &seconds.to_ne_bytes());
                }
            }
            _ => message.attr(kind, payload),
        }
    }
    let metrics: Vec<_> = attrs(attr(tail, Rta::Metrics).unwrap_or(&[]))
        .filter(|(kind, _)| *kind != RTAX_MTU)
        .collect();
    if mtu.is_some() || !metrics.is_empty() {
        message.nest(Rta::Metrics, |inside| {
            for (kind, payload) in metrics {
                inside.attr(kind, payload);
            }
            if let Some(mtu) = mtu {
                inside.attr(RTAX_MTU, &mtu.to_ne_bytes());
            }
        });
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, ip, privileged};

    const HERE: [&str; 17] = [
        "link add eth0 type veth peer peer0",
        "link add eth1 type veth peer peer1",
        // Else each has an fe80::/64, of which only the first is fit.
        "link set eth1 addrgenmode none",
        "link set peer0 addrgenmode none",
        "link set peer1 addrgenmode none",
        "addr add 172.17.0.2/16 dev eth0",
        "-6 addr add fd00::2/64 dev eth0 nodad",
        "link set eth0 up",
        "link set peer0 up",
        "link set eth1 up",
        "link set peer1 up",
        "route add default via 172.17.0.1 metric 100 initcwnd 20 mtu 1300",
        "route add 10.0.0.0/8 via 10.9.9.9 dev eth0 onlink table 1000 proto static src 172.17.0.2 realm 5",
        "route add 11.0.0.0/8 via inet6 fd00::1 dev eth0 mtu lock 1200 congctl reno",
        "-6 route add default via fd00::1 dev eth0 proto ra pref high expires 600",
        "-6 route add fd01::/64 via fd00::1 dev eth0 metric 5 advmss 1000",
        "-6 route add fd02::/64 from fd00::/64 dev eth0 mtu 1290",
    ];

    fn shown() -> [String; 2] {
        // Time passes: an expiry is shown in seconds.
        let lines = |family| {
            let text = ip(&format!("{family} -d route show table all")).expect("ip");
            text.split_inclusive(' ').filter(|w| !w.trim().ends_with("sec")).collect()
        };
        ["-4", "-6"].map(lines)
    }

    #[test]
    fn an_mtu_is_set_and_set_back_and_nothing_else_changes() {
        if !privileged("reroute::an_mtu_is_set_and_set_back_and_nothing_else_changes") {
            return;
        }
        in_new_netns(|| {
            let rtnl = Rtnl::open_in(&Netns::current().expect("current")).expect("socket");
            if !HERE.iter().all(|line| ip(line).is_some()) {
                return;
            }
            let eth0 = rtnl.link("eth0").expect("links").expect("eth0").ifindex;
            let (before, routes) = (shown(), rtnl.routes(eth0).expect("routes"));
            assert_eq!(routes.len(), 9, "{before:?}");
            for route in &routes {
                assert_eq!(route.unfit, None, "{route}");
                rtnl.set_route_mtu(route, Some(1444)).unwrap_or_else(|e| panic!("{e}"));
                rtnl.set_route_mtu(route, Some(1444)).unwrap_or_else(|e| panic!("again: {e}"));
            }
            let changed = rtnl.routes(eth0).expect("routes");
            let differ = |found: &[Route]| {
                assert_eq!(found.len(), routes.len(), "{:?}", shown());
                let pairs = found.iter().zip(&routes);
                pairs.filter(|(a, b)| a.to_string() != b.to_string() || a.mtu != b.mtu).count()
            };
            assert!(changed.iter().all(|route| route.mtu == Some(1444)), "{:?}", shown());
            assert_eq!(differ(&changed), routes.len());
            // All but the MTU is as before: taken out of both, nothing differs.
            let without = |text: &[String; 2]| {
                text.clone().map(|text| {
                    let words = text.replace("mtu lock ", "mtu ");
                    let mut words: Vec<_> = words.split_whitespace().collect();
                    while let Some(at) = words.iter().position(|word| *word == "mtu") {
                        words.drain(at..at + 2);
                    }
                    words.join(" ")
                })
            };
            assert_eq!(without(&shown()), without(&before));
            // As `down` does, which knows just what there was.
            for (now, old) in changed.iter().zip(&routes) {
                rtnl.set_route_mtu(now, old.mtu).unwrap_or_else(|e| panic!("{e}"));
            }
            assert_eq!(shown(), before);
            assert_eq!(differ(&rtnl.routes(eth0).expect("routes")), 0);

            let gone = routes.iter().find(|route| route.table == 1000).expect("added");
            ip("route del 10.0.0.0/8 table 1000").expect("ip");
            let error = rtnl.set_route_mtu(gone, Some(1400)).expect_err("it is gone");
            assert_eq!(error.errno(), Some(Errno::ENOENT));
        });
    }

    #[test]
    fn host_routes_are_ours_alone() {
        if !privileged("reroute::host_routes_are_ours_alone") {
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
                let add = |dst, mtu| rtnl.add_host_route(eth0, dst, mtu, Some(own));
                rtnl.del_host_route(eth0, peer).expect("there is none");
                for mtu in [65_535, 65_535, 9000, 9000] {
                    add(peer, mtu).expect("added");
                    let route = ours().expect("ours");
                    assert_eq!((route.dst, route.prefix, route.table), (peer, host, 254));
                    assert_eq!(route.mtu, Some(mtu.min(ROUTE_MTU_MAX)));
                    assert_eq!(route.mtu_locked, own.is_ipv6());
                    assert_eq!((route.protocol, route.unfit), (RTPROT_XHOP, None));
                    assert_eq!(attr(&route.body[RTMSG..], Rta::Prefsrc), Some(&octets(own)[..]));
                }
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
