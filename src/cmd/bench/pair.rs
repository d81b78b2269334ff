//! The two containers: joined in each way, measured, and left as they were found.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use xhop_asm::blocks::count::Verdict;

use super::measure::{Sample, measure};
use super::ways::{How, Way};
use crate::cmd::load::Route;
use crate::cmd::status::packets;
use crate::cmd::up::{self, Join};
use crate::container::{Container, Name, Namespaces, find};
use crate::plan::{Ground, Member, br_netfilter, carry_out, down, record};
use crate::sys::netns::Netns;
use crate::{Error, Result};

/// Two containers that can be joined, and are not.
pub struct Pair {
    names: [Name; 2],
    force: bool,
    /// As they would be joined.
    members: [Member; 2],
    namespaces: [Netns; 2],
    /// Where the second is reached.
    pub address: IpAddr,
    /// Whether what passes the bridge goes through iptables.
    pub br_netfilter: bool,
}

impl Pair {
    /// Refuses what `up` refuses, and who is joined. Changes nothing.
    pub fn find(names: [Name; 2], force: bool) -> Result<Self> {
        let found = Namespaces::find()?;
        let [from, to] = &names;
        let containers = [find(from, &found)?, find(to, &found)?];
        refuse_joined(&containers)?;
        let planned = up::plan(&names, Join { force, ..Join::default() }, &found)?;
        let end = |container: &Container| {
            let none = || Error::NoVeth { name: container.name.clone() };
            let member = member(container, &planned.members).ok_or_else(none)?;
            let netns = found.by_inode(member.inside.netns)?.ok_or_else(none)?;
            Ok((member.clone(), netns.try_clone()?))
        };
        let ((from, from_netns), (to, to_netns)) = (end(&containers[0])?, end(&containers[1])?);
        Ok(Self {
            address: address(&from, &to)?,
            br_netfilter: br_netfilter(&from.segment, Ground::new(&found))?.contains(&true),
            members: [from, to],
            namespaces: [from_netns, to_netns],
            names,
            force,
        })
    }

    /// The names of the two, with their kinds.
    pub fn names(&self) -> [&str; 2] {
        self.members.each_ref().map(|member| member.name.as_str())
    }

    /// The bridge that both are on.
    pub fn bridge(&self) -> &str {
        let [from, _] = &self.members;
        &from.segment.bridge.name
    }

    /// Joins them that way, or takes them out, and measures.
    pub fn measured(&self, way: &Way, time: Duration, tell: impl FnMut(usize)) -> Result<Sample> {
        let [from, to] = &self.members;
        let [from_netns, to_netns] = &self.namespaces;
        let route = Route {
            from: from_netns,
            to: to_netns,
            listen: scoped(self.address, to.inside.ifindex),
            target: scoped(self.address, from.inside.ifindex),
        };
        let Some(How { datapath, checksum, big_tcp, jumbo }) = way.join else {
            self.take_out()?;
            return measure(&route, time, tell);
        };
        let namespaces = Namespaces::find()?;
        let force = self.force;
        let (big_tcp, jumbo) = (Some(big_tcp), Some(jumbo));
        let join = Join { datapath, checksum, big_tcp, jumbo, force, ..Join::default() };
        let plan = up::plan(&self.names, join, &namespaces)?;
        carry_out(&plan, Ground::new(&namespaces))?;
        drop(namespaces);
        let before = packets(from, Verdict::Forwarded)?;
        let sample = measure(&route, time, tell)?;
        match packets(from, Verdict::Forwarded)? > before {
            true => Ok(sample),
            false => Err(Error::NotDirect {
                one: from.name.clone(),
                other: to.name.clone(),
                way: way.name,
                to: self.address,
            }),
        }
    }

    /// Takes them out, if they are joined: all is as it was found.
    pub fn take_out(&self) -> Result<()> {
        let namespaces = Namespaces::find()?;
        let (ground, members) = (Ground::new(&namespaces), record::all()?);
        let ours = |member: &&Member| self.members.iter().any(|our| our.host == member.host);
        let leaving: Vec<Member> = members.iter().filter(ours).cloned().collect();
        carry_out(&down(&leaving, &members, ground)?, ground).map(drop)
    }
}

/// The one of these that is the container.
fn member<'a>(container: &Container, members: &'a [Member]) -> Option<&'a Member> {
    let is = |member: &&Member| container.attachments.iter().any(|a| a.host == member.host);
    members.iter().find(is)
}

fn refuse_joined(containers: &[Container]) -> Result<()> {
    let records = record::all()?;
    let joined = containers.iter().filter_map(|container| member(container, &records));
    let names: Vec<&str> = joined.map(|member| member.name.as_str()).collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(Error::Joined { names: names.join(" ") }),
    }
}

/// An address of the receiver in a family that both have: IPv4, else IPv6, best one that needs no interface
/// with it.
fn address(from: &Member, to: &Member) -> Result<IpAddr> {
    let families: [fn(&&IpAddr) -> bool; 3] =
        [|ip| ip.is_ipv4(), |ip| ip.is_ipv6() && !is_link_local(ip), |ip| is_link_local(ip)];
    let common = |fits: fn(&&IpAddr) -> bool| {
        from.addresses.iter().find(fits).and(to.addresses.iter().find(fits)).copied()
    };
    families.into_iter().find_map(common).ok_or_else(|| Error::NotAllowed {
        name: to.name.clone(),
        why: "the other has no address of the same family: give both one of IPv4 or of IPv6",
    })
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The address with any port, at this interface if it needs one.
fn scoped(address: IpAddr, ifindex: u32) -> SocketAddr {
    match address {
        IpAddr::V6(ip) if is_link_local(&address) => SocketAddrV6::new(ip, 0, 0, ifindex).into(),
        _ => SocketAddr::new(address, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(addresses: &[&str]) -> Member {
        use crate::container::{Interface, Mac};
        use crate::plan::Segment;
        use crate::plan::member::{Readiness, VERSION};
        use crate::plan::way::{Attach, Chosen, Datapath};
        let at = || Interface { netns: 1, ifindex: 2, name: "veth".into() };
        Member {
            version: VERSION,
            name: "netns:a".into(),
            segment: Segment { bridge: at() },
            inside: at(),
            host: at(),
            mac: Mac([0; 6]),
            addresses: addresses.iter().map(|ip| ip.parse().expect("an address")).collect(),
            datapath: Datapath::Tc,
            chosen: Chosen::Best,
            checksum: None,
            attach: Attach::Link,
            readiness: Readiness::Found,
            features: Vec::new(),
            replaced: None,
            clsact: Vec::new(),
            bridge_mtu: None,
            sizes: Vec::new(),
            jumbo: false,
        }
    }

    #[test]
    fn addresses_that_both_can_use() {
        let of = |from: &[&str], to: &[&str]| {
            address(&member(from), &member(to)).map(|ip| ip.to_string()).ok()
        };
        let (link, six, four) = ("fe80::1", "fd09::2", "10.9.0.2");
        assert_eq!(of(&[link, six, four], &[link, six, four]).as_deref(), Some(four));
        assert_eq!(of(&[link, six], &[link, six, four]).as_deref(), Some(six));
        assert_eq!(of(&[link, four], &[link, six]).as_deref(), Some(link));
        assert_eq!(of(&[four], &[six, link]), None);
    }

    #[test]
    fn only_link_local_ones_need_an_interface() {
        let text = |ip: &str| scoped(ip.parse().expect("an address"), 7).to_string();
        assert_eq!(
            ["fe80::1", "fd09::2", "10.9.0.2"].map(text),
            ["[fe80::1%7]:0", "[fd09::2]:0", "10.9.0.2:0"]
        );
    }
}
