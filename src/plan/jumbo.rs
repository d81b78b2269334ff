//! Large packets between joined containers (`--jumbo`): a host route with a larger MTU in each of the two.
//!
//! No interface of a container is changed, so that what it sends to anybody else stays as it was: the kernel
//! lets a route's MTU be larger than the interface's (`ipv4_mtu`, net/ipv4/route.c), the host's end takes
//! more, and `bpf_redirect_peer` asks for no MTU. The bridge does: of large packets to a joined container what
//! does not hop is lost.
//!
//! A route of ours stands in the place of one that leads straight out of the container's interface, and is like it
//! but for the MTU. What a container sends elsewhere, by a router or another interface, stays as it is.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use nix::errno::Errno;
use serde::Serialize;

use super::ground::Ground;
use super::member::Member;
use crate::Result;
use crate::container::Interface;
use crate::sys::netlink::{Direct, ROUTE_MTU_MAX};

/// A route of ours in a container, to another's address.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Route {
    /// The host's end, by which the other is found.
    pub host: Interface,
    /// The container's end.
    pub at: Interface,
    /// The other's address.
    pub to: IpAddr,
}

impl Route {
    /// Whether it is this member's, or leads to it.
    pub fn is_of(&self, member: &Member) -> bool {
        self.host == member.host || member.addresses.contains(&self.to)
    }
}

/// The routes from a member to another. None if one of the two wants no large packets.
pub fn routes(from: &Member, to: &Member) -> Vec<Route> {
    if !(from.jumbo && to.jumbo && from.segment == to.segment && from.host != to.host) {
        return Vec::new();
    }
    // To a link-local address there may be a way by each interface.
    let addresses = to.addresses.iter().filter(|ip| !is_link_local(ip));
    let route = |ip: &IpAddr| Route { host: from.host.clone(), at: from.inside.clone(), to: *ip };
    addresses.map(route).collect()
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Which routes of ours there are. Those of a container are read once.
pub struct Found<'a> {
    ground: Ground<'a>,
    /// By the host's end.
    routes: HashMap<Interface, HashSet<IpAddr>>,
}

impl<'a> Found<'a> {
    /// Nothing is read yet.
    pub fn new(ground: Ground<'a>) -> Self {
        Self { ground, routes: HashMap::new() }
    }

    /// Whether this one is there.
    pub fn has(&mut self, route: &Route) -> Result<bool> {
        Ok(self.of(route)?.contains(&route.to))
    }

    /// The same, and from now on it counts as gone.
    pub fn take(&mut self, route: &Route) -> Result<bool> {
        Ok(self.of(route)?.remove(&route.to))
    }

    /// Those of the same container.
    fn of(&mut self, route: &Route) -> Result<&mut HashSet<IpAddr>> {
        if !self.routes.contains_key(&route.host) {
            let there = match self.ground.inside(&route.host)? {
                Some((netns, link)) => {
                    self.ground.rtnl(&netns)?.host_routes(link.ifindex, ROUTE_MTU_MAX)?
                }
                None => HashSet::new(),
            };
            self.routes.insert(route.host.clone(), there);
        }
        Ok(self.routes.entry(route.host.clone()).or_default())
    }

    /// What is in the place of one that is not there.
    pub fn instead(&self, route: &Route) -> Result<Instead> {
        let Some((netns, link)) = self.ground.inside(&route.host)? else {
            return Ok(Instead::Elsewhere);
        };
        let found = self.ground.rtnl(&netns)?.direct_route(link.ifindex, route.to)?;
        Ok(found.map_or(Instead::Elsewhere, |direct| match direct.is_host_route() {
            true => Instead::Own,
            false => Instead::Direct(direct),
        }))
    }
}

/// Where a container sends to another's address so far.
pub enum Instead {
    /// Straight out of its interface, to a whole network: ours goes before it.
    Direct(Direct),
    /// By a route of its own to just this address, which stays.
    Own,
    /// By a router, another interface, another table, or nowhere.
    Elsewhere,
}

/// Why there is no route, where the container has one of its own.
pub fn own_route(container: &str, to: IpAddr) -> String {
    format!(
        "{container} has a route of its own to {to}, which stays: it sends no large packets there"
    )
}

/// Makes it; gives a warning if it can't be.
pub fn make(ground: Ground, route: &Route) -> Result<Option<String>> {
    let mut found = Found::new(ground);
    if found.has(route)? {
        return Ok(None);
    }
    let warning = || Some(own_route(&format!("the container behind {}", route.host), route.to));
    let like = match found.instead(route)? {
        Instead::Direct(direct) => direct,
        Instead::Own => return Ok(warning()),
        Instead::Elsewhere => return Ok(None),
    };
    let Some((netns, link)) = ground.inside(&route.host)? else { return Ok(None) };
    match ground.rtnl(&netns)?.add_host_route(link.ifindex, route.to, ROUTE_MTU_MAX, &like) {
        // One that is not taken now, say since its interface is down.
        Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(warning()),
        made => made.map(|()| None),
    }
}

/// Removes it.
pub fn undo(ground: Ground, route: &Route) -> Result<()> {
    let Some((netns, link)) = ground.inside(&route.host)? else { return Ok(()) };
    ground.rtnl(&netns)?.del_host_route(link.ifindex, route.to)
}
