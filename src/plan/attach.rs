//! Programs on interfaces: attached, found, and taken off again.

use std::path::Path;

use nix::errno::Errno;

use super::ground::Ground;
use super::member::Replaced;
use super::pins;
use super::way::{Attach, Spot};
use crate::container::Interface;
use crate::shell::word;
use crate::sys::bpf::{Link, Prog, TcxHook, XdpMode};
use crate::sys::netlink::{LinkInfo, XdpAttached};
use crate::{Error, Result};

impl Ground<'_> {
    /// Whether what the pin holds is attached to the interface.
    pub fn attached(&self, at: &Interface, spot: Spot, attach: Attach, pin: &Path) -> Result<bool> {
        match attach {
            Attach::Link => match pins::open_link(pin)? {
                Some(link) => Ok(link.info()?.ifindex == self.index_now(at)),
                None => Ok(false),
            },
            Attach::Netlink => match (pins::open_prog(pin)?, self.link(at)?) {
                (Some(prog), Some((netns, link))) => {
                    let id = prog.info()?.id;
                    match spot {
                        Spot::Native | Spot::Generic => Ok(runs(&link, id)),
                        Spot::Ingress => {
                            let found = self.rtnl(&netns)?.tc_programs(link.ifindex)?;
                            Ok(found.iter().any(|found| found.prog_id == Some(id)))
                        }
                    }
                }
                _ => Ok(false),
            },
        }
    }

    /// Attaches and pins; what the pin holds is replaced, with no packet in between.
    pub fn attach(
        &self,
        prog: &Prog,
        at: &Interface,
        spot: Spot,
        attach: Attach,
        pin: &Path,
    ) -> Result<()> {
        let old = self.held(at, spot, attach, pin)?;
        let (netns, _) = self.present(at)?;
        match (attach, old) {
            (Attach::Link, Some(old)) => match pins::open_link(pin)? {
                Some(link) => link.update(prog, &old),
                None => Ok(()),
            },
            (Attach::Link, None) => {
                pins::remove(pin)?;
                let made = netns.run(|| match spot.xdp_mode() {
                    Some(mode) => Link::create_xdp(prog, at.ifindex, mode),
                    None => Link::create_tcx(prog, at.ifindex, TcxHook::Ingress),
                })?;
                made?.pin(pin)
            }
            (Attach::Netlink, old) => {
                // Pinned first: what netlink attaches outlives us, and the pin tells whose it is.
                pins::remove(pin)?;
                prog.pin(pin)?;
                let rtnl = self.rtnl(&netns)?;
                match spot.xdp_mode() {
                    Some(mode) => rtnl.set_xdp(at.ifindex, Some(prog), mode, old.as_ref()),
                    None => {
                        let name = prog.info()?.name;
                        match rtnl.set_ingress(at.ifindex, prog, &name, old.is_some()) {
                            // What is there is not ours, or the pin would tell.
                            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                                Err(Error::FilterTaken { ifname: at.name.clone() })
                            }
                            done => done,
                        }
                    }
                }
            }
        }
    }

    /// The program that the pin holds on the interface; `None` if it holds none there.
    pub fn held(
        &self,
        at: &Interface,
        spot: Spot,
        attach: Attach,
        pin: &Path,
    ) -> Result<Option<Prog>> {
        if !self.attached(at, spot, attach, pin)? {
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
    pub fn detach(&self, at: &Interface, spot: Spot, attach: Attach, pin: &Path) -> Result<()> {
        if !pins::exists(pin) {
            return self.refuse_lost(at, spot);
        }
        if !self.attached(at, spot, attach, pin)? {
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
                match (spot.xdp_mode(), self.link(at)?) {
                    (Some(mode), _) => self.take_off(at, pins::open_prog(pin)?.as_ref(), mode)?,
                    (None, Some((netns, link))) => self.rtnl(&netns)?.del_ingress(link.ifindex)?,
                    (None, None) => {}
                }
                pins::remove(pin)
            }
        }
    }

    /// A program of ours without its pin can't be taken off as safely as it was put on.
    fn refuse_lost(&self, at: &Interface, spot: Spot) -> Result<()> {
        match self.unpinned(at, spot)? {
            Some((ifname, prog_id, take_off)) => Err(Error::PinLost { ifname, prog_id, take_off }),
            None => Ok(()),
        }
    }

    /// A program by our name in that spot, whose pin is lost: the interface's name, the program's id, and what
    /// takes it off. Where another spot has ours, that one has a pin of its own.
    pub fn unpinned(&self, at: &Interface, spot: Spot) -> Result<Option<(String, u32, String)>> {
        let Some((netns, link)) = self.link(at)? else { return Ok(None) };
        let ifname = || link.name.clone();
        if spot == Spot::Ingress {
            let filters = self.rtnl(&netns)?.tc_programs(link.ifindex)?;
            for prog_id in filters.iter().filter_map(|filter| filter.prog_id) {
                if is_ours(prog_id)? {
                    let take_off =
                        format!("`tc filter del dev {} ingress pref 53248`", word(&link.name));
                    return Ok(Some((ifname(), prog_id, take_off)));
                }
            }
            return Ok(None);
        }
        for XdpAttached { prog_id, mode } in link.xdp.iter().copied() {
            if is_ours(prog_id)? {
                let how = if mode == XdpMode::Generic { "xdpgeneric" } else { "xdp" };
                let take_off = format!("`ip link set {} {how} off`", word(&link.name));
                return Ok(Some((ifname(), prog_id, take_off)));
            }
        }
        Ok(None)
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
                let rtnl = self.rtnl(&netns)?;
                rtnl.set_xdp(link.ifindex, Some(&prog), replaced.mode(), None)?;
            }
        }
        pins::remove(pin)
    }

    fn take_off(&self, at: &Interface, prog: Option<&Prog>, mode: XdpMode) -> Result<()> {
        match (prog, self.link(at)?) {
            (Some(prog), Some((netns, link))) => {
                self.rtnl(&netns)?.set_xdp(link.ifindex, None, mode, Some(prog))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a program bears our name.
fn is_ours(prog_id: u32) -> Result<bool> {
    Ok(Prog::by_id(prog_id)?.info()?.name.starts_with("xhop_"))
}

fn runs(link: &LinkInfo, prog_id: u32) -> bool {
    link.xdp.iter().any(|attached| attached.prog_id == prog_id)
}
