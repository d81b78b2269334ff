//! A bridge's ports, in one call however many there are: the ioctl that brctl(8) uses.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_char, c_int, c_ulong};
use nix::errno::Errno;

use super::netns::Netns;
use crate::{Error, Result};

/// include/uapi/linux/sockios.h
const SIOCDEVPRIVATE: c_ulong = 0x89f0;
/// include/uapi/linux/if_bridge.h
const BRCTL_GET_PORT_LIST: c_ulong = 7;
/// The kernel never gives more (net/bridge/br_private.h, `BR_MAX_PORTS`).
const MAX_PORTS: usize = 1 << 10;

/// What `struct ifreq` has after its name and an address.
const IFREQ_REST: usize = size_of::<libc::ifreq>() - libc::IFNAMSIZ - size_of::<*mut c_ulong>();

/// `struct ifreq` with its union as an address.
#[repr(C)]
struct Ifreq {
    name: [c_char; libc::IFNAMSIZ],
    data: *mut c_ulong,
    rest: [u8; IFREQ_REST],
}

/// The ifindexes of the ports of a bridge of `netns`. EOPNOTSUPP if it is no bridge, and for a 32-bit xhop on
/// a 64-bit kernel.
pub fn ports(netns: &Netns, bridge: u32) -> Result<Vec<u32>> {
    netns.run(|| ask(bridge))?.map_err(Error::sys("BRCTL_GET_PORT_LIST", netns.path().display()))
}

/// In the calling thread's namespace.
fn ask(bridge: u32) -> nix::Result<Vec<u32>> {
    // SAFETY: no addresses are passed.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    // SAFETY: it has just been opened, so it is nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(Errno::result(fd)?) };
    let mut name = [0; libc::IFNAMSIZ];
    // SAFETY: it writes a name of at most that length, with its NUL.
    if unsafe { libc::if_indextoname(bridge, name.as_mut_ptr()) }.is_null() {
        return Err(Errno::last());
    }
    // By the number that each has on the bridge: 0 where there is none.
    let mut ports: [c_int; MAX_PORTS] = [0; MAX_PORTS];
    let list = ports.as_mut_ptr().expose_provenance() as c_ulong;
    let mut args = [BRCTL_GET_PORT_LIST, list, MAX_PORTS as c_ulong, 0];
    let mut request = Ifreq { name, data: args.as_mut_ptr(), rest: [0; IFREQ_REST] };
    // SAFETY: `request` is laid out as struct ifreq; the kernel reads the four words at `data`, and writes
    // at `list` no more numbers than the third says.
    let ret = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCDEVPRIVATE as _, &raw mut request) };
    Errno::result(ret)?;
    Ok(ports.into_iter().filter(|port| *port != 0).map(|port| port as u32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::Rtnl;
    use crate::sys::testing::{in_new_netns, privileged};

    #[test]
    fn the_ports_of_a_bridge() {
        if !privileged("bridge::the_ports_of_a_bridge") {
            return;
        }
        let host = in_new_netns(|| Netns::current().expect("current"));
        // From outside as from inside.
        in_new_netns(|| {
            let rtnl = Rtnl::open_in(&host).expect("socket");
            let index = |name| rtnl.link(name).expect("links").expect("is there").ifindex;
            rtnl.add_bridge("br0").expect("bridge");
            let bridge = index("br0");
            assert!(ports(&host, bridge).expect("asks").is_empty());
            rtnl.add_veth("a", "b", &host).expect("veth");
            let (a, b) = (index("a"), index("b"));
            for port in [a, b] {
                rtnl.set_master(port, Some(bridge)).expect("master");
            }
            let mut both = ports(&host, bridge).expect("asks");
            both.sort_unstable();
            assert_eq!(both, [a.min(b), a.max(b)]);
            rtnl.set_master(a, None).expect("no master");
            assert_eq!(ports(&host, bridge).expect("asks"), [b]);
            for none in [a, 9999] {
                assert!(ports(&host, none).is_err(), "{none} is no bridge");
            }
            assert_eq!(host.run(|| ports(&host, bridge)).expect("run").expect("asks"), [b]);
        });
    }
}
