//! The base chains of nf_tables: which see what is forwarded, and which see what passes an interface.

use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;

use super::super::msg::{attr, attrs, until_nul};
use super::super::socket::{About, Socket};
use super::{BRIDGE, INET, IPV4, IPV6, NFTABLES, is_there, number, place, request};
use crate::Result;
use crate::sys::netns::Netns;
use crate::sys::rule::{Kind, Part, Side};

/// `NFT_MSG_GETCHAIN`, `NFT_MSG_NEWCHAIN`
const GETCHAIN: u16 = 4;
const NEWCHAIN: u16 = NFTABLES | 3;
/// `NFTA_CHAIN_*`, `NFTA_HOOK_*` and `NFTA_DEVICE_*`
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_HOOK_DEVS: u16 = 4;
const NFTA_DEVICE_PREFIX: u16 = 2;
/// `NF_INET_LOCAL_IN`, `NF_INET_FORWARD`, `NF_INET_LOCAL_OUT` (include/uapi/linux/netfilter.h); `NF_BR_*` are the same.
/// `NF_NETDEV_EGRESS` is 1 too.
const LOCAL_IN: u32 = 1;
const FORWARD: u32 = 2;
const LOCAL_OUT: u32 = 3;
/// `NF_DROP`
const DROP: u32 = 0;

/// A chain on a hook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Its family, its table, and its name there: `ip filter FORWARD`.
    pub name: String,
    /// Whether it sees IPv4 that is forwarded.
    pub v4: bool,
    /// Whether it sees IPv6 that is forwarded.
    pub v6: bool,
    /// Whether it sees only what is to the host itself, or from it.
    pub is_local: bool,
    /// Whether it drops what no rule of it takes.
    pub drops: bool,
    /// The interfaces that it is bound to.
    pub to: Vec<Part>,
}

/// Those of a namespace; none where the kernel has not loaded nf_tables.
pub fn chains(netns: &Netns) -> Result<Vec<Chain>> {
    match is_there()? {
        true => read_chains(&Socket::open_in(netns, NlFamily::Netfilter)?),
        false => Ok(Vec::new()),
    }
}

pub(super) fn read_chains(socket: &Socket) -> Result<Vec<Chain>> {
    let about = About { call: "NFT_MSG_GETCHAIN", on: "all chains" };
    let mut found = Vec::new();
    socket.dump_each(about, &|| request(GETCHAIN, 0, NlmF::DUMP), &mut |item| {
        match item {
            Some((NEWCHAIN, body)) => found.extend(parse(body)?),
            Some(_) => {}
            None => found.clear(),
        }
        Some(())
    })?;
    Ok(found)
}

/// Reads what follows the header: nothing if it is on no hook, `None` if it is malformed.
pub(super) fn parse(body: &[u8]) -> Option<Option<Chain>> {
    let (family, tail) = (*body.first()?, body.get(4..)?);
    let Some(hook) = attr(tail, NFTA_CHAIN_HOOK) else { return Some(None) };
    let hooknum = number(hook, NFTA_HOOK_HOOKNUM);
    let forwards = hooknum == Some(FORWARD);
    let devices = attrs(attr(hook, NFTA_HOOK_DEVS).unwrap_or_default());
    let one = attr(hook, NFTA_HOOK_DEV).map(|name| (NFTA_HOOK_DEV, name));
    let part = |(kind, name): (u16, &[u8])| {
        // Of a prefix the rest may be anything.
        let name = if kind == NFTA_DEVICE_PREFIX { until_nul(name) } else { name };
        Part::between(Kind::Ifname, Side::From, name, name)
    };
    Some(Some(Chain {
        name: place(family, attr(tail, NFTA_CHAIN_TABLE)?, attr(tail, NFTA_CHAIN_NAME)?),
        v4: forwards && matches!(family, INET | IPV4),
        v6: forwards && matches!(family, INET | IPV6),
        is_local: matches!(family, INET | IPV4 | IPV6 | BRIDGE)
            && matches!(hooknum, Some(LOCAL_IN | LOCAL_OUT)),
        drops: number(tail, NFTA_CHAIN_POLICY) == Some(DROP),
        to: devices.chain(one).map(part).collect(),
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
        let (name, to) = ("ip filter FORWARD".to_owned(), Vec::new());
        let chain = |drops| {
            let (name, to) = (name.clone(), to.clone());
            Chain { name, v4: true, v6: false, is_local: false, drops, to }
        };
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
