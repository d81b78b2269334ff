//! Who is joined and need not be looked at: what `up` asks of the members that nobody has named, in a few
//! calls for all of them, so that one more container costs no more the more there are.

use std::collections::HashSet;

use super::ground::Ground;
use super::segment::Segment;
use super::{record, tables};
use crate::Result;

/// The host's ends, by index, of which no more has to be known: each is a port of the bridge, and can be
/// redirected to; the kernel takes its entry out with the very interface. None, if a map is lost, since then
/// all programs are to be loaded anew, or if an `up` or `down` was cut off.
pub fn sound(segment: &Segment, ground: Ground) -> Result<HashSet<u32>> {
    if record::cut_off(segment) || !tables::all_there(segment)? {
        return Ok(HashSet::new());
    }
    let mut sound = tables::redirected_to(segment)?;
    if !sound.is_empty() {
        let ports = ground.bridge_ports(&segment.bridge)?;
        sound.retain(|ifindex| ports.contains(ifindex));
    }
    Ok(sound)
}
