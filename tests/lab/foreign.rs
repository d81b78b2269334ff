//! Programs and maps that are not xhop's, in the places where xhop wants to put its own.

use std::path::Path;

use xhop::sys::bpf::{Link, Prog, XdpMode};
use xhop::sys::netlink::Rtnl;
use xhop::sys::netns::Netns;
use xhop_asm::{Assembler, ByteOrder, R0, xdp};

use super::raw::load_xdp;
use super::{Lab, Where, raw};

impl Lab {
    /// Attaches a program of somebody else's to an interface, without a link; gives its id.
    pub fn attach_foreign(&self, at: impl Into<Where>, ifname: &str, mode: XdpMode) -> u32 {
        self.in_netns(at, || {
            let prog = foreign();
            let (rtnl, index) = find(ifname);
            rtnl.set_xdp(index, Some(&prog), mode, None).expect("attached");
            prog.info().expect("its id").id
        })
    }

    /// The same by a `bpf_link`, which holds the program until it is dropped.
    pub fn link_foreign(&self, at: impl Into<Where>, ifname: &str) -> Link {
        self.in_netns(at, || {
            Link::create_xdp(&foreign(), find(ifname).1, XdpMode::Native).expect("attached")
        })
    }

    /// Pins a program of somebody else's.
    pub fn pin_foreign(&self, path: &Path) {
        foreign().pin(path).expect("pinned");
    }

    /// The ids of the programs on a hook of tcx, in their order.
    pub fn tcx_on(&self, at: impl Into<Where>, ifname: &str, hook: u32) -> Vec<u32> {
        self.in_netns(at, || raw::attached(find(ifname).1, hook))
    }

    /// How much TCP over IPv4 an interface sends at once; 0 if this kernel does not say. (ip(8) shows it
    /// since 6.3.)
    pub fn gso_ipv4(&self, at: impl Into<Where>, ifname: &str) -> u32 {
        let link = |rtnl: Rtnl| rtnl.link(ifname).expect("links").expect("the interface");
        self.in_netns(at, || link(find(ifname).0).gso_ipv4_max_size).unwrap_or(0)
    }

    /// Sets that.
    pub fn set_gso_ipv4(&self, at: impl Into<Where>, ifname: &str, bytes: u32) {
        self.in_netns(at, || {
            let (rtnl, index) = find(ifname);
            rtnl.set_gso_ipv4_max_size(index, bytes).expect("set");
        });
    }

    /// The id and the mode of the XDP program on an interface, as ip(8) shows them.
    pub fn xdp_on(&self, at: impl Into<Where>, ifname: &str) -> Option<(u64, u64)> {
        let shown = self.json(at, &["ip", "-d", "-j", "link", "show", "dev", ifname]);
        let xdp = &shown[0]["xdp"];
        Some((xdp["prog"]["id"].as_u64()?, xdp["mode"].as_u64()?))
    }
}

/// The index of an interface of this thread's namespace.
fn find(ifname: &str) -> (Rtnl, u32) {
    let rtnl = Rtnl::open_in(&Netns::current().expect("our namespace")).expect("netlink");
    let link = rtnl.link(ifname).expect("a list of links").expect("the interface");
    (rtnl, link.ifindex)
}

/// Unlike `pass` of ours, so that the two can be told apart.
fn foreign() -> Prog {
    let mut asm = Assembler::new("foreign");
    asm.mov(R0, xdp::DROP, "not what is returned");
    asm.mov(R0, xdp::PASS, "verdict");
    asm.exit("done");
    let program = asm.finish().expect("assembles");
    load_xdp("foreign", &program.bytes(ByteOrder::NATIVE), &[]).expect("loads")
}
