//! The ground that facts stand on: interfaces, wherever they live, and what is attached to them.

use std::collections::HashSet;
use std::rc::Rc;

use nix::errno::Errno;

use super::member::Member;
use super::pins::{self, MemberPins};
use super::tables;
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

    /// The interface's namespace and its present state; `None` if either is gone.
    pub fn link(&self, at: &Interface) -> Result<Option<(Rc<Netns>, LinkInfo)>> {
        let Some(netns) = self.namespaces.by_inode(at.netns)? else { return Ok(None) };
        let link = self.namespaces.rtnl(&netns)?.link_at(at.ifindex)?;
        Ok(link.map(|link| (netns, link)))
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

    /// Whether the member's veth is still there.
    pub fn alive(&self, member: &Member) -> Result<bool> {
        let found = self.link(&member.host)?.is_some();
        match (found, self.held_by_kernel(member)?) {
            // The index is another's by now.
            (true, Some(false)) => Ok(false),
            (false, Some(true)) => Err(Error::Unreachable { ifname: member.host.to_string() }),
            (found, _) => Ok(found),
        }
    }

    /// Whether the kernel still has the very interface that was joined: our program runs on it, or its
    /// entry stands in `ports`, which goes with it. `None` if neither can be told.
    fn held_by_kernel(&self, member: &Member) -> Result<Option<bool>> {
        let pin = MemberPins::of(&member.segment, &member.host).forward();
        if !pins::exists(&pin) {
            return Ok(None);
        }
        if self.attached(&member.host, member.on_host().1, member.attach, &pin)? {
            return Ok(Some(true));
        }
        match tables::all_there(&member.segment)? {
            true => tables::allowed(&member.segment, &member.host).map(Some),
            false => Ok(None),
        }
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
        let Some((netns, _)) = self.link(at)? else { return Ok(()) };
        self.rtnl(&netns)?.set_mtu(at.ifindex, mtu)
    }

    /// Sets the largest TCP super-packet over IPv4 of the container's end, if that is still there.
    pub fn set_gso_ipv4(&self, host: &Interface, bytes: u32) -> Result<()> {
        let Some((netns, link)) = self.inside(host)? else { return Ok(()) };
        self.rtnl(&netns)?.set_gso_ipv4_max_size(link.ifindex, bytes)
    }
}
