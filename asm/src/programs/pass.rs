//! `pass`, which [`ABOUT`] describes.

use super::Shipped;
use crate::assembler::Assembler;
use crate::error::Error;
use crate::program::Program;
use crate::reg::R0;
use crate::xdp;

/// What it does.
pub(super) const ABOUT: &str = "\
Gives every packet to the kernel. On a container's eth0 its mere presence makes the veth poll with
NAPI, without which a native redirect to the host side is dropped (drivers/net/veth.c,
`veth_xdp_xmit`).";

/// Its registers.
pub(super) const CONTRACT: &str = "r0     the verdict";

/// The program. No maps, no reads, no writes.
pub fn pass() -> Result<Program, Error> {
    let mut asm = Assembler::new(Shipped::Pass.name());
    asm.mov(R0, xdp::PASS, "verdict: the kernel takes it");
    asm.exit("done");
    asm.finish()
}
