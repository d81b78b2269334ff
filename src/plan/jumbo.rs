//! Large packets between joined containers (`--jumbo`): a host route with a larger MTU in each of the two.
//!
//! No interface of a container is changed, so that what it sends to anybody else stays as it was: the kernel
//! lets a route's MTU be larger than the interface's (`ipv4_mtu`, net/ipv4/route.c), the host's end takes
//! more, and `bpf_redirect_peer` asks for no MTU. The bridge does: of large packets to a joined container what
//! does not hop is lost.

use std::net::IpAddr;

use super::fact::Fact;
use super::ground::Ground;
use super::member::Member;
use crate::Result;
use crate::container::Interface;
use crate::sys::netlink::{ROUTE_MTU_MAX, Route};

/// The number of the table `main`.
const MAIN: u32 = 254;

/// The routes from a member to another, and back. `None` of them if one of the two wants no large packets.
pub fn routes_between(one: &Member, other: &Member) -> Vec<Fact> {
    if !(one.jumbo && other.jumbo && one.segment == other.segment && one.host != other.host) {
        return Vec::new();
    }
    let to = |from: &Member, to: &Member| -> Vec<Fact> {
        // To a link-local address there may be a way by each interface.
        let addresses = to.addresses.iter().filter(|ip| !is_link_local(ip));
        let route =
            |ip: &IpAddr| Fact::Route { host: from.host.clone(), at: from.inside.clone(), to: *ip };
        addresses.map(route).collect()
    };
    [to(one, other), to(other, one)].concat()
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Makes it.
pub fn make(ground: Ground, host: &Interface, to: IpAddr) -> Result<()> {
    let Some((netns, link)) = ground.inside(host)? else { return Ok(()) };
    ground.rtnl(&netns)?.add_host_route(link.ifindex, to, ROUTE_MTU_MAX)
}

/// Removes it.
pub fn undo(ground: Ground, host: &Interface, to: IpAddr) -> Result<()> {
    let Some((netns, link)) = ground.inside(host)? else { return Ok(()) };
    ground.rtnl(&netns)?.del_host_route(link.ifindex, to)
}

/// Whether it is there, or not to be made: where the container sends to that address by a router, a route
/// past the router would be another way.
pub fn holds(ground: Ground, host: &Interface, to: IpAddr) -> Result<bool> {
    let Some((netns, link)) = ground.inside(host)? else { return Ok(true) };
    let rtnl = ground.rtnl(&netns)?;
    Ok(rtnl.has_host_route(link.ifindex, to, ROUTE_MTU_MAX)?
        || !best(&rtnl.routes(link.ifindex)?, to).is_some_and(|route| route.on_link))
}

/// The route that is taken to an address, as far as it leads out of this interface.
fn best(routes: &[Route], to: IpAddr) -> Option<&Route> {
    let fits = |route: &&Route| route.table == MAIN && covers(route, to);
    routes.iter().filter(fits).max_by_key(|route| (route.prefix, u32::MAX - route.priority))
}

fn covers(route: &Route, ip: IpAddr) -> bool {
    // Nothing is left of the differing bits beyond the prefix.
    match (route.dst, ip) {
        (IpAddr::V4(dst), IpAddr::V4(ip)) => {
            let differ = u32::from(dst) ^ u32::from(ip);
            differ.checked_shr(32 - u32::from(route.prefix.min(32))).unwrap_or(0) == 0
        }
        (IpAddr::V6(dst), IpAddr::V6(ip)) => {
            let differ = u128::from(dst) ^ u128::from(ip);
            differ.checked_shr(128 - u32::from(route.prefix.min(128))).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(dst: &str, prefix: u8, priority: u32, on_link: bool) -> Route {
        let dst = dst.parse().expect("an address");
        Route { dst, prefix, table: MAIN, protocol: 2, priority, mtu: None, on_link }
    }

    #[test]
    fn the_longest_prefix_and_then_the_lowest_metric() {
        let routes = [
            route("0.0.0.0", 0, 0, false),
            route("10.1.0.0", 16, 0, true),
            route("10.1.2.0", 24, 5, false),
            route("10.1.2.0", 24, 9, true),
            route("::", 0, 0, false),
            route("fd00::", 64, 256, true),
        ];
        let on_link = |to: &str| {
            best(&routes, to.parse().expect("an address"))
                .map(|route| (route.prefix, route.on_link))
        };
        assert_eq!(on_link("10.1.9.9"), Some((16, true)));
        assert_eq!(on_link("10.1.2.9"), Some((24, false)));
        assert_eq!(on_link("10.2.0.1"), Some((0, false)));
        assert_eq!(on_link("fd00::7"), Some((64, true)));
        assert_eq!(on_link("fd00:0:0:1::7"), Some((0, false)));
        assert_eq!(best(&routes[4..], "10.1.9.9".parse().expect("an address")), None);
    }
}
