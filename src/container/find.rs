//! From a name to a container: its namespace, its veths, and where their other ends are.

use std::net::IpAddr;

use super::interface::{Interface, Mac};
use super::name::Name;
use super::namespaces::Namespaces;
use crate::sys::netlink::{AddrInfo, LinkInfo};
use crate::sys::netns::Netns;
use crate::{Error, Result};

/// A bridge that a host side is a port of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// Which it is.
    pub interface: Interface,
    /// It as the kernel shows it.
    pub link: LinkInfo,
}

/// One veth of a container: both ends, and the bridge that holds the host's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// The container's end.
    pub inside: Interface,
    /// It as the kernel shows it.
    pub inside_link: LinkInfo,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its IP addresses, but for those that are not yet sure to be its own.
    pub addresses: Vec<IpAddr>,
    /// The host's end.
    pub host: Interface,
    /// It as the kernel shows it.
    pub host_link: LinkInfo,
    /// The bridge, if it is on one.
    pub bridge: Option<Bridge>,
}

/// A container that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// Its name, with its kind: `docker:web`.
    pub name: String,
    /// Its veths; at least one.
    pub attachments: Vec<Attachment>,
}

/// The container that `name` names, with all its veths.
pub fn find(name: &Name, namespaces: &Namespaces) -> Result<Container> {
    match name {
        Name::Netns(netns) => {
            let path = format!("/run/netns/{netns}");
            inside(name, Netns::open(path).map_err(not_found(name))?, namespaces)
        }
        Name::Pid(pid) => inside(name, Netns::of_pid(*pid).map_err(not_found(name))?, namespaces),
        Name::Docker(_) | Name::Podman(_) | Name::Nspawn(_) | Name::Lxc(_) => {
            let Some(found) = namespaces.host().find(name)? else {
                if let Name::Docker(_) = name {
                    // Where there is no engine, it says so.
                    namespaces.host().docker().containers()?;
                }
                return Err(no_such(name));
            };
            let netns = Netns::of_pid(found.pid).map_err(not_found(name))?;
            // Its number may be another's by now.
            match netns.inode() == found.netns {
                true => inside(&found.name, netns, namespaces),
                false => Err(no_such(name)),
            }
        }
        Name::Veth(ifname) => by_host_side(name, ifname, namespaces),
        Name::Bare(bare) => find(&qualify(bare, namespaces)?, namespaces),
    }
}

/// The one kind of thing that has this name.
fn qualify(bare: &str, namespaces: &Namespaces) -> Result<Name> {
    let mut candidates = Vec::new();
    if std::path::Path::new("/run/netns").join(bare).exists() {
        candidates.push(Name::Netns(bare.into()));
    }
    for kind in [Name::Docker, Name::Podman, Name::Nspawn, Name::Lxc] {
        let name = kind(bare.into());
        if namespaces.host().has(&name)? {
            candidates.push(name);
        }
    }
    let own = namespaces.rtnl(&*namespaces.own()?)?.link(bare)?;
    if own.is_some_and(|link| link.kind.as_deref() == Some("veth")) {
        candidates.push(Name::Veth(bare.into()));
    }
    if let Some(pid) = bare.parse().ok().filter(|pid| Netns::of_pid(*pid).is_ok()) {
        candidates.push(Name::Pid(pid));
    }
    match candidates.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(no_such(&Name::Bare(bare.into()))),
        several => Err(Error::Ambiguous {
            name: bare.into(),
            candidates: several.iter().map(Name::to_string).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn no_such(name: &Name) -> Error {
    Error::NoSuchContainer {
        name: name.to_string(),
        hint: match name {
            Name::Netns(_) => "`ip netns` lists those that exist",
            Name::Pid(_) => "no process has this number: `ps` lists them",
            Name::Docker(_) => "`docker ps` lists those that run",
            Name::Podman(_) => "`podman ps` lists those that run",
            Name::Nspawn(_) => "`machinectl` and `ps -fC systemd-nspawn` list those that run",
            Name::Lxc(_) => "`lxc-ls --running` lists those that run",
            Name::Veth(_) => "`ip link show type veth` lists the interfaces there are",
            Name::Bare(_) => {
                "give it as netns:NAME, pid:N, docker:NAME, podman:NAME, nspawn:NAME, lxc:NAME or veth:IFNAME; `ip netns`, `docker ps` and the like list them"
            }
        },
    }
}

fn not_found(name: &Name) -> impl FnOnce(Error) -> Error {
    let name = name.clone();
    move |error| match error.errno() {
        Some(nix::errno::Errno::ENOENT | nix::errno::Errno::ESRCH) => no_such(&name),
        _ => error,
    }
}

/// All veths of the container in this namespace.
fn inside(name: &Name, netns: Netns, namespaces: &Namespaces) -> Result<Container> {
    let netns = namespaces.keep(netns);
    let rtnl = namespaces.rtnl(&netns)?;
    let (links, addrs) = (rtnl.links()?, rtnl.addrs()?);
    let mut attachments = Vec::new();
    for link in links {
        if let Some(found) = attachment(&netns, link, &addrs, namespaces)? {
            attachments.push(found);
        }
    }
    if attachments.is_empty() {
        return Err(Error::NoVeth { name: name.to_string() });
    }
    Ok(Container { name: name.to_string(), attachments })
}

/// The container behind a host-side interface of the caller's own namespace: that one veth only.
fn by_host_side(name: &Name, ifname: &str, namespaces: &Namespaces) -> Result<Container> {
    let host = namespaces.rtnl(&*namespaces.own()?)?.link(ifname)?.ok_or_else(|| no_such(name))?;
    let found = behind(&host, namespaces)?;
    let found = found.ok_or_else(|| Error::NoVeth { name: name.to_string() })?;
    Ok(Container { name: name.to_string(), ..found })
}

/// The container behind an interface of the caller's own namespace, by the name that its user knows, or else
/// that interface's; `None` if nobody is there.
pub fn behind(host: &LinkInfo, namespaces: &Namespaces) -> Result<Option<Container>> {
    let (Some(peer), Some(nsid)) = (host.link, host.link_netnsid) else { return Ok(None) };
    let unreachable = || Error::Unreachable { ifname: host.name.clone() };
    let netns = namespaces.by_nsid(&*namespaces.own()?, nsid)?.ok_or_else(unreachable)?;
    let inside = Interface { netns: netns.inode(), ifindex: peer, name: String::new() };
    let Some(found) = attachment_at(&inside, namespaces)? else { return Ok(None) };
    // That an engine does not answer is no reason to leave its container out.
    let owner = namespaces.owner(netns.inode()).ok().flatten();
    let name = owner.unwrap_or_else(|| Name::Veth(host.name.clone())).to_string();
    Ok(Some(Container { name, attachments: vec![found] }))
}

/// The interface of this name in the caller's own namespace.
pub fn interface_named(name: &str, namespaces: &Namespaces) -> Result<(Interface, LinkInfo)> {
    let own = namespaces.own()?;
    let found = namespaces.rtnl(&own)?.link(name)?;
    found
        .map(|link| (interface(&own, &link), link))
        .ok_or_else(|| Error::NoSuchInterface { name: name.escape_debug().to_string() })
}

/// The bridge of this name in the caller's own namespace.
pub fn bridge_named(name: &str, namespaces: &Namespaces) -> Result<Interface> {
    let own = namespaces.own()?;
    let found = namespaces.rtnl(&own)?.link(name)?;
    let found = found.filter(|link| link.kind.as_deref() == Some("bridge"));
    found
        .map(|link| interface(&own, &link))
        .ok_or_else(|| Error::NoSuchBridge { name: name.escape_debug().to_string() })
}

/// The host sides of veths that are ports of this bridge of the caller's own namespace.
pub fn ports(bridge: &Interface, namespaces: &Namespaces) -> Result<Vec<LinkInfo>> {
    let mut links = namespaces.rtnl(&*namespaces.own()?)?.links()?;
    links
        .retain(|link| link.master == Some(bridge.ifindex) && link.kind.as_deref() == Some("veth"));
    Ok(links)
}

/// The veth with this container's end; `None` if it is gone.
pub fn attachment_at(inside: &Interface, namespaces: &Namespaces) -> Result<Option<Attachment>> {
    let Some(netns) = namespaces.by_inode(inside.netns)? else { return Ok(None) };
    let rtnl = namespaces.rtnl(&netns)?;
    match rtnl.link_at(inside.ifindex)? {
        Some(link) => attachment(&netns, link, &rtnl.addrs()?, namespaces),
        None => Ok(None),
    }
}

/// `None` unless the link is a veth whose other end is in another namespace that can be reached.
fn attachment(
    netns: &Netns,
    link: LinkInfo,
    addrs: &[AddrInfo],
    namespaces: &Namespaces,
) -> Result<Option<Attachment>> {
    let (Some("veth"), Some(mac)) = (link.kind.as_deref(), link.mac) else { return Ok(None) };
    let (Some(peer), Some(nsid)) = (link.link, link.link_netnsid) else { return Ok(None) };
    let Some(host_netns) = namespaces.by_nsid(netns, nsid)? else { return Ok(None) };
    let rtnl = namespaces.rtnl(&host_netns)?;
    let Some(host_link) = rtnl.link_at(peer)? else { return Ok(None) };
    let master = host_link.master.map_or(Ok(None), |master| rtnl.link_at(master))?;
    Ok(Some(Attachment {
        inside: interface(netns, &link),
        mac: Mac(mac),
        addresses: addresses(addrs, link.ifindex),
        host: interface(&host_netns, &host_link),
        bridge: master.and_then(|master| bridge(&host_netns, master)),
        host_link,
        inside_link: link,
    }))
}

fn interface(netns: &Netns, link: &LinkInfo) -> Interface {
    Interface { netns: netns.inode(), ifindex: link.ifindex, name: link.name.clone() }
}

fn addresses(addrs: &[AddrInfo], ifindex: u32) -> Vec<IpAddr> {
    let own = addrs.iter().filter(|addr| addr.ifindex == ifindex && !addr.tentative);
    let mut own: Vec<_> = own.map(|addr| addr.ip).collect();
    xhop_asm::sort(&mut own);
    own.dedup();
    own
}

fn bridge(netns: &Netns, master: LinkInfo) -> Option<Bridge> {
    (master.kind.as_deref() == Some("bridge"))
        .then(|| Bridge { interface: interface(netns, &master), link: master })
}
