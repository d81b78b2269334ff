//! What IPv6 thinks an interface's MTU to be: `net.ipv6.conf.*.mtu` (Documentation/networking/ip-sysctl.rst).
//!
//! It may be below the interface's own, and holds for all routes that have none: also those of multicast and of
//! router advertisements, which are better not rewritten. A change of the interface's MTU sets it to that, and
//! raises along with it each route whose MTU is not locked and just what this was; writing it does nothing else.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::sys::netns::Netns;
use crate::{Error, Result};

fn path(ifname: &str) -> PathBuf {
    format!("/proc/sys/net/ipv6/conf/{ifname}/mtu").into()
}

/// `None` if the interface has no IPv6.
pub fn mtu(netns: &Netns, ifname: &str) -> Result<Option<u32>> {
    let path = path(ifname);
    match netns.run(|| std::fs::read_to_string(&path))? {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(&path)(error)),
    }
}

/// From 1280 to the interface's own MTU; `EINVAL` beyond.
pub fn set_mtu(netns: &Netns, ifname: &str, mtu: u32) -> Result<()> {
    let path = path(ifname);
    netns.run(|| std::fs::write(&path, mtu.to_string()))?.map_err(Error::io(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::Rtnl;
    use crate::sys::testing::{in_new_netns, ip, privileged};

    #[test]
    fn the_interfaces_mtu_is_raised_and_no_routes() {
        if !privileged("ipv6::the_interfaces_mtu_is_raised_and_no_routes") {
            return;
        }
        in_new_netns(|| {
            let netns = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&netns).expect("socket");
            rtnl.add_veth("vetha", "eth0", &netns).expect("veth");
            let eth0 = rtnl.link("eth0").expect("links").expect("eth0").ifindex;
            rtnl.set_up(eth0, true).expect("up");
            let Some(before) = mtu(&netns, "eth0").expect("mtu") else { return };
            assert_eq!((before, mtu(&netns, "eth1").expect("none")), (1500, None));
            if ip("-6 route add fd01::/64 dev eth0 mtu 1500").is_none() {
                return;
            }
            let routes = rtnl.routes(eth0).expect("routes");

            // Away from any route's MTU: the kernel takes none of them along.
            set_mtu(&netns, "eth0", 1499).expect("set");
            rtnl.set_mtu(eth0, 65_535).expect("raised");
            assert_eq!(mtu(&netns, "eth0").expect("mtu"), Some(65_535), "it follows");
            set_mtu(&netns, "eth0", 1500).expect("set");
            assert_eq!(rtnl.routes(eth0).expect("routes"), routes);
            rtnl.set_mtu(eth0, 1500).expect("lowered");
            assert_eq!(rtnl.routes(eth0).expect("routes"), routes);
            for odd in [0, 1279, 1501] {
                assert!(set_mtu(&netns, "eth0", odd).is_err(), "{odd}");
            }

            // And what happens otherwise.
            rtnl.set_mtu(eth0, 65_535).expect("raised");
            assert!(rtnl.routes(eth0).expect("routes").iter().any(|r| r.mtu == Some(65_535)));
        });
    }
}
