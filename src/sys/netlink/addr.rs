//! Addresses of interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Ifa, Rtm};

use super::Rtnl;
use super::msg::{Message, attr, u32_at};
use super::socket::{About, malformed};
use crate::Result;

/// `ifa_flags` (include/uapi/linux/if_addr.h)
const IFA_F_NODAD: u8 = 0x02;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_TENTATIVE: u32 = 0x40;

/// An address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddrInfo {
    /// Whose it is.
    pub ifindex: u32,
    /// The interface's own address, not its peer's.
    pub ip: IpAddr,
    /// How many of its bits name the network.
    pub prefix: u8,
    /// `RT_SCOPE_*`: 0 is global, 253 link-local, 254 host.
    pub scope: u8,
    /// Not yet known to be unique: not usable.
    pub tentative: bool,
    /// Not for new connections.
    pub deprecated: bool,
}

impl Rtnl {
    /// All addresses, IPv4 and IPv6, of all interfaces of the namespace.
    pub fn addrs(&self) -> Result<Vec<AddrInfo>> {
        let about = About { call: "RTM_GETADDR", on: "all interfaces" };
        let flags = NlmF::REQUEST | NlmF::DUMP;
        let items = self.socket.dump(about, || Message::new(Rtm::Getaddr, flags, &[0; 8]))?;
        let mut addrs = Vec::new();
        for (_, body) in items.iter().filter(|(kind, _)| *kind == u16::from(Rtm::Newaddr)) {
            addrs.extend(parse(body).ok_or_else(|| malformed(about))?);
        }
        Ok(addrs)
    }

    /// Gives an interface an address. An IPv6 address is usable at once (no DAD).
    pub fn add_addr(&self, ifindex: u32, ip: IpAddr, prefix: u8) -> Result<()> {
        let on = format!("{ip}/{prefix} of ifindex {ifindex}");
        let (family, flags, bytes) = match ip {
            IpAddr::V4(ip) => (libc::AF_INET, 0, ip.octets().to_vec()),
            IpAddr::V6(ip) => (libc::AF_INET6, IFA_F_NODAD, ip.octets().to_vec()),
        };
        // struct ifaddrmsg; scope 0 is global.
        let mut fixed = vec![family as u8, prefix, flags, 0];
        fixed.extend(ifindex.to_ne_bytes());
        let flags = NlmF::REQUEST | NlmF::ACK | NlmF::CREATE | NlmF::EXCL;
        let mut message = Message::new(Rtm::Newaddr, flags, &fixed);
        message.attr(Ifa::Local, &bytes);
        message.attr(Ifa::Address, &bytes);
        self.socket.ask(About { call: "RTM_NEWADDR", on: &on }, message).map(drop)
    }
}

/// Reads what follows the header of an `RTM_NEWADDR`: nothing if it is of another family,
/// `None` if it is malformed.
fn parse(body: &[u8]) -> Option<Option<AddrInfo>> {
    let [family, prefix, flags, scope] = *body.first_chunk()?;
    let tail = body.get(8..)?;
    let family = i32::from(family);
    if family != libc::AF_INET && family != libc::AF_INET6 {
        return Some(None);
    }
    let bytes = attr(tail, Ifa::Local).or_else(|| attr(tail, Ifa::Address))?;
    let ip = if family == libc::AF_INET {
        IpAddr::from(Ipv4Addr::from(*bytes.first_chunk()?))
    } else {
        IpAddr::from(Ipv6Addr::from(*bytes.first_chunk()?))
    };
    // The attribute has the flags that the 8 bits of the header have no room for.
    let flags = attr(tail, Ifa::Flags).and_then(|p| u32_at(p, 0)).unwrap_or(flags.into());
    Some(Some(AddrInfo {
        ifindex: u32_at(body, 4)?,
        ip,
        prefix,
        scope,
        tentative: flags & IFA_F_TENTATIVE != 0,
        deprecated: flags & IFA_F_DEPRECATED != 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, privileged};

    #[test]
    fn what_is_added_is_listed() {
        if !privileged("addr::what_is_added_is_listed") {
            return;
        }
        in_new_netns(|| {
            let rtnl = Rtnl::open_in(&Netns::current().expect("current")).expect("socket");
            let (four, six) = ([172, 17, 0, 2].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 2].into());
            rtnl.add_addr(1, four, 16).expect("IPv4");
            rtnl.add_addr(1, six, 64).expect("IPv6");
            rtnl.set_up(1, true).expect("up");
            let addrs = rtnl.addrs().expect("addrs");
            let found = |ip| addrs.iter().find(|addr| addr.ip == ip).copied();
            let want = |ip, prefix| AddrInfo {
                ifindex: 1,
                ip,
                prefix,
                scope: 0,
                tentative: false,
                deprecated: false,
            };
            assert_eq!(found(four), Some(want(four, 16)));
            assert_eq!(found(six), Some(want(six, 64)));
            let host = addrs.iter().find(|addr| addr.ip.is_loopback()).expect("127.0.0.1 or ::1");
            assert_eq!(host.scope, 254);
            let again = rtnl.add_addr(1, four, 16).expect_err("exists");
            assert_eq!(again.errno(), Some(nix::errno::Errno::EEXIST));
        });
    }

    #[test]
    fn odd_bytes_do_not_panic() {
        let body = [2, 16, 0x80, 0, 1, 0, 0, 0, 8, 0, 2, 0, 172, 17, 0, 2];
        assert!(matches!(parse(&body), Some(Some(AddrInfo { prefix: 16, .. }))));
        assert_eq!((0..body.len()).filter_map(|len| parse(&body[..len])).count(), 0);
        assert_eq!(parse(&[7; 8]), Some(None));
    }
}
