//! A chain's maps, and what stands in them. Nobody else uses them, so that they are made anew and filled at once.

use xhop_asm::MapDecl;
use xhop_asm::blocks::{chain, endpoint};

use super::super::pins;
use super::super::segment::PINS;
use super::Chain;
use crate::Result;
use crate::sys::bpf::Map;
use crate::sys::bpffs;

/// Those that its programs share.
pub fn maps(of: &Chain) -> Vec<MapDecl> {
    let mut maps = vec![chain::matches(), chain::hops(), endpoint::ports()];
    maps.extend(of.back.then(chain::hops_back));
    maps
}

/// Makes, fills and pins them; who may be redirected to is not yet among it.
pub fn make(made: &Chain) -> Result<()> {
    let folder = made.segment().pins();
    bpffs::create_dir(PINS.as_ref())?;
    bpffs::create_dir(&folder)?;
    let open = |decl: MapDecl| {
        let path = folder.join(decl.name);
        // One that was left is of nobody.
        pins::remove_map(&path, &decl)?;
        pins::ensure_map(&path, &decl)
    };
    let matches = open(chain::matches())?;
    for one in &made.matches {
        matches.update(&one.key(), &[0; 4])?;
    }
    let hops = open(chain::hops())?;
    let from = std::iter::once(&made.nic).chain(made.members.iter().map(|stop| &stop.host));
    for (at, from) in from.enumerate() {
        let ahead = made.members.get(at..).unwrap_or_default();
        if let Some(next) = ahead.first() {
            let hosts: Vec<u32> = ahead.iter().map(|stop| stop.host.ifindex).collect();
            let value = chain::hop::encode(&hosts, next.mac.0, [0; 6]);
            hops.update(&from.ifindex.to_ne_bytes(), &value)?;
        }
    }
    if made.back {
        way_back(made, &open(chain::hops_back())?)?;
    }
    open(endpoint::ports()).map(drop)
}

/// From each member to those before it, the nearest first. From the first one nobody is ahead.
fn way_back(made: &Chain, hops: &Map) -> Result<()> {
    for (at, from) in made.members.iter().enumerate() {
        let before = made.members.get(..at).unwrap_or_default();
        let hosts: Vec<u32> = before.iter().rev().map(|stop| stop.host.ifindex).collect();
        let next = before.last().map_or([0; 6], |stop| stop.mac.0);
        let value = chain::hop::encode(&hosts, next, from.mac.0);
        hops.update(&from.host.ifindex.to_ne_bytes(), &value)?;
    }
    Ok(())
}

/// Whether all are there.
pub fn there(made: &Chain) -> bool {
    let folder = made.segment().pins();
    maps(made).iter().all(|decl| pins::open_map(&folder.join(decl.name), decl).is_ok())
}

/// Removes them.
pub fn remove(made: &Chain) -> Result<()> {
    let folder = made.segment().pins();
    for decl in maps(made) {
        pins::remove_map(&folder.join(decl.name), &decl)?;
    }
    pins::remove_dir(&folder)?;
    pins::remove_dir(PINS.as_ref())
}
