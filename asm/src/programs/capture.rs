//! Programs that forward and tell of each packet besides, as [`ABOUT`] describes.

use super::exits::Told;
use super::{Checksum, Shipped, forward, peer};
use crate::error::Error;
use crate::hook::Hook;
use crate::program::Program;

/// What they do besides.
pub(super) const ABOUT: &str = "\
While somebody captures, it is in the place of the program without `+capture`: each packet that came by is told
of, with its verdict and its first bytes as they are when it leaves. What finds no room in the ring is lost to the
capture and counted; the packet itself goes its way all the same.";

/// The registers of `peer+capture`.
pub(super) const PEER_CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the action
r6     the packet; at the end the capture's tally
r7     the end of what lies there; at the end bytes of the frame, then as many as are told
r8     the destination's endpoint until the decision, then the verdict, then the record
r9     the host veth that it came in by until the source is verified, then the action";

/// The registers of the others.
pub(super) const FORWARD_CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the action
r6     the packet; at the end the capture's tally
r7     its end; once the verdict is known, bytes of the frame, then as many as are told
r8     the destination's endpoint until the decision, then the verdict, then the record
r9     the ingress interface until the source is verified, then the action that is returned";

/// Which of the programs that forward.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Captured {
    /// [`forward()`](super::forward())
    Forward(Checksum),
    /// [`forward_frags()`](super::forward_frags())
    ForwardFrags,
    /// [`peer()`](super::peer())
    Peer,
}

/// The program.
pub fn captured(what: Captured) -> Result<Program, Error> {
    let shipped = Shipped::Captured(what);
    match what {
        Captured::Forward(checksum) => forward::assemble(shipped, Hook::Xdp, checksum, Told::Yes),
        Captured::ForwardFrags => {
            forward::assemble(shipped, Hook::XdpFrags, Checksum::Keep, Told::Yes)
        }
        Captured::Peer => peer::assemble(shipped, Told::Yes),
    }
}
