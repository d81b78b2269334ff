//! What a driver can do with XDP: the generic netlink family `netdev`
//! (Documentation/netlink/specs/netdev.yaml, kernels from 6.3).

use neli::consts::genl::{CtrlAttr, CtrlCmd};
use neli::consts::nl::{GenlId, NlmF};
use neli::consts::socket::NlFamily;
use nix::errno::Errno;

use super::msg::{Message, attr, u16_at, u64_at};
use super::socket::{About, Socket, malformed};
use crate::Result;
use crate::sys::netns::Netns;

/// It takes frames that XDP redirects to it. A veth does so only while its peer runs NAPI.
pub const NETDEV_XDP_ACT_NDO_XMIT: u64 = 1 << 2;

const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// Bytes of `struct genlmsghdr`.
const GENL_HEADER: usize = 4;

/// A socket of that family in a namespace; its interfaces are of there.
pub struct Netdev {
    socket: Socket,
    /// The family's number; `None` if this kernel has none.
    family: Option<u16>,
}

impl Netdev {
    /// Opens one inside `netns`; the calling thread stays where it is.
    pub fn open_in(netns: &Netns) -> Result<Self> {
        let socket = Socket::open_in(netns, NlFamily::Generic)?;
        let family = family_id(&socket, "netdev")?;
        Ok(Self { socket, family })
    }

    /// The `NETDEV_XDP_ACT_*` bits of an interface; `None` if this kernel can't say.
    pub fn xdp_features(&self, ifindex: u32) -> Result<Option<u64>> {
        let Some(family) = self.family else { return Ok(None) };
        let on = format!("ifindex {ifindex}");
        let about = About { call: "NETDEV_CMD_DEV_GET", on: &on };
        let mut message = request(family, NETDEV_CMD_DEV_GET);
        message.attr(NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes());
        let items = self.socket.ask(about, message)?;
        let features = first_attr(&items, NETDEV_A_DEV_XDP_FEATURES, u64_at);
        features.map(Some).ok_or_else(|| malformed(about))
    }
}

/// The number of a generic netlink family; `None` if the kernel has no such family.
fn family_id(socket: &Socket, name: &str) -> Result<Option<u16>> {
    let about = About { call: "CTRL_CMD_GETFAMILY", on: name };
    let mut message = request(GenlId::Ctrl.into(), CtrlCmd::Getfamily.into());
    message.attr_str(CtrlAttr::FamilyName, name);
    match socket.ask(about, message) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
        items => first_attr(&items?, CtrlAttr::FamilyId.into(), u16_at)
            .map(Some)
            .ok_or_else(|| malformed(about)),
    }
}

fn request(family: u16, command: u8) -> Message {
    Message::new(family, NlmF::REQUEST | NlmF::ACK, &[command, 1, 0, 0])
}

/// The number in the first attribute of this kind.
fn first_attr<T>(
    items: &[(u16, Vec<u8>)],
    kind: u16,
    read: fn(&[u8], usize) -> Option<T>,
) -> Option<T> {
    items.iter().find_map(|(_, body)| read(attr(body.get(GENL_HEADER..)?, kind)?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bpf::{Link, Prog, XdpMode};
    use crate::sys::netlink::Rtnl;
    use crate::sys::testing::{in_new_netns, privileged};
    use xhop_asm::programs;

    #[test]
    fn a_veth_takes_frames_while_its_peer_has_xdp() {
        if !privileged("netdev::a_veth_takes_frames_while_its_peer_has_xdp") {
            return;
        }
        in_new_netns(|| {
            let netns = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&netns).expect("socket");
            rtnl.add_veth("a", "b", &netns).expect("veth");
            let index = |name| rtnl.link(name).expect("links").expect("is there").ifindex;
            let netdev = Netdev::open_in(&netns).expect("socket");
            let features = |name| netdev.xdp_features(index(name)).expect("asks");
            let Some(before) = features("b") else {
                let old = crate::sys::kernel::release().expect("uname") < (6, 3);
                assert!(old, "the family is there since 6.3");
                return;
            };
            assert_eq!(before & NETDEV_XDP_ACT_NDO_XMIT, 0);
            let program = programs::pass().expect("assembles");
            let prog = Prog::load_any(&program, &[]).expect("loads");
            rtnl.set_up(index("a"), true).expect("up");
            rtnl.set_up(index("b"), true).expect("up");
            let _link = Link::create_xdp(&prog, index("a"), XdpMode::Native).expect("attaches");
            assert_ne!(features("b").expect("known") & NETDEV_XDP_ACT_NDO_XMIT, 0);
            let gone = netdev.xdp_features(9999).expect_err("no such interface");
            assert_eq!(gone.errno(), Some(Errno::ENODEV));
        });
    }

    #[test]
    fn families_that_are_not_there() {
        if !privileged("netdev::families_that_are_not_there") {
            return;
        }
        let netns = Netns::current().expect("current");
        let socket = Socket::open_in(&netns, NlFamily::Generic).expect("socket");
        assert_eq!(family_id(&socket, "xhop-none").expect("asks"), None);
    }
}
