//! `bounce`, which [`ABOUT`] and [`CONTRACT`] describe.

use super::Shipped;
use crate::assembler::Assembler;
use crate::blocks::{chain, parse};
use crate::error::Error;
use crate::net::eth;
use crate::program::Program;
use crate::reg::{R0, R9};
use crate::xdp;

/// What it does.
pub(super) const ABOUT: &str = "\
The plainest member of a chain, on a container's eth0: what bears the mark of a chain goes back where it came
from, by XDP_TX, so that `next` sends it on. The way back is the same to it. All else is the container's own, and goes to its stack.";

/// Its registers.
pub(super) const CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the action
r6     the packet
r7     its end
r9     the interface, which nobody asks for";

/// The program.
pub fn bounce() -> Result<Program, Error> {
    let mut asm = Assembler::new(Shipped::Bounce.name());
    let own = asm.label("own");
    parse::context(&mut asm, R9);
    parse::within(&mut asm, eth::LEN, &own, "too short for Ethernet");
    chain::on_its_way(&mut asm, &own);
    asm.mov(R0, xdp::TX, "XDP_TX: on its way through a chain");
    asm.exit("done");
    asm.bind(own);
    asm.mov(R0, xdp::PASS, "XDP_PASS: the container's own");
    asm.exit("done");
    asm.finish()
}
