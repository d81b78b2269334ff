//! A program on traffic control's ingress without a link: a filter on the qdisc `clsact`, for kernels before
//! tcx (6.6).

use std::os::fd::{AsFd, AsRawFd};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Rtm, Tca};
use nix::errno::Errno;

use super::Rtnl;
use super::filter::{
    TC_H_CLSACT_EGRESS, TC_H_CLSACT_INGRESS, TCA_BPF_FLAG_ACT_DIRECT, TCA_BPF_FLAGS, TCA_BPF_NAME,
    tcmsg,
};
use super::msg::{Message, attr, u32_at};
use super::socket::About;
use crate::sys::bpf::Prog;
use crate::{Error, Result};

/// include/uapi/linux/pkt_sched.h
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// include/uapi/linux/pkt_cls.h
const TCA_BPF_FD: u16 = 6;
/// include/uapi/linux/rtnetlink.h
const TCA_CHAIN: u16 = 11;
/// `ETH_P_ALL`
const ETH_P_ALL: u16 = 3;
/// Where our filter stands among others: behind those that tc(8) numbers by itself, so that they still see
/// every packet.
const PRIORITY: u32 = 0xd000;
const HANDLE: u32 = 1;

impl Rtnl {
    /// Makes an interface's `clsact`, if there is none.
    pub fn add_clsact(&self, ifindex: u32) -> Result<()> {
        let flags = NlmF::CREATE | NlmF::EXCL;
        match self.clsact(Rtm::Newqdisc, "RTM_NEWQDISC", flags, ifindex) {
            Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(()),
            made => made,
        }
    }

    /// Removes it with all that hangs on it; it may be gone.
    pub fn del_clsact(&self, ifindex: u32) -> Result<()> {
        match self.clsact(Rtm::Delqdisc, "RTM_DELQDISC", NlmF::empty(), ifindex) {
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EINVAL)) => Ok(()),
            gone => gone,
        }
    }

    fn clsact(&self, kind: Rtm, call: &'static str, flags: NlmF, ifindex: u32) -> Result<()> {
        let fixed = tcmsg(ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0);
        let mut message = Message::new(kind, NlmF::REQUEST | NlmF::ACK | flags, &fixed);
        message.attr_str(Tca::Kind, "clsact");
        let on = format!("clsact of ifindex {ifindex}");
        self.socket.ask(About { call, on: &on }, message).map(drop)
    }

    /// Whether the interface has a `clsact`, or an `ingress` in its place.
    pub fn has_clsact(&self, ifindex: u32) -> Result<bool> {
        let on = format!("ifindex {ifindex}");
        let about = About { call: "RTM_GETQDISC", on: &on };
        let qdiscs = self.traffic(about, Rtm::Getqdisc, Rtm::Newqdisc, ifindex, 0)?;
        let (ours, root) = (ifindex.to_ne_bytes(), CLSACT_HANDLE.to_ne_bytes());
        Ok(qdiscs.iter().any(|(_, body)| {
            body.get(4..8) == Some(&ours[..]) && body.get(8..12) == Some(&root[..])
        }))
    }

    /// Whether no filter of any kind hangs on it.
    pub fn clsact_is_empty(&self, ifindex: u32) -> Result<bool> {
        for parent in [TC_H_CLSACT_INGRESS, TC_H_CLSACT_EGRESS] {
            let on = format!("ifindex {ifindex}");
            let about = About { call: "RTM_GETTFILTER", on: &on };
            let filters = self.traffic(about, Rtm::Gettfilter, Rtm::Newtfilter, ifindex, parent)?;
            if !filters.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts a program on ingress; in the place of the one that is at ours only if that is to be replaced.
    pub fn set_ingress(&self, ifindex: u32, prog: &Prog, name: &str, replace: bool) -> Result<()> {
        let flags = if replace { NlmF::CREATE } else { NlmF::CREATE | NlmF::EXCL };
        self.filter(Rtm::Newtfilter, "RTM_NEWTFILTER", flags, ifindex, |message| {
            message.attr_str(Tca::Kind, "bpf");
            message.nest(Tca::Options, |options| {
                options.attr(TCA_BPF_FD, &prog.as_fd().as_raw_fd().to_ne_bytes());
                options.attr_str(TCA_BPF_NAME, name);
                options.attr(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes());
            });
        })
    }

    /// Takes ours off; it may be gone.
    pub fn del_ingress(&self, ifindex: u32) -> Result<()> {
        let done =
            self.filter(Rtm::Deltfilter, "RTM_DELTFILTER", NlmF::empty(), ifindex, |message| {
                message.attr_str(Tca::Kind, "bpf");
            });
        match done {
            Err(Error::Netlink { errno: Errno::ENOENT | Errno::EINVAL, .. }) => Ok(()),
            done => done,
        }
    }

    fn filter(
        &self,
        kind: Rtm,
        call: &'static str,
        flags: NlmF,
        ifindex: u32,
        fill: impl FnOnce(&mut Message),
    ) -> Result<()> {
        let fixed = tcmsg(ifindex, HANDLE, TC_H_CLSACT_INGRESS, info());
        let mut message = Message::new(kind, NlmF::REQUEST | NlmF::ACK | flags, &fixed);
        fill(&mut message);
        let on = format!("ingress of ifindex {ifindex}");
        self.socket.ask(About { call, on: &on }, message).map(drop)
    }
}

/// Priority and protocol of our filter.
fn info() -> u32 {
    PRIORITY << 16 | u32::from(ETH_P_ALL.to_be())
}

/// Whether a filter, a `struct tcmsg` and attributes, stands where ours does: another chain nobody walks.
pub(super) fn is_ours(filter: &[u8]) -> bool {
    let chain = filter.get(20..).and_then(|tail| attr(tail, TCA_CHAIN));
    let chain = chain.and_then(|chain| u32_at(chain, 0)).unwrap_or(0);
    (u32_at(filter, 8), u32_at(filter, 16), chain) == (Some(HANDLE), Some(info()), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bpf::Map;
    use crate::sys::netlink::TcProgram;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, privileged};
    use xhop_asm::programs::Shipped;

    fn peer() -> Prog {
        let program = Shipped::Peer.program().expect("assembles");
        let maps: Vec<Map> =
            program.maps().iter().map(|decl| Map::create(decl).expect("create")).collect();
        Prog::load(Shipped::Peer, &maps.iter().collect::<Vec<_>>()).expect("loads")
    }

    #[test]
    fn a_filter_comes_is_replaced_and_goes() {
        if !privileged("clsact::a_filter_comes_is_replaced_and_goes") {
            return;
        }
        in_new_netns(|| {
            let netns = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&netns).expect("socket");
            rtnl.add_veth("a", "b", &netns).expect("veth");
            let at = rtnl.link("a").expect("links").expect("a").ifindex;
            assert!(!rtnl.has_clsact(at).expect("asks"));
            rtnl.del_ingress(at).expect("nothing is there");
            rtnl.del_clsact(at).expect("nothing is there");
            for _ in 0..2 {
                rtnl.add_clsact(at).expect("makes, and leaves");
            }
            assert!(rtnl.has_clsact(at).expect("asks") && rtnl.clsact_is_empty(at).expect("asks"));
            let ids = || {
                let found = rtnl.tc_programs(at).expect("asks");
                let shown = |found: &TcProgram| (found.hook.clone(), found.prog_id, found.as_ours);
                found.iter().map(shown).collect::<Vec<_>>()
            };
            for (prog, replace) in [(peer(), false), (peer(), true)] {
                rtnl.set_ingress(at, &prog, "xhop_peer", replace).expect("puts");
                let again = rtnl.set_ingress(at, &peer(), "xhop_peer", false);
                assert_eq!(again.expect_err("it is taken").errno(), Some(Errno::EEXIST));
                let id = prog.info().expect("info").id;
                assert_eq!(ids(), [("ingress".to_owned(), Some(id), true)]);
                assert!(!rtnl.clsact_is_empty(at).expect("asks"));
            }
            rtnl.del_ingress(at).expect("takes off");
            assert!(rtnl.clsact_is_empty(at).expect("asks"));
            rtnl.del_clsact(at).expect("removes");
            assert!(!rtnl.has_clsact(at).expect("asks"));
        });
    }
}
