//! The rules of iptables-legacy(8) and ip6tables-legacy(8), asked of the kernel as these do
//! (include/uapi/linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h, netfilter/x_tables.h).
//!
//! Who asks for a table that is not there makes it: so only those are asked for that /proc says are.

pub(super) mod part;
#[cfg(test)]
mod tests;

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use self::part::{addresses, interfaces, of_match, of_target};
use super::netlink::msg::{text, u16_at, u32_at, until_nul};
use super::netns::Netns;
use super::rule::{Kind, Rule, Sought};
use super::socket::open;
use crate::{Error, Result};

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`, and those of IPv6.
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;
/// Bytes of a table's name.
const NAME: usize = 32;
/// Bytes of `struct ipt_getinfo`: the name, valid hooks, an entry and an underflow of each hook, how many
/// entries, and their bytes.
const INFO: usize = 84;
/// Where the entries begin in `struct ipt_get_entries`.
const ENTRIES: usize = 40;
/// Bytes before what is in a `struct xt_entry_match` or `xt_entry_target`: its size, its name, its revision.
const HEAD: usize = 32;

/// One of the two.
#[derive(Clone, Copy)]
struct Family {
    by: &'static str,
    /// Where its tables are listed.
    names: &'static str,
    domain: i32,
    level: i32,
    ip: Kind,
    /// Where the flags of `struct ipt_ip` for what is turned round are.
    inverted: usize,
    /// Where the offset of the target is in `struct ipt_entry`, and after it that of the next entry.
    offsets: usize,
    /// Bytes of a `struct ipt_entry`.
    entry: usize,
}

const FAMILIES: [Family; 2] = [
    Family {
        by: "iptables-legacy",
        names: "/proc/thread-self/net/ip_tables_names",
        domain: libc::AF_INET,
        level: libc::IPPROTO_IP,
        ip: Kind::V4,
        inverted: 83,
        offsets: 88,
        entry: 112,
    },
    Family {
        by: "ip6tables-legacy",
        names: "/proc/thread-self/net/ip6_tables_names",
        domain: libc::AF_INET6,
        level: libc::IPPROTO_IPV6,
        ip: Kind::V6,
        inverted: 132,
        offsets: 140,
        entry: 168,
    },
];

/// Who is given the rules that name somebody, and whom.
type Each<'e> = &'e mut dyn FnMut(&Rule, &[bool]);

/// Gives `each` the rules of a namespace that name somebody, and whom, as [`Sought::named_by`] does. Changes nothing
/// there.
pub fn rules(netns: &Netns, sought: &Sought, each: Each) -> Result<()> {
    netns.run(|| FAMILIES.iter().try_for_each(|family| family.rules(sought, each)))?
}

impl Family {
    fn rules(&self, sought: &Sought, each: Each) -> Result<()> {
        // Without the module there are none.
        let names = std::fs::read_to_string(self.names).unwrap_or_default();
        for table in names.lines() {
            let socket = open(self.domain, libc::SOCK_DGRAM, 0, self.by)?;
            let mut info = named(table, INFO);
            self.get(&socket, GET_INFO, table, &mut info)?;
            let size = info.split_off(INFO - 4);
            let bytes = u32_at(&size, 0).unwrap_or(0) as usize;
            let mut entries = named(table, ENTRIES.saturating_add(bytes));
            // The same size is to be asked for.
            entries.iter_mut().skip(NAME).zip(size).for_each(|(to, byte)| *to = byte);
            self.get(&socket, GET_ENTRIES, table, &mut entries)?;
            let entries = entries.split_off(ENTRIES);
            let malformed = || Error::Reply { call: "IPT_SO_GET_ENTRIES", on: table.into() };
            self.parse(table, &info, &entries, &mut |rule| {
                let named = sought.named_by(rule);
                if named.contains(&true) && !sought.is_elsewhere(rule) {
                    each(rule, &named);
                }
            })
            .ok_or_else(malformed)?;
        }
        Ok(())
    }

    /// Rules that change meanwhile are an error (EAGAIN).
    fn get(&self, socket: &OwnedFd, option: i32, table: &str, value: &mut [u8]) -> Result<()> {
        let mut len = value.len() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes, which the value has.
        let got = unsafe {
            let value = value.as_mut_ptr().cast();
            libc::getsockopt(socket.as_raw_fd(), self.level, option, value, &raw mut len)
        };
        Errno::result(got).map(drop).map_err(Error::sys("getsockopt", table))
    }

    /// Reads the entries of a table; `None` if they are malformed.
    fn parse(
        &self,
        table: &str,
        info: &[u8],
        entries: &[u8],
        each: &mut dyn FnMut(&Rule),
    ) -> Option<()> {
        let (mut at, mut chain, mut number, mut is_local) = (0, String::new(), 0, false);
        while at < entries.len() {
            let rest = entries.get(at..)?;
            let target = usize::from(u16_at(rest, self.offsets)?);
            let entry = rest.get(..usize::from(u16_at(rest, self.offsets + 2)?))?;
            let (mut matches, target) = (entry.get(self.entry..target)?, entry.get(target..)?);
            let (name, revision, data) = extension(target)?;
            if let Some(hook) = hook_at(info, at) {
                (chain, number, is_local) = (hook.into(), 0, matches!(hook, "INPUT" | "OUTPUT"));
            }
            at += entry.len();
            // It stands before a chain of the user's own, and after all.
            if name == b"ERROR" {
                (chain, number, is_local) = (text(data), 0, false);
                continue;
            }
            number += 1;
            let mut parts = Vec::new();
            // struct ipt_ip; IPT_INV_SRCIP, and IPT_INV_VIA_IN.
            let inverted = entry.get(self.inverted).copied().unwrap_or(0);
            addresses(entry, self.ip, 3, inverted >> 3, &mut parts);
            interfaces(entry.get(4 * self.ip.size()..)?, 32, 16, inverted, &mut parts);
            while !matches.is_empty() {
                let (name, _, data) = extension(matches)?;
                of_match(name, data, self.ip, &mut parts);
                matches = matches.get(HEAD + data.len()..)?;
            }
            of_target(name, revision.into(), data, self.ip, &mut parts);
            each(&Rule {
                by: self.by,
                place: [table, &chain].join(" "),
                number,
                does: does(name, data),
                parts,
                lookups: Vec::new(),
                sees_bridge: true,
                is_local,
            });
        }
        Some(())
    }
}

/// The name, the revision and what is in a match or a target that begins here.
fn extension(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let data = bytes.get(HEAD..usize::from(u16_at(bytes, 0)?))?;
    Some((until_nul(bytes.get(2..HEAD - 1)?), *bytes.get(HEAD - 1)?, data))
}

/// The chain that the kernel's hook begins with here.
fn hook_at(info: &[u8], at: usize) -> Option<&'static str> {
    const HOOKS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
    let valid = u32_at(info, NAME)?;
    let begins = |hook: &usize| {
        valid & 1 << hook != 0 && u32_at(info, NAME + 4 + 4 * hook) == u32::try_from(at).ok()
    };
    (0..HOOKS.len()).find(begins).and_then(|hook| HOOKS.get(hook).copied())
}

/// What the target does, in the words of iptables(8). One without a name has a verdict: -NF_DROP - 1 and so on; or
/// where there is a chain.
fn does(name: &[u8], data: &[u8]) -> String {
    match (name, u32_at(data, 0).unwrap_or(0) as i32) {
        (b"", -1) => "DROP".into(),
        (b"", -2) => "ACCEPT".into(),
        (b"", -5) => "RETURN".into(),
        (b"", _) => "jump".into(),
        (name, _) => text(name),
    }
}

/// Zeros that begin with a name.
fn named(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
    bytes
}
