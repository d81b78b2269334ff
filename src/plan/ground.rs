//! The ground that facts stand on: interfaces, wherever they live, and what is attached to them.

use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;

use super::member::Member;
use super::pins::{self, MemberPins};
use super::tables;
use super::way::Attach;
use crate::container::{Attachment, Interface, Namespaces, attachment_at};
use crate::sys::bridge;
use crate::sys::ethtool;
use crate::sys::netlink::netdev::NETDEV_XDP_ACT_NDO_XMIT;
use crate::sys::netlink::{LinkInfo, Rtnl};
use crate::sys::netns::Netns;
use crate::{Error, Result};

/// Finds interfaces by namespace and index. One that is gone is no error where something is taken
/// back: it took along what was on it.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    namespaces: &'a Namespaces,
}

impl<'a> Ground<'a> {
    /// On these namespaces.
    pub fn new(namespaces: &'a Namespaces) -> Self {
        Self { namespaces }
    }

    /// Whether Docker keeps the containers on this bridge of the caller's own namespace from each other.
    pub fn isolates(&self, bridge: &str) -> Result<bool> {
        self.namespaces.host().docker().isolates(bridge)
    }

    /// All namespaces that can be reached.
    pub fn namespaces(&self) -> Result<Vec<Rc<Netns>>> {
        self.namespaces.all()
    }

    /// The interface's namespace; `None` if it is gone.
    pub fn namespace(&self, at: &Interface) -> Result<Option<Rc<Netns>>> {
        self.namespaces.by_inode(at.netns)
    }

    /// A routing socket in this namespace.
    pub fn rtnl(&self, netns: &Netns) -> Result<Rc<Rtnl>> {
        self.namespaces.rtnl(netns)
    }

    /// The interface's namespace and its present state, of a host's end also where [`Ground::alive`] has found
    /// it; `None` if either is gone.
    pub fn link(&self, at: &Interface) -> Result<Option<(Rc<Netns>, LinkInfo)>> {
        let (inode, ifindex) = self.namespaces.where_now(at);
        let Some(netns) = self.namespaces.by_inode(inode)? else { return Ok(None) };
        let link = self.namespaces.rtnl(&netns)?.link_at(ifindex)?;
        Ok(link.map(|link| (netns, link)))
    }

    /// Its index, there.
    pub fn index_now(&self, at: &Interface) -> u32 {
        self.namespaces.where_now(at).1
    }

    /// The same, where it must be there.
    pub fn present(&self, at: &Interface) -> Result<(Rc<Netns>, LinkInfo)> {
        self.link(at)?.ok_or_else(|| Error::InterfaceGone { ifname: at.name.clone() })
    }

    /// The veth with this container's end, as it is now; `None` if it is gone.
    pub fn attachment(&self, inside: &Interface) -> Result<Option<Attachment>> {
        attachment_at(inside, self.namespaces)
    }

    /// Whether the interface is in the caller's own namespace.
    pub fn is_own(&self, at: &Interface) -> Result<bool> {
        Ok(self.namespaces.own()?.inode() == at.netns)
    }

    /// The other end of a host's end, wherever it has been moved; `None` if both are gone. A veth dies as
    /// a pair: where the host's end is, there is another.
    pub fn inside(&self, host: &Interface) -> Result<Option<(Rc<Netns>, LinkInfo)>> {
        let Some((near, link)) = self.link(host)? else { return Ok(None) };
        let unreachable = || Error::Unreachable { ifname: host.to_string() };
        let far = match link.link_netnsid {
            Some(nsid) => self.namespaces.by_nsid(&near, nsid)?.ok_or_else(unreachable)?,
            None => near,
        };
        let rtnl = self.namespaces.rtnl(&far)?;
        let peer = link.link.map_or(Ok(None), |peer| rtnl.link_at(peer))?;
        peer.map(|peer| Some((far, peer))).ok_or_else(unreachable)
    }

    /// The ports of a bridge, by their index.
    pub fn bridge_ports(&self, bridge: &Interface) -> Result<HashSet<u32>> {
        let Some(netns) = self.namespaces.by_inode(bridge.netns)? else {
            return Ok(HashSet::new());
        };
        if let Ok(ports) = bridge::ports(&netns, bridge.ifindex) {
            return Ok(ports.into_iter().collect());
        }
        let links = self.namespaces.rtnl(&netns)?.links()?.into_iter();
        let ports = links.filter(|link| link.master == Some(bridge.ifindex));
        Ok(ports.map(|link| link.ifindex).collect())
    }

    /// Whether the member's veth is still there. If its host's end is in another namespace by now, it is there
    /// that everything else finds it from now on.
    pub fn alive(&self, member: &Member) -> Result<bool> {
        let here = self.link(&member.host)?.is_some();
        let pin = MemberPins::of(&member.segment, &member.host).forward();
        if !pins::exists(&pin) {
            return Ok(here);
        }
        let unreachable = || Error::Unreachable { ifname: member.host.to_string() };
        // The kernel takes it out of `ports` when it goes, also when it goes elsewhere.
        match (here, tables::listed(&member.segment, &member.host)?) {
            (true, Some(true) | None) => return Ok(true),
            (false, Some(true)) => return Err(unreachable()),
            _ => {}
        }
        let attached = match member.attach {
            Attach::Link => {
                pins::open_link(&pin)?.map_or(Ok(0), |link| Ok(link.info()?.ifindex))?
            }
            Attach::Netlink => 0,
        };
        match self.attachment(&member.inside)? {
            // By our program it is known. tc's qdiscs, and filters with them, do not move along.
            Some(found) if attached == found.host.ifindex || self.runs_pinned(&found, &pin)? => {
                self.namespaces.moved(&member.host, &found.host);
                Ok(true)
            }
            _ if attached != 0 => Err(unreachable()),
            _ => Ok(false),
        }
    }

    /// Whether a host's end runs the XDP program that is pinned here.
    fn runs_pinned(&self, found: &Attachment, pin: &Path) -> Result<bool> {
        let Ok(Some(prog)) = pins::open_prog(pin) else { return Ok(false) };
        let id = prog.info()?.id;
        Ok(found.host_link.xdp.iter().any(|xdp| xdp.prog_id == id))
    }

    /// The state of a feature of the container's end; `None` if it is gone.
    pub fn feature(&self, host: &Interface, name: &str) -> Result<Option<ethtool::Feature>> {
        let Some((netns, link)) = self.inside(host)? else { return Ok(None) };
        self.namespaces.ethtool(&netns)?.feature(link.ifindex, name).map(Some)
    }

    /// Switches a feature of the container's end, if that is still there.
    pub fn set_feature(&self, host: &Interface, name: &str, on: bool) -> Result<()> {
        let Some((netns, link)) = self.inside(host)? else { return Ok(()) };
        self.namespaces.ethtool(&netns)?.set_feature(link.ifindex, name, on)
    }

    /// The state of a feature of the interface itself; `None` if it is gone.
    pub fn own_feature(&self, at: &Interface, name: &str) -> Result<Option<ethtool::Feature>> {
        let Some((netns, link)) = self.link(at)? else { return Ok(None) };
        self.namespaces.ethtool(&netns)?.feature(link.ifindex, name).map(Some)
    }

    /// Switches a feature of the interface itself, if that is still there.
    pub fn set_own_feature(&self, at: &Interface, name: &str, on: bool) -> Result<()> {
        let Some((netns, link)) = self.link(at)? else { return Ok(()) };
        self.namespaces.ethtool(&netns)?.set_feature(link.ifindex, name, on)
    }

    /// Whether the host's end takes redirected frames: its other end polls with NAPI. `None` if the
    /// kernel can't say (before 6.3) or it is gone.
    pub fn takes_frames(&self, host: &Interface) -> Result<Option<bool>> {
        let Some((netns, link)) = self.link(host)? else { return Ok(None) };
        let features = match self.namespaces.netdev(&netns)?.xdp_features(link.ifindex) {
            // It may be gone by now.
            Err(error) if error.errno() == Some(Errno::ENODEV) => None,
            features => features?,
        };
        Ok(features.map(|features| features & NETDEV_XDP_ACT_NDO_XMIT != 0))
    }

    /// Sets the largest packet of an interface, if that is still there.
    pub fn set_mtu(&self, at: &Interface, mtu: u32) -> Result<()> {
        let Some((netns, link)) = self.link(at)? else { return Ok(()) };
        self.rtnl(&netns)?.set_mtu(link.ifindex, mtu)
    }

    /// Sets the largest TCP super-packet over IPv4 of the container's end, if that is still there.
    pub fn set_gso_ipv4(&self, host: &Interface, bytes: u32) -> Result<()> {
        let Some((netns, link)) = self.inside(host)? else { return Ok(()) };
        self.rtnl(&netns)?.set_gso_ipv4_max_size(link.ifindex, bytes)
    }
}
