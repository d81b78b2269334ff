//! XDP attached without a link: it stays until it is taken away, and the kernel says why not.

use std::os::fd::{AsFd, AsRawFd};

use neli::consts::rtnl::Ifla;

use super::{Rtnl, ifinfomsg};
use crate::Result;
use crate::sys::bpf::{Prog, XdpMode};

/// include/uapi/linux/if_link.h
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const IFLA_XDP_EXPECTED_FD: u16 = 8;
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1 << 0;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;

impl Rtnl {
    /// Puts `prog` on an interface in the place of `expected`, or takes `expected` off.
    ///
    /// Without `expected`, a program is put only where none is (EBUSY), and any is taken off.
    /// With it, another in its place is EEXIST. What a [`Link`](crate::sys::bpf::Link) holds is
    /// not touched (EBUSY). Kernels from 5.7.
    pub fn set_xdp(
        &self,
        ifindex: u32,
        prog: Option<&Prog>,
        mode: XdpMode,
        expected: Option<&Prog>,
    ) -> Result<()> {
        let condition = match (prog, expected) {
            (_, Some(_)) => XDP_FLAGS_REPLACE,
            (Some(_), None) => XDP_FLAGS_UPDATE_IF_NOEXIST,
            (None, None) => 0,
        };
        // -1 is no program.
        let fd = |prog: Option<&Prog>| prog.map_or(-1, |prog| prog.as_fd().as_raw_fd());
        self.set(ifindex, ifinfomsg(ifindex, 0, 0), |message| {
            message.nest(Ifla::Xdp, |xdp| {
                xdp.attr(IFLA_XDP_FD, &fd(prog).to_ne_bytes());
                xdp.attr(IFLA_XDP_FLAGS, &(mode.flags() | condition).to_ne_bytes());
                if expected.is_some() {
                    xdp.attr(IFLA_XDP_EXPECTED_FD, &fd(expected).to_ne_bytes());
                }
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::XdpAttached;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, privileged};
    use nix::errno::Errno;
    use xhop_asm::programs;

    fn pass() -> Prog {
        let program = programs::pass().expect("assembles");
        Prog::load_any(&program, &[]).expect("loads")
    }

    #[test]
    fn puts_replaces_and_takes_off() {
        if !privileged("xdp::puts_replaces_and_takes_off") {
            return;
        }
        in_new_netns(|| {
            let netns = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&netns).expect("socket");
            rtnl.add_veth("a", "b", &netns).expect("veth");
            let find = || rtnl.link("a").expect("links").expect("a");
            let set =
                |prog, expected| rtnl.set_xdp(find().ifindex, prog, XdpMode::Native, expected);
            let (first, second) = (pass(), pass());
            let on_it = |prog: &Prog| {
                let prog_id = prog.info().expect("info").id;
                vec![XdpAttached { mode: XdpMode::Native, prog_id }]
            };
            set(Some(&first), None).expect("puts");
            assert_eq!(find().xdp, on_it(&first));
            let busy = set(Some(&second), None).expect_err("occupied");
            assert_eq!(busy.errno(), Some(Errno::EBUSY));
            let other = set(Some(&second), Some(&second)).expect_err("not there");
            assert_eq!(other.errno(), Some(Errno::EEXIST));
            set(Some(&second), Some(&first)).expect("replaces");
            assert_eq!(find().xdp, on_it(&second));
            set(None, Some(&second)).expect("takes off");
            assert_eq!(find().xdp, []);
        });
    }

    #[test]
    fn the_kernel_says_why_not() {
        if !privileged("xdp::the_kernel_says_why_not") {
            return;
        }
        in_new_netns(|| {
            let netns = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&netns).expect("socket");
            rtnl.add_veth("a", "b", &netns).expect("veth");
            let index = |name| rtnl.link(name).expect("links").expect("is there").ifindex;
            rtnl.set_mtu(index("b"), 9000).expect("mtu");
            let error = rtnl.set_xdp(index("a"), Some(&pass()), XdpMode::Native, None);
            let error = error.expect_err("9000 bytes do not fit a page");
            assert_eq!(error.errno(), Some(Errno::ERANGE));
            assert!(error.to_string().ends_with(": Peer MTU is too large to set XDP"), "{error}");
        });
    }
}
