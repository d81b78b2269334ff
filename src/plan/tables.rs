//! The maps that a segment's members share, and what stands in them.

use std::collections::HashSet;
use std::net::IpAddr;

use xhop_asm::MapDecl;
use xhop_asm::blocks::Family;
use xhop_asm::blocks::endpoint::{self, value};

use super::ground::Ground;
use super::pins::{self, MemberPins};
use super::segment::{PINS, Segment};
use crate::Result;
use crate::container::{Interface, Mac};
use crate::sys::bpf::{Map, Prog};
use crate::sys::bpffs;

/// Makes and pins them. Those that are there must be what we would make: all are looked at before
/// the first is made.
pub fn make(segment: &Segment) -> Result<()> {
    all_there(segment)?;
    bpffs::create_dir(PINS.as_ref())?;
    bpffs::create_dir(&segment.pins())?;
    for decl in Segment::maps() {
        pins::ensure_map(&segment.pins().join(decl.name), &decl)?;
    }
    Ok(())
}

/// Whether all are there. A pin of something else in the place of one is an error.
pub fn all_there(segment: &Segment) -> Result<bool> {
    bpffs::refuse_shared(PINS.as_ref())?;
    let mut all = true;
    for decl in Segment::maps() {
        all &= open(segment, &decl)?.is_some();
    }
    Ok(all)
}

/// Removes those that are ours.
pub fn remove(segment: &Segment) -> Result<()> {
    for decl in Segment::maps() {
        pins::remove_map(&segment.pins().join(decl.name), &decl)?;
    }
    pins::remove_dir(&segment.pins())?;
    pins::remove_dir(PINS.as_ref())
}

/// One of them; `None` if it is not there.
fn open(segment: &Segment, decl: &MapDecl) -> Result<Option<Map>> {
    let path = segment.pins().join(decl.name);
    pins::exists(&path).then(|| pins::open_map(&path, decl)).transpose()
}

/// Whether a member's program uses the maps that are pinned, not others that were pinned before; also those of a
/// capture, but none of one that nobody reads any more.
pub fn uses_these(segment: &Segment, member: &MemberPins, prog: &Prog) -> Result<bool> {
    if !pins::exists(&member.stats()) {
        return Ok(false);
    }
    let mut pinned = vec![member.open_stats()?.info().id];
    for decl in Segment::maps() {
        match open(segment, &decl)? {
            Some(map) => pinned.push(map.info().id),
            None => return Ok(false),
        }
    }
    if member.captured_for_nobody()? {
        return Ok(false);
    }
    if member.captured() {
        for (decl, pin) in member.capture() {
            pinned.push(pins::open_map(&pin, &decl)?.info().id);
        }
    }
    let used = prog.info()?.map_ids;
    Ok(used.len() == pinned.len() && pinned.iter().all(|id| used.contains(id)))
}

/// Lets the interface be redirected to.
pub fn allow(ground: &Ground, segment: &Segment, at: &Interface) -> Result<()> {
    let (netns, _) = ground.present(at)?;
    let decl = endpoint::ports();
    let ports = pins::open_map(&segment.pins().join(decl.name), &decl)?;
    let key = at.ifindex.to_ne_bytes();
    // The kernel looks the index up in the calling thread's namespace.
    netns.run(|| ports.update(&key, &key))?
}

/// Lets it be redirected to no more.
pub fn forbid(segment: &Segment, at: &Interface) -> Result<()> {
    match open(segment, &endpoint::ports())? {
        Some(ports) => ports.delete(&at.ifindex.to_ne_bytes()).map(drop),
        None => Ok(()),
    }
}

/// Whether it can be redirected to.
pub fn allowed(segment: &Segment, at: &Interface) -> Result<bool> {
    Ok(listed(segment, at)? == Some(true))
}

/// The same; `None` if there is no table of it.
pub fn listed(segment: &Segment, at: &Interface) -> Result<Option<bool>> {
    let ports = open(segment, &endpoint::ports())?;
    ports.map(|ports| Ok(ports.lookup(&at.ifindex.to_ne_bytes())?.is_some())).transpose()
}

/// All that can be redirected to, by their index.
pub fn redirected_to(segment: &Segment) -> Result<HashSet<u32>> {
    let Some(ports) = open(segment, &endpoint::ports())? else { return Ok(HashSet::new()) };
    let keys = ports.keys()?.into_iter();
    Ok(keys.filter_map(|key| key.first_chunk().copied().map(u32::from_ne_bytes)).collect())
}

/// The index of the interface that an address is sent to; `None` if it is sent to none.
pub fn sent_to(segment: &Segment, address: IpAddr) -> Result<Option<u32>> {
    let (decl, key) = endpoint_key(address);
    let Some(endpoints) = open(segment, &decl)? else { return Ok(None) };
    let entry = endpoints.lookup(&key)?;
    Ok(entry.and_then(|entry| entry.first_chunk().copied()).map(u32::from_ne_bytes))
}

/// Sends an address to an interface.
pub fn send(segment: &Segment, address: IpAddr, at: &Interface, mac: Mac) -> Result<()> {
    let (decl, key) = endpoint_key(address);
    let endpoints = pins::open_map(&segment.pins().join(decl.name), &decl)?;
    endpoints.update(&key, &value::encode(at.ifindex, mac.0))
}

/// Sends it there no more, unless it has become somebody else's meanwhile.
pub fn send_no_more(segment: &Segment, address: IpAddr, at: &Interface) -> Result<()> {
    let (decl, key) = endpoint_key(address);
    let Some(endpoints) = open(segment, &decl)? else { return Ok(()) };
    match endpoints.lookup(&key)? {
        Some(entry) if entry.starts_with(&at.ifindex.to_ne_bytes()) => {
            endpoints.delete(&key).map(drop)
        }
        _ => Ok(()),
    }
}

/// Whether it is sent just there.
pub fn sent(segment: &Segment, address: IpAddr, at: &Interface, mac: Mac) -> Result<bool> {
    let (decl, key) = endpoint_key(address);
    match open(segment, &decl)? {
        Some(endpoints) => Ok(endpoints
            .lookup(&key)?
            .is_some_and(|entry| entry == value::encode(at.ifindex, mac.0))),
        None => Ok(false),
    }
}

/// The map that an address belongs in, and its key there.
fn endpoint_key(address: IpAddr) -> (MapDecl, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (endpoint::endpoints(Family::V4), v4.octets().to_vec()),
        IpAddr::V6(v6) => (endpoint::endpoints(Family::V6), v6.octets().to_vec()),
    }
}
