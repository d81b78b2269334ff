//! The ground that facts stand on: interfaces, wherever they live, and what is attached to them.

use std::path::Path;

use super::member::{Attach, Replaced};
use super::pins;
use crate::container::{Attachment, Interface, Namespaces, attachment_at};
use crate::sys::bpf::{Link, Prog, XdpMode};
use crate::sys::ethtool::{self, Ethtool};
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

    /// The interface's namespace and its present state; `None` if either is gone.
    pub fn link(&self, at: &Interface) -> Result<Option<(&'a Netns, LinkInfo)>> {
        let Some(netns) = self.namespaces.by_inode(at.netns) else { return Ok(None) };
        let links = Rtnl::open_in(netns)?.links()?;
        Ok(links.into_iter().find(|link| link.ifindex == at.ifindex).map(|link| (netns, link)))
    }

    /// The same, where it must be there.
    pub fn present(&self, at: &Interface) -> Result<(&'a Netns, LinkInfo)> {
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

    /// The state of a feature; `None` if the interface is gone.
    pub fn feature(&self, at: &Interface, name: &str) -> Result<Option<ethtool::Feature>> {
        let Some((netns, link)) = self.link(at)? else { return Ok(None) };
        Ethtool::open_in(netns)?.feature(&link.name, name).map(Some)
    }

    /// Switches a feature, if the interface is still there.
    pub fn set_feature(&self, at: &Interface, name: &str, on: bool) -> Result<()> {
        let Some((netns, link)) = self.link(at)? else { return Ok(()) };
        Ethtool::open_in(netns)?.set_feature(&link.name, name, on)
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

    /// Attaches natively and pins.
    pub fn attach(&self, prog: &Prog, at: &Interface, attach: Attach, pin: &Path) -> Result<()> {
        if self.attached(at, attach, pin)? {
            return Ok(());
        }
        pins::remove(pin)?;
        let (netns, found) = self.present(at)?;
        let refused = |error| explain(error, &found);
        match attach {
            Attach::Link => {
                let made = netns.run(|| Link::create_xdp(prog, at.ifindex, XdpMode::Native))?;
                made.map_err(refused)?.pin(pin)
            }
            Attach::Netlink => {
                // Pinned first: what netlink attaches outlives us, and the pin tells whose it is.
                prog.pin(pin)?;
                let rtnl = Rtnl::open_in(netns)?;
                rtnl.set_xdp(at.ifindex, Some(prog), XdpMode::Native, None).map_err(refused)
            }
        }
    }

    /// Detaches what the pin holds and nothing else, and removes the pin.
    pub fn detach(&self, at: &Interface, attach: Attach, pin: &Path) -> Result<()> {
        if self.attached(at, attach, pin)? {
            match attach {
                Attach::Link => pins::open_link(pin)?.map_or(Ok(()), |link| link.detach())?,
                Attach::Netlink => {
                    self.take_off(at, pins::open_prog(pin)?.as_ref(), XdpMode::Native)?
                }
            }
        }
        pins::remove(pin)
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
                let rtnl = Rtnl::open_in(netns)?;
                rtnl.set_xdp(at.ifindex, Some(&prog), replaced.mode(), None)?;
            }
        }
        pins::remove(pin)
    }

    fn take_off(&self, at: &Interface, prog: Option<&Prog>, mode: XdpMode) -> Result<()> {
        match (prog, self.link(at)?) {
            (Some(prog), Some((netns, _))) => {
                Rtnl::open_in(netns)?.set_xdp(at.ifindex, None, mode, Some(prog))
            }
            _ => Ok(()),
        }
    }
}

fn runs(link: &LinkInfo, prog_id: u32) -> bool {
    link.xdp.iter().any(|attached| attached.prog_id == prog_id)
}

/// What a refused attachment means, for those answers of the kernel that have one meaning here.
fn explain(error: Error, link: &LinkInfo) -> Error {
    use nix::errno::Errno;
    let ifname = link.name.clone();
    match error.errno() {
        Some(Errno::EOPNOTSUPP) => Error::NoNativeXdp { ifname },
        Some(Errno::ERANGE) => Error::PeerMtu { ifname },
        Some(Errno::EBUSY) => Error::Occupied { ifname, by: "a program".into() },
        _ => error,
    }
}
