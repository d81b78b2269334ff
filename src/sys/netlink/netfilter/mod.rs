//! nf_tables, as nft(8) and iptables(8), where it is made of it, have filled it: its chains and its rules
//! (include/uapi/linux/netfilter/nf_tables.h). Numbers in its attributes are big-endian.
//!
//! Who asks a kernel that has it as a module loads that: so it is looked first whether it is there.

mod chain;
mod expr;
mod rules;
mod set;
#[cfg(test)]
mod tests;

use neli::consts::nl::NlmF;

pub use chain::{Chain, chains};
pub use rules::rules;

use super::msg::{Message, attr, text};
use crate::{Error, Result};

/// `NFNL_SUBSYS_NFTABLES`, in the upper byte of the kind of a message; `NFT_MSG_*` in the lower.
const NFTABLES: u16 = 10 << 8;
/// `NFPROTO_*`
const INET: u8 = 1;
const IPV4: u8 = 2;
const ARP: u8 = 3;
const NETDEV: u8 = 5;
const BRIDGE: u8 = 7;
const IPV6: u8 = 10;
/// `NFTA_DATA_VALUE`
const VALUE: u16 = 1;

/// A request with its `struct nfgenmsg`: the family, version 0.
fn request(kind: u16, family: u8, flags: NlmF) -> Message {
    Message::new(NFTABLES | kind, NlmF::REQUEST | flags, &[family, 0, 0, 0])
}

/// An attribute that is a number.
fn number(attrs: &[u8], kind: u16) -> Option<u32> {
    attr(attrs, kind)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// An attribute that is a value: `NFTA_DATA_VALUE` in a nest.
fn value(attrs: &[u8], kind: u16) -> Option<&[u8]> {
    attr(attr(attrs, kind)?, VALUE)
}

/// A chain's family, table and name, in the words of nft(8).
fn place(family: u8, table: &[u8], chain: &[u8]) -> String {
    let family = match family {
        INET => "inet ",
        IPV4 => "ip ",
        IPV6 => "ip6 ",
        BRIDGE => "bridge ",
        NETDEV => "netdev ",
        _ => "",
    };
    family.to_owned() + &text(table) + " " + &text(chain)
}

/// Whether the kernel has it now.
fn is_there() -> Result<bool> {
    let has = |path: &str, words: &[u8]| {
        let text = std::fs::read(path).map_err(Error::io(path));
        text.map(|text| text.windows(words.len()).any(|bytes| bytes == words))
    };
    match has("/proc/modules", b"nf_tables ") {
        Ok(false) => {}
        // What is not made of modules has it or has it not, whoever asks.
        _ => return Ok(true),
    }
    let uname = nix::sys::utsname::uname().map_err(Error::sys("uname", "this host"))?;
    let built_in = format!("/lib/modules/{}/modules.builtin", uname.release().to_string_lossy());
    has(&built_in, b"/nf_tables.ko")
        // As in a container that has none of the host's files.
        .or_else(|_| has("/proc/kallsyms", b" nft_do_chain\n"))
}
