//! `count`, which [`ABOUT`] and [`CONTRACT`] describe.

use super::Shipped;
use crate::assembler::Assembler;
use crate::blocks::count::{self, Verdict};
use crate::blocks::{END, PKT, parse};
use crate::error::Error;
use crate::program::Program;
use crate::reg::{R0, R8, R9};
use crate::xdp;

/// What it does.
pub(super) const ABOUT: &str = "\
Counts every frame as forwarded, since it has got here, and drops it. `xhop bench --frames` puts it
on the eth0 of a throw-away container to see what arrives; it is never attached to another.";

/// Its registers.
pub(super) const CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is XDP_DROP
r6     the packet
r7     its end; once it is counted, bytes of the frame
r8     the verdict that is counted
r9     the ingress interface, which nobody asks for";

/// The program.
pub fn count() -> Result<Program, Error> {
    let mut asm = Assembler::new(Shipped::Count.name());
    let stats = asm.map(count::stats());
    let counted = asm.label("counted");
    parse::context(&mut asm, R9);
    asm.mov(R8, Verdict::Forwarded as i32, "it was forwarded: it is here");
    asm.sub(END, PKT, "bytes of the frame");
    count::count(&mut asm, stats, R8, END, counted);
    asm.mov(R0, xdp::DROP, "verdict: nobody else needs it");
    asm.exit("done");
    asm.finish()
}
