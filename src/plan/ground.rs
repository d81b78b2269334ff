//! The ground that facts stand on: interfaces, wherever they live, and what is attached to them.

use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;

use super::member::{Attach, Member, Replaced};
use super::pins::{self, MemberPins};
use super::tables;
use crate::container::{Attachment, Interface, Namespaces, attachment_at};
use crate::sys::bpf::{Link, Prog, XdpMode};
use crate::sys::bridge;
use crate::sys::ethtool;
use crate::sys::netlink::LinkInfo;
use crate::sys::netlink::netdev::NETDEV_XDP_ACT_NDO_XMIT;
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
        if self.attached(&member.host, member.attach, &pin)? {
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
        let features = self.namespaces.netdev(&netns)?.xdp_features(link.ifindex)?;
        Ok(features.map(|features| features & NETDEV_XDP_ACT_NDO_XMIT != 0))
    }

    /// Whether what the pin holds is attached to the interface.
    pub fn attached(&self, at: &Interface, attach: Attach, pin: &Path) -> Result<bool> {
        match attach {
            Attach::Link => match pins::open_link(pin)? {
                Some(link) => Ok(link.info()?.ifindex == at.ifindex),
                None => Ok(false),
            },
            Attach::Netlink => match (pins::open_prog(pin)?, self.link(at)?) {
                (Some(prog), Some((_, link))) => Ok(runs(&link, prog.info()?.id)),
                _ => Ok(false),
            },
        }
    }

    /// Attaches natively and pins; what the pin holds is replaced, with no packet in between.
    pub fn attach(&self, prog: &Prog, at: &Interface, attach: Attach, pin: &Path) -> Result<()> {
        let old = self.held(at, attach, pin)?;
        let (netns, _) = self.present(at)?;
        match (attach, old) {
            (Attach::Link, Some(old)) => match pins::open_link(pin)? {
                Some(link) => link.update(prog, &old),
                None => Ok(()),
            },
            (Attach::Link, None) => {
                pins::remove(pin)?;
                let made = netns.run(|| Link::create_xdp(prog, at.ifindex, XdpMode::Native))?;
                made?.pin(pin)
            }
            (Attach::Netlink, old) => {
                // Pinned first: what netlink attaches outlives us, and the pin tells whose it is.
                pins::remove(pin)?;
                prog.pin(pin)?;
                let rtnl = self.namespaces.rtnl(&netns)?;
                let mode = XdpMode::Native;
                rtnl.set_xdp(at.ifindex, Some(prog), mode, old.as_ref())
            }
        }
    }

    /// The program that the pin holds on the interface; `None` if it holds none there.
    pub fn held(&self, at: &Interface, attach: Attach, pin: &Path) -> Result<Option<Prog>> {
        if !self.attached(at, attach, pin)? {
            return Ok(None);
        }
        match attach {
            Attach::Link => match pins::open_link(pin)? {
                Some(link) => Prog::by_id(link.info()?.prog_id).map(Some),
                None => Ok(None),
            },
            Attach::Netlink => pins::open_prog(pin),
        }
    }

    /// Detaches what the pin holds and nothing else, and removes the pin.
    pub fn detach(&self, at: &Interface, attach: Attach, pin: &Path) -> Result<()> {
        if !pins::exists(pin) {
            return self.refuse_lost(at);
        }
        if !self.attached(at, attach, pin)? {
            return pins::remove(pin);
        }
        match attach {
            // The pin first: if this is ended in between, the link goes with its descriptor, and no pin
            // of a detached link is left that would say that the interface is gone.
            Attach::Link => {
                let link = pins::open_link(pin)?;
                pins::remove(pin)?;
                link.map_or(Ok(()), |link| link.detach())
            }
            // The pin last: it is all that tells whose the program is.
            Attach::Netlink => {
                self.take_off(at, pins::open_prog(pin)?.as_ref(), XdpMode::Native)?;
                pins::remove(pin)
            }
        }
    }

    /// A program of ours without its pin can't be taken off as safely as it was put on.
    fn refuse_lost(&self, at: &Interface) -> Result<()> {
        let Some((_, link)) = self.link(at)? else { return Ok(()) };
        for attached in link.xdp {
            let name = Prog::by_id(attached.prog_id)?.info()?.name;
            if name.starts_with("xhop_") {
                let (ifname, prog_id) = (link.name, attached.prog_id);
                return Err(Error::PinLost { ifname, prog_id });
            }
        }
        Ok(())
    }

    /// Takes a foreign program off, after it was pinned so that it can be put back.
    pub fn keep(&self, at: &Interface, replaced: Replaced, pin: &Path) -> Result<()> {
        if !runs(&self.present(at)?.1, replaced.prog_id) {
            return Ok(());
        }
        let prog = Prog::by_id(replaced.prog_id)?;
        if !pins::exists(pin) {
            prog.pin(pin)?;
        }
        self.take_off(at, Some(&prog), replaced.mode())
    }

    /// Puts the kept program back, unless there is another by now, and removes its pin.
    pub fn put_back(&self, at: &Interface, replaced: Replaced, pin: &Path) -> Result<()> {
        if let (Some(prog), Some((netns, link))) = (pins::open_prog(pin)?, self.link(at)?) {
            if link.xdp.is_empty() {
                let rtnl = self.namespaces.rtnl(&netns)?;
                rtnl.set_xdp(at.ifindex, Some(&prog), replaced.mode(), None)?;
            }
        }
        pins::remove(pin)
    }

    fn take_off(&self, at: &Interface, prog: Option<&Prog>, mode: XdpMode) -> Result<()> {
        match (prog, self.link(at)?) {
            (Some(prog), Some((netns, _))) => {
                self.namespaces.rtnl(&netns)?.set_xdp(at.ifindex, None, mode, Some(prog))
            }
            _ => Ok(()),
        }
    }
}

fn runs(link: &LinkInfo, prog_id: u32) -> bool {
    link.xdp.iter().any(|attached| attached.prog_id == prog_id)
}
