//! Who is joined: containers, and how a capture tells of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use xhop_asm::blocks::Family;
use xhop_asm::blocks::endpoint::{self, value};

use crate::error::Error;
use crate::vm::Vm;
use crate::wire::{Mac, Wire};

/// A container as the programs know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// Its host side's index.
    pub ifindex: u32,
    /// Its own Ethernet address.
    pub mac: Mac,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
}

/// What a capture tells of who is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Who is taken for a container.
    pub containers: Vec<Container>,
    /// Who is not, and why.
    pub left_out: Vec<(Mac, &'static str)>,
}

impl Container {
    /// Joins it: its addresses, and its host side as a port. A map that the program does not have
    /// needs no entry. Errors: a map is full.
    pub fn join(&self, vm: &Vm) -> Result<(), Error> {
        let endpoint = value::encode(self.ifindex, self.mac.0);
        let insert = |name: &str, key: &[u8], value: &[u8]| match vm.map(name) {
            Ok(map) => map.insert(key, value),
            Err(_) => Ok(()),
        };
        for address in &self.addresses {
            match address {
                IpAddr::V4(ip) => {
                    insert(endpoint::endpoints(Family::V4).name, &ip.octets(), &endpoint)?;
                }
                IpAddr::V6(ip) => {
                    insert(endpoint::endpoints(Family::V6).name, &ip.octets(), &endpoint)?;
                }
            }
        }
        let port = self.ifindex.to_ne_bytes();
        insert(endpoint::ports().name, &port, &port)
    }
}

/// Whether the program asks who is joined.
pub fn asks(vm: &Vm) -> bool {
    vm.map(endpoint::endpoints(Family::V4).name).is_ok()
}

/// Reads the containers off a capture: each unicast Ethernet address with the IP addresses that go
/// with it, as source or destination of untagged packets and as sender of ARP. Their host sides get
/// the indexes 1, 2, 3... in the order in which the containers appear.
///
/// Left out, for they may be routers: those with more than one IPv4 address, or IPv6 address that is
/// not link-local. An address that goes with two of the others is nobody's.
pub fn found<'a>(frames: impl Iterator<Item = &'a [u8]>) -> Found {
    let mut seen = Seen::default();
    for wire in frames.filter_map(Wire::read).filter(|wire| wire.vlan.is_none()) {
        let Some((src, dst)) = wire.ips else { continue };
        seen.pair(wire.src, src);
        if !wire.is_arp() {
            seen.pair(wire.dst, dst);
        }
    }
    seen.judge()
}

#[derive(Default)]
struct Seen {
    /// In the order of their appearance.
    hosts: Vec<(Mac, Addresses)>,
    /// Places in `hosts`.
    places: BTreeMap<Mac, usize>,
}

/// One of a kind is kept; a second of that kind is what makes a router.
#[derive(Default)]
struct Addresses {
    one: [Option<IpAddr>; 3],
    more: bool,
}

impl Seen {
    fn pair(&mut self, mac: Mac, ip: IpAddr) {
        if !mac.is_unicast() || !is_own(ip) {
            return;
        }
        let place = *self.places.entry(mac).or_insert(self.hosts.len());
        if place == self.hosts.len() {
            self.hosts.push((mac, Addresses::default()));
        }
        let Some((_, addresses)) = self.hosts.get_mut(place) else { return };
        let kind = match ip {
            IpAddr::V4(_) => 0,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => 1,
            IpAddr::V6(_) => 2,
        };
        addresses.more |= *addresses.one[kind].get_or_insert(ip) != ip;
    }

    fn judge(self) -> Found {
        let mut owners = BTreeMap::<IpAddr, usize>::new();
        let hosts = self.hosts.iter().filter(|(_, seen)| !seen.more);
        for ip in hosts.flat_map(|(_, seen)| seen.one).flatten() {
            *owners.entry(ip).or_default() += 1;
        }
        let mut found = Found::default();
        for (mac, seen) in &self.hosts {
            let own = seen.one.into_iter().flatten().filter(|ip| owners.get(ip) == Some(&1));
            let addresses: Vec<IpAddr> = own.collect();
            if seen.more {
                found.left_out.push((*mac, "several addresses of one kind: a router?"));
            } else if addresses.is_empty() {
                found.left_out.push((*mac, "its addresses are also another's"));
            } else {
                let ifindex = found.containers.len() as u32 + 1;
                found.containers.push(Container { ifindex, mac: *mac, addresses });
            }
        }
        found
    }
}

/// Whether an interface may have it.
fn is_own(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_multicast() || ip.is_broadcast() || ip.is_loopback() || ip.octets()[0] == 0)
        }
        IpAddr::V6(ip) => !(ip.is_multicast() || ip.is_loopback() || ip.is_unspecified()),
    }
}
