//! The network namespaces of this host, looked for no further than is asked: a host has many, and most
//! commands are about a few.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::host::Host;
use super::interface::Interface;
use super::name::Name;
use crate::Result;
use crate::sys::ethtool::Ethtool;
use crate::sys::netlink::Rtnl;
use crate::sys::netlink::netdev::Netdev;
use crate::sys::netns::{self, Netns, Place};

/// All network namespaces that can be reached. Each is opened when it is asked for, and stays open.
pub struct Namespaces {
    /// The caller's first. None is ever taken out.
    open: RefCell<Vec<Rc<Netns>>>,
    /// Where there are others, as far as they were looked for, and where more may be.
    places: RefCell<Vec<Rc<Place>>>,
    further: RefCell<Box<dyn Iterator<Item = Result<Place>>>>,
    /// How many of the places were tried in turn.
    tried: Cell<usize>,
    nsids: RefCell<Nsids>,
    host: Host,
    rtnl: Recent<Rtnl>,
    ethtool: Recent<Ethtool>,
    netdev: Recent<Netdev>,
    /// Interfaces that were found in another namespace than before: as they were, and where they are.
    moved: RefCell<Vec<(Interface, InterfaceAt)>>,
}

/// The inode number of a namespace, and an index there.
type InterfaceAt = (u64, u32);

/// What namespaces call each other.
#[derive(Default)]
struct Nsids {
    /// By the inode number of who calls it so, and the id.
    known: HashMap<(u64, i32), Rc<Netns>>,
    /// How many of those that are open the one with this inode number was asked for.
    asked: HashMap<u64, usize>,
    /// What the last one that was asked for the first time was asked for: the containers of a bridge are
    /// all asked for the same, the bridge's.
    likely: Option<Rc<Netns>>,
}

impl Namespaces {
    /// Begins with the caller's own.
    pub fn find() -> Result<Self> {
        netns::allow_descriptors();
        Ok(Self {
            open: RefCell::new(vec![Rc::new(Netns::current()?)]),
            places: RefCell::default(),
            further: RefCell::new(Box::new(netns::places())),
            tried: Cell::new(0),
            nsids: RefCell::default(),
            host: Host::default(),
            rtnl: Recent::default(),
            ethtool: Recent::default(),
            netdev: Recent::default(),
            moved: RefCell::default(),
        })
    }

    /// Each of them.
    pub fn all(&self) -> Result<Vec<Rc<Netns>>> {
        while self.open_next()? {}
        Ok(self.open.borrow().clone())
    }

    /// The one with this inode number; `None` if it is gone.
    pub fn by_inode(&self, inode: u64) -> Result<Option<Rc<Netns>>> {
        if let Some(netns) = self.opened(inode) {
            return Ok(Some(netns));
        }
        let place = self.place_of(inode)?;
        Ok(place.map_or(Ok(None), |place| place.open())?.map(|netns| self.keep(netns)))
    }

    /// The caller's own.
    pub fn own(&self) -> Result<Rc<Netns>> {
        self.open.borrow().first().cloned().ok_or(crate::Error::NamespaceGone)
    }

    /// Keeps one that was opened by its name.
    pub fn keep(&self, netns: Netns) -> Rc<Netns> {
        if let Some(known) = self.opened(netns.inode()) {
            return known;
        }
        let netns = Rc::new(netns);
        self.open.borrow_mut().push(netns.clone());
        netns
    }

    /// The one that `seen_from` knows by this id; the id stands at one end of a veth for the other's.
    pub fn by_nsid(&self, seen_from: &Netns, nsid: i32) -> Result<Option<Rc<Netns>>> {
        let key = (seen_from.inode(), nsid);
        let mut nsids = self.nsids.borrow_mut();
        if let Some(netns) = nsids.known.get(&key) {
            return Ok(Some(netns.clone()));
        }
        let rtnl = self.rtnl(seen_from)?;
        let first = !nsids.asked.contains_key(&key.0);
        if let Some(netns) = nsids.likely.clone().filter(|_| first) {
            if rtnl.nsid_of(&netns)? == Some(nsid) {
                return Ok(Some(nsids.known.entry(key).or_insert(netns).clone()));
            }
        }
        // Each is asked for once.
        loop {
            let asked = nsids.asked.entry(key.0).or_default();
            let Some(netns) = self.open.borrow().get(*asked).cloned() else {
                match self.open_next()? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            *asked += 1;
            let Some(id) = rtnl.nsid_of(&netns)? else { continue };
            nsids.known.insert((key.0, id), netns.clone());
            if id == nsid {
                if first {
                    nsids.likely = Some(netns.clone());
                }
                return Ok(Some(netns));
            }
        }
    }

    /// The containers in them.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whose the one with this inode number is: `docker:web`, `netns:a`; `None` if it is nobody's. Of several
    /// containers that share it, that which was there first.
    ///
    /// However many are asked for, all processes are gone through once, and each engine is asked once.
    ///
    /// # Errors
    /// If an engine answers wrongly or a storage can't be read.
    pub fn owner(&self, inode: u64) -> Result<Option<Name>> {
        if let Some(container) = self.host.at(inode)? {
            return Ok(Some(container.name.clone()));
        }
        let place = self.place_of(inode)?;
        Ok(place.and_then(|place| format!("netns:{}", place.name()?).parse().ok()))
    }

    /// A routing socket there.
    pub fn rtnl(&self, netns: &Netns) -> Result<Rc<Rtnl>> {
        self.rtnl.get(netns, Rtnl::open_in)
    }

    /// A socket for ethtool's calls there.
    pub fn ethtool(&self, netns: &Netns) -> Result<Rc<Ethtool>> {
        self.ethtool.get(netns, Ethtool::open_in)
    }

    /// A socket to ask drivers there what they can do with XDP.
    pub fn netdev(&self, netns: &Netns) -> Result<Rc<Netdev>> {
        self.netdev.get(netns, Netdev::open_in)
    }

    /// Notes that an interface was found elsewhere.
    pub fn moved(&self, was: &Interface, is: &Interface) {
        self.moved.borrow_mut().push((was.clone(), (is.netns, is.ifindex)));
    }

    /// Where the interface is now, as far as it is known.
    pub fn where_now(&self, at: &Interface) -> InterfaceAt {
        let moved = self.moved.borrow();
        let found = moved.iter().rev().find(|(was, _)| was == at);
        found.map_or((at.netns, at.ifindex), |(_, is)| *is)
    }

    fn opened(&self, inode: u64) -> Option<Rc<Netns>> {
        self.open.borrow().iter().find(|netns| netns.inode() == inode).cloned()
    }

    /// The place of this number, looked for no further than that; `None` if there are no more.
    fn place(&self, at: usize) -> Result<Option<Rc<Place>>> {
        let mut places = self.places.borrow_mut();
        while places.len() <= at {
            let Some(place) = self.further.borrow_mut().next() else { return Ok(None) };
            places.push(Rc::new(place?));
        }
        Ok(places.get(at).cloned())
    }

    /// Where the one with this inode number is.
    fn place_of(&self, inode: u64) -> Result<Option<Rc<Place>>> {
        let mut at = 0;
        while let Some(place) = self.place(at)? {
            if place.inode == inode {
                return Ok(Some(place));
            }
            at += 1;
        }
        Ok(None)
    }

    /// Opens one more; false if all are open.
    fn open_next(&self) -> Result<bool> {
        while let Some(place) = self.place(self.tried.get())? {
            self.tried.set(self.tried.get() + 1);
            if self.opened(place.inode).is_some() {
                continue;
            }
            if let Some(netns) = place.open()? {
                self.keep(netns);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// How many sockets of a kind are kept. The bridge's namespace is asked again and again, a container's a
/// few times in a row.
const KEPT: usize = 4;

/// The sockets that were used last, by the inode number of their namespace.
struct Recent<T>(RefCell<Vec<(u64, Rc<T>)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Recent<T> {
    fn get(&self, netns: &Netns, open: impl Fn(&Netns) -> Result<T>) -> Result<Rc<T>> {
        let mut kept = self.0.borrow_mut();
        let found = match kept.iter().position(|(inode, _)| *inode == netns.inode()) {
            Some(at) => kept.remove(at),
            None => (netns.inode(), Rc::new(open(netns)?)),
        };
        let socket = found.1.clone();
        kept.insert(0, found);
        kept.truncate(KEPT);
        Ok(socket)
    }
}
