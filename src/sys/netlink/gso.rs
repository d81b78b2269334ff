//! How large a segment a stack may hand to an interface at once (GSO, and BIG TCP above 64 KiB).

use super::msg::u32_at;
use super::{LinkInfo, Rtnl, ifinfomsg};
use crate::Result;

/// `IFLA_*` (include/uapi/linux/if_link.h)
const IFLA_GSO_MAX_SIZE: u16 = 41;
const IFLA_TSO_MAX_SIZE: u16 = 59;
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const IFLA_GRO_IPV4_MAX_SIZE: u16 = 64;

impl Rtnl {
    /// Sets how large a segment of IPv4 may be. `ERANGE` or `EINVAL` if that is below what a header needs, or
    /// above `tso_max_size`. A kernel before 6.3 does nothing and says nothing: there
    /// [`LinkInfo::gso_ipv4_max_size`] is `None`.
    pub fn set_gso_ipv4_max_size(&self, ifindex: u32, bytes: u32) -> Result<()> {
        self.set(ifindex, ifinfomsg(ifindex, 0, 0), |message| {
            message.attr(IFLA_GSO_IPV4_MAX_SIZE, &bytes.to_ne_bytes());
        })
    }
}

/// Reads one attribute of an `RTM_NEWLINK`, if it is about this.
pub(super) fn parse(link: &mut LinkInfo, kind: u16, payload: &[u8]) {
    let field = match kind {
        IFLA_GSO_MAX_SIZE => &mut link.gso_max_size,
        IFLA_TSO_MAX_SIZE => &mut link.tso_max_size,
        IFLA_GSO_IPV4_MAX_SIZE => &mut link.gso_ipv4_max_size,
        IFLA_GRO_IPV4_MAX_SIZE => &mut link.gro_ipv4_max_size,
        _ => return,
    };
    *field = u32_at(payload, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, privileged};
    use nix::errno::Errno;

    #[test]
    fn big_segments_of_a_veth() {
        if !privileged("gso::big_segments_of_a_veth") {
            return;
        }
        let container = in_new_netns(|| Netns::current().expect("current"));
        in_new_netns(|| {
            let rtnl = Rtnl::open_in(&Netns::current().expect("current")).expect("socket");
            rtnl.add_veth("vetha", "eth0", &container).expect("veth");
            let found = || rtnl.link("vetha").expect("links").expect("vetha");
            let before = found();
            let Some(size) = before.gso_ipv4_max_size else { return };
            assert_eq!((size, before.gso_max_size), (65536, Some(65536)));
            assert_eq!(before.gro_ipv4_max_size, Some(65536));
            let most = before.tso_max_size.expect("since 5.19");
            assert!(most > size, "{most}");

            rtnl.set_gso_ipv4_max_size(before.ifindex, 185_000).expect("set");
            let big = LinkInfo { gso_ipv4_max_size: Some(185_000), ..before.clone() };
            assert_eq!(found(), big, "nothing else changes");
            for odd in [0, most.saturating_add(1), u32::MAX] {
                match rtnl.set_gso_ipv4_max_size(before.ifindex, odd) {
                    Err(error) => {
                        let errno = error.errno().expect("an errno");
                        assert!(matches!(errno, Errno::EINVAL | Errno::ERANGE), "{odd}: {error}");
                    }
                    Ok(()) => panic!("{odd} is taken"),
                }
            }
            assert_eq!(found(), big);
            rtnl.set_gso_ipv4_max_size(before.ifindex, size).expect("set back");
            assert_eq!(found(), before);
        });
    }
}
