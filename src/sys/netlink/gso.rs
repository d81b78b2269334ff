//! How large a segment a stack may hand to an interface at once (GSO, and BIG TCP above 64 KiB).

use super::{Rtnl, ifinfomsg};
use crate::Result;

/// `IFLA_*` (include/uapi/linux/if_link.h)
pub(super) const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;

impl Rtnl {
    /// Sets how large a segment of IPv4 may be. `ERANGE` or `EINVAL` if that is below what a header needs, or
    /// above what the device takes. A kernel before 6.3 does nothing and says nothing: there
    /// [`LinkInfo::gso_ipv4_max_size`](super::LinkInfo::gso_ipv4_max_size) is `None`.
    pub fn set_gso_ipv4_max_size(&self, ifindex: u32, bytes: u32) -> Result<()> {
        self.set(ifindex, ifinfomsg(ifindex, 0, 0), |message| {
            message.attr(IFLA_GSO_IPV4_MAX_SIZE, &bytes.to_ne_bytes());
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::LinkInfo;
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
            assert_eq!(size, 65536);

            rtnl.set_gso_ipv4_max_size(before.ifindex, 185_000).expect("set");
            let big = LinkInfo { gso_ipv4_max_size: Some(185_000), ..before.clone() };
            assert_eq!(found(), big, "nothing else changes");
            for odd in [0, u32::MAX] {
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
