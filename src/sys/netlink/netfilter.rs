//! Which chains of nf_tables see what is forwarded (include/uapi/linux/netfilter/nf_tables.h): those of nft(8),
//! and of iptables(8) where it is made of nf_tables.

use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;

use super::msg::{Message, attr, text};
use super::socket::{About, Socket, malformed};
use crate::Result;
use crate::sys::netns::Netns;

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETCHAIN`, `NFT_MSG_NEWCHAIN`.
const GETCHAIN: u16 = 10 << 8 | 4;
const NEWCHAIN: u16 = 10 << 8 | 3;
/// `NFTA_CHAIN_*` and `NFTA_HOOK_HOOKNUM`; their numbers are big-endian.
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
/// `NF_INET_FORWARD` (include/uapi/linux/netfilter.h)
const FORWARD: u32 = 2;
/// `NFPROTO_*`
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// `NF_DROP`
const DROP: u32 = 0;

/// A chain on the hook of what is forwarded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardChain {
    /// Its table, and its name there.
    pub name: String,
    /// Whether it sees IPv4.
    pub v4: bool,
    /// Whether it sees IPv6.
    pub v6: bool,
    /// Whether it drops what no rule of it takes.
    pub drops: bool,
}

/// Those of a namespace. An error on a kernel without nf_tables.
pub fn forward_chains(netns: &Netns) -> Result<Vec<ForwardChain>> {
    let socket = Socket::open_in(netns, NlFamily::Netfilter)?;
    let about = About { call: "NFT_MSG_GETCHAIN", on: "all chains" };
    // struct nfgenmsg: any family, version 0.
    let ask = || Message::new(GETCHAIN, NlmF::REQUEST | NlmF::DUMP, &[0; 4]);
    let items = socket.dump(about, ask)?;
    let chains = items.iter().filter(|(kind, _)| *kind == NEWCHAIN);
    let mut found = Vec::new();
    for (_, body) in chains {
        found.extend(parse(body).ok_or_else(|| malformed(about))?);
    }
    Ok(found)
}

/// Reads what follows the header: nothing if it is no such chain, `None` if it is malformed.
fn parse(body: &[u8]) -> Option<Option<ForwardChain>> {
    let (family, tail) = (*body.first()?, body.get(4..)?);
    let number = |bytes: &[u8]| bytes.first_chunk().copied().map(u32::from_be_bytes);
    let hook = attr(tail, NFTA_CHAIN_HOOK).and_then(|hook| attr(hook, NFTA_HOOK_HOOKNUM));
    if !matches!(family, INET | IPV4 | IPV6) || hook.and_then(number) != Some(FORWARD) {
        return Some(None);
    }
    let named = |kind: u16| attr(tail, kind).map(text);
    Some(Some(ForwardChain {
        name: format!("{} {}", named(NFTA_CHAIN_TABLE)?, named(NFTA_CHAIN_NAME)?),
        v4: family != IPV6,
        v6: family != IPV4,
        drops: attr(tail, NFTA_CHAIN_POLICY).and_then(number) == Some(DROP),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_bytes_do_not_panic() {
        let mut body = vec![IPV4, 0, 0, 0];
        for (kind, payload) in
            [(NFTA_CHAIN_TABLE, &b"filter\0"[..]), (NFTA_CHAIN_NAME, b"FORWARD\0")]
        {
            body.extend((payload.len() as u16 + 4).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(payload);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        // The hook with its number, then the policy.
        for (len, kind) in [(12u16, NFTA_CHAIN_HOOK), (8, NFTA_HOOK_HOOKNUM)] {
            body.extend(len.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
        }
        body.extend(FORWARD.to_be_bytes());
        let chain =
            |drops| ForwardChain { name: "filter FORWARD".into(), v4: true, v6: false, drops };
        assert_eq!(parse(&body), Some(Some(chain(false))));
        body.extend(8u16.to_ne_bytes());
        body.extend(NFTA_CHAIN_POLICY.to_ne_bytes());
        body.extend(DROP.to_be_bytes());
        assert_eq!(parse(&body), Some(Some(chain(true))));
        for len in 0..body.len() {
            let _ = parse(&body[..len]);
        }
    }
}
