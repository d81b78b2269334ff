//! The qdisc that traffic control programs hang on where the kernel has no tcx.

use super::ground::Ground;
use crate::Result;
use crate::container::Interface;

/// Makes it.
pub fn make(ground: Ground, at: &Interface) -> Result<()> {
    let (netns, _) = ground.present(at)?;
    ground.rtnl(&netns)?.add_clsact(at.ifindex)
}

/// Removes it, unless others have come to use it.
pub fn undo(ground: Ground, at: &Interface) -> Result<()> {
    let Some((netns, link)) = ground.link(at)? else { return Ok(()) };
    let rtnl = ground.rtnl(&netns)?;
    match rtnl.has_clsact(link.ifindex)? && rtnl.clsact_is_empty(link.ifindex)? {
        true => rtnl.del_clsact(link.ifindex),
        false => Ok(()),
    }
}

/// Whether it is there.
pub fn holds(ground: Ground, at: &Interface) -> Result<bool> {
    match ground.link(at)? {
        Some((netns, _)) => ground.rtnl(&netns)?.has_clsact(at.ifindex),
        None => Ok(false),
    }
}
