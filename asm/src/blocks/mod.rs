//! What programs are made of. A block emits a few instructions into an assembler; its
//! documentation is its contract: which registers it reads, gives and loses.
//!
//! All blocks keep to one assignment: [`PKT`] and [`END`] hold the packet from the first
//! instruction to the last, `r0` to `r5` are free for all, `r8` and `r9` are the program's.

pub mod capture;
pub mod chain;
pub mod checksum;
pub mod count;
pub mod csum_diff;
pub mod endpoint;
pub mod parse;
pub mod report_loop;
pub mod skb;
pub mod verify_source;

use crate::reg::{R6, R7, Reg};

/// The packet's first byte.
pub const PKT: Reg = R6;
/// The byte after its last.
pub const END: Reg = R7;

/// The two versions of IP, and where their headers differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}
