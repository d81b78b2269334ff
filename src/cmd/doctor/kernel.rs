//! Which of the features that we use this kernel has: each is tried, none is told by a version. What must be on
//! an interface is tried on a veth in a namespace made for it, which goes with it.

use serde::Serialize;
use xhop_asm::blocks::{Family, count, endpoint};
use xhop_asm::programs::{Checksum, Shipped};
use xhop_asm::tag::MapRefs;
use xhop_vm::packet;

use super::answer::{Answer, why};
use crate::Result;
use crate::sys::bpf::{Link, Map, Prog, TcxHook, XdpMode};
use crate::sys::ethtool::Ethtool;
use crate::sys::netlink::Rtnl;
use crate::sys::netlink::netdev::{NETDEV_XDP_ACT_NDO_XMIT, Netdev};
use crate::sys::netns::Netns;
use crate::sys::tracing::Tracing;
use crate::sys::{bpffs, mount};

/// A feature, and what came of trying it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub feature: &'static str,
    /// Whether this kernel has it.
    #[serde(flatten)]
    pub answer: Answer,
    /// What of ours needs it.
    pub for_what: &'static str,
    /// What comes of it where it is not there.
    pub without: &'static str,
}

/// All that was tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kernel {
    /// Each feature.
    pub features: Vec<Row>,
    /// The datapaths that follow from them.
    pub datapaths: Vec<Row>,
}

impl Kernel {
    /// Whether containers can be joined at all: by `tc` or by `native`.
    pub fn joins(&self) -> bool {
        self.datapaths.iter().any(|row| row.answer.is_yes() && row.feature != "generic")
    }
}

/// Tries them all.
pub fn try_all() -> Kernel {
    let mut rows = Vec::new();
    let mut tell = |feature, answer: Answer, for_what, without| {
        rows.push(Row { feature, answer: answer.clone(), for_what, without });
        answer
    };
    let everything = "everything";

    let maps = [endpoint::endpoints(Family::V4), endpoint::endpoints(Family::V6), count::stats()];
    let made: Result<Vec<Map>> = maps.iter().map(Map::create).collect();
    let maps =
        tell("hash and per-CPU maps", Answer::of(&made), everything, "nothing can be joined");
    let ports = Answer::of(&Map::create(&endpoint::ports()));
    let ports = tell("devmap by hash", ports, everything, "nothing can be joined");
    let pins = tell("BPF file system", file_system(), everything, "nothing outlives `xhop up`");

    let load = |shipped: Shipped| -> Result<Prog> {
        let program = shipped.program().map_err(crate::Error::Assemble)?;
        let maps: Vec<Map> = program.maps().iter().map(Map::create).collect::<Result<_>>()?;
        Prog::load(shipped, &maps.iter().collect::<Vec<_>>())
    };
    let forward = load(Shipped::Forward(Checksum::Complete));
    let (frags, peer) = (load(Shipped::ForwardFrags), load(Shipped::Peer));
    let (pass, trust) = (load(Shipped::Pass), load(Shipped::Trust));
    let xdp = tell("XDP", Answer::of(&forward), "native", "use `--datapath tc`");
    let pieces = "XDP in several pieces (frags)";
    let pieces = tell(pieces, Answer::of(&frags), "generic", "use `--datapath tc`");
    let redirect_peer =
        tell("bpf_redirect_peer", Answer::of(&peer), "tc", "use `--datapath native`");
    let level = "use `--checksum complete`";
    tell("bpf_csum_level", Answer::of(&trust), "--checksum trust", level);

    let any = forward.as_ref().or(peer.as_ref()).or(pass.as_ref());
    let info = any.map_err(why).and_then(|prog| prog.info().map_err(|error| why(&error)));
    let of = |asked: std::result::Result<bool, String>, no: &str| match asked {
        Ok(is_so) => Answer::yes_if(is_so, no),
        Err(why) => Answer::Unknown(why),
    };
    let jited =
        of(info.map(|info| info.jited), "programs are interpreted: net.core.bpf_jit_enable is 0");
    tell("JIT", jited, "speed", "programs run, and take several times as long");
    let by_index = of(
        any.map_err(why).map(|prog| prog.map_refs() == Some(MapRefs::Index)),
        "the kernel does not take fd_array",
    );
    let patched = "maps are patched into the bytes when they are loaded";
    tell("maps by index", by_index, "the very bytes that are listed", patched);
    let comments = of(
        any.map_err(why).map(|prog| prog.btf_refused().is_none()),
        "the kernel does not take our BTF",
    );
    let dumb = "`bpftool prog dump` shows no comments and no source lines";
    tell("BTF", comments, "comments in the kernel's listings", dumb);

    let stand = Stand::new();
    let on = |tried: &dyn Fn(&Stand) -> Result<()>| match &stand {
        Ok(stand) => Answer::of(&tried(stand)),
        Err(error) => Answer::Unknown(why(error)),
    };
    // What has not been loaded can't be attached, and the row before has said why.
    let with = |prog: &Result<Prog>, tried: &dyn Fn(&Stand, &Prog) -> Result<()>| match prog {
        Ok(prog) => on(&|stand| tried(stand, prog)),
        Err(_) => Answer::Unknown("its program could not be loaded".into()),
    };
    let netlink = "use `--attach netlink`";
    let native_link = with(&pass, &|stand, prog| stand.link(prog, XdpMode::Native));
    let native_link = tell("native XDP by link", native_link, "native", netlink);
    let native = with(&pass, &|stand, prog| stand.netlink(prog, XdpMode::Native));
    let native = tell("native XDP by netlink", native, "native, --attach netlink", "use a link");
    let generic_link = with(&frags, &|stand, prog| stand.link(prog, XdpMode::Generic));
    let generic_link = tell("generic XDP by link", generic_link, "generic", netlink);
    let generic = with(&frags, &|stand, prog| stand.netlink(prog, XdpMode::Generic));
    let generic =
        tell("generic XDP by netlink", generic, "generic, --attach netlink", "use a link");
    let tcx = with(&peer, &|stand, prog| stand.tcx(prog));
    let tcx = tell("tc by link (tcx)", tcx, "tc, --checksum trust", "attached by netlink");
    let clsact = with(&peer, &|stand, prog| stand.clsact(prog));
    let clsact = tell("tc by netlink (clsact)", clsact, "tc, --attach netlink", "use a link");

    let gro = match &stand {
        Ok(stand) => stand.gro(),
        Err(error) => Answer::Unknown(why(error)),
    };
    tell("GRO for veth", gro, "native", "a program on the container's end makes it poll: slower");
    let readiness = on(&|stand| stand.tells_readiness());
    let untold = "whether a veth takes redirected frames is seen only by probes";
    tell("XDP features told (netdev)", readiness, "native", untold);
    let big = on(&|stand| stand.big_tcp());
    tell("BIG TCP over IPv4", big, "--big-tcp", "TCP over IPv4 sends at most 64 KiB at once");
    let live = with(&pass, &|stand, prog| stand.live_frames(prog));
    tell("test runs with live frames", live, "bench --frames", "bench --frames is refused");
    let told = Answer::of(&Tracing::begin());
    let untold = "why a redirect fails is not told by the kernel";
    tell("tracepoints of XDP", told, "doctor", untold);

    let base = [&maps, &ports, &pins];
    let datapath = |feature, parts: &[&Answer], attach: &[&Answer], for_what, without| {
        let attach = Answer::any(attach);
        let parts: Vec<&Answer> = base.into_iter().chain(parts.iter().copied()).collect();
        let answer = Answer::all(&[&parts[..], &[&attach]].concat());
        Row { feature, answer, for_what, without }
    };
    let datapaths = vec![
        datapath("tc", &[&redirect_peer], &[&tcx, &clsact], "what sockets send", "use native"),
        datapath("native", &[&xdp], &[&native_link, &native], "frames from a NIC", "use tc"),
        datapath("generic", &[&pieces], &[&generic_link, &generic], "to compare", "use tc"),
    ];
    Kernel { features: rows, datapaths }
}

/// Whether there is a BPF file system where pins are to be.
fn file_system() -> Answer {
    match bpffs::is_bpffs(bpffs::MOUNT_POINT.as_ref()) {
        Ok(true) => Answer::Yes,
        Ok(false) => match mount::detached(c"bpf") {
            Ok(_) => Answer::Yes,
            Err(error) => Answer::of::<()>(&Err(error)),
        },
        Err(error) => Answer::of::<()>(&Err(error)),
    }
}

/// Whether a veth takes a native program while its peer has this MTU: the kernel's answer, tried elsewhere.
pub fn native_beside(mtu: u32) -> Result<()> {
    let program = Prog::load(Shipped::Pass, &[])?;
    let stand = Stand::new()?;
    stand.rtnl.set_mtu(stand.far, mtu)?;
    stand.netlink(&program, XdpMode::Native)
}

/// A veth to try things on.
struct Stand {
    netns: Netns,
    rtnl: Rtnl,
    near: u32,
    far: u32,
}

impl Stand {
    fn new() -> Result<Self> {
        let netns = Netns::fresh()?;
        let rtnl = Rtnl::open_in(&netns)?;
        rtnl.add_veth("near", "far", &netns)?;
        let (near, far) = (index(&rtnl, "near")?, index(&rtnl, "far")?);
        rtnl.set_up(near, true)?;
        rtnl.set_up(far, true)?;
        Ok(Self { netns, rtnl, near, far })
    }

    fn link(&self, prog: &Prog, mode: XdpMode) -> Result<()> {
        let near = self.near;
        self.netns.run(|| Link::create_xdp(prog, near, mode))?.map(drop)
    }

    fn netlink(&self, prog: &Prog, mode: XdpMode) -> Result<()> {
        self.rtnl.set_xdp(self.near, Some(prog), mode, None)?;
        self.rtnl.set_xdp(self.near, None, mode, Some(prog))
    }

    fn tcx(&self, prog: &Prog) -> Result<()> {
        let near = self.near;
        self.netns.run(|| Link::create_tcx(prog, near, TcxHook::Ingress))?.map(drop)
    }

    fn clsact(&self, prog: &Prog) -> Result<()> {
        self.rtnl.add_clsact(self.near)?;
        self.rtnl.set_ingress(self.near, prog, "xhop_doctor", false)?;
        self.rtnl.del_clsact(self.near)
    }

    /// Whether GRO makes a veth poll, as far as the kernel says.
    fn gro(&self) -> Answer {
        let polls = || -> Result<Option<bool>> {
            let ethtool = Ethtool::open_in(&self.netns)?;
            ethtool.set_feature(self.far, "rx-gro", true)?;
            let features = Netdev::open_in(&self.netns)?.xdp_features(self.near)?;
            ethtool.set_feature(self.far, "rx-gro", false)?;
            Ok(features.map(|features| features & NETDEV_XDP_ACT_NDO_XMIT != 0))
        };
        match polls() {
            Ok(Some(polls)) => Answer::yes_if(polls, "it can be switched on, and does not poll"),
            Ok(None) => Answer::Unknown("the kernel does not say whether a veth polls".into()),
            Err(error) => Answer::of::<()>(&Err(error)),
        }
    }

    fn tells_readiness(&self) -> Result<()> {
        match Netdev::open_in(&self.netns)?.xdp_features(self.near)? {
            Some(_) => Ok(()),
            None => Err(lacking("generic netlink family netdev")),
        }
    }

    fn big_tcp(&self) -> Result<()> {
        let link = self.rtnl.link_at(self.far)?;
        match link.and_then(|link| link.gso_ipv4_max_size) {
            Some(_) => self.rtnl.set_gso_ipv4_max_size(self.far, 3 << 16),
            None => Err(lacking("gso_ipv4_max_size")),
        }
    }

    fn live_frames(&self, prog: &Prog) -> Result<()> {
        let frame = packet::udp().payload([0; 32]).bytes();
        let near = self.near;
        self.netns.run(|| {
            let _poll = Link::create_xdp(prog, near, XdpMode::Native)?;
            prog.inject(&frame, near, 1)
        })?
    }
}

fn lacking(what: &'static str) -> crate::Error {
    crate::Error::sys(what, "this kernel")(nix::errno::Errno::EOPNOTSUPP)
}

fn index(rtnl: &Rtnl, name: &str) -> Result<u32> {
    crate::cmd::scene::index(rtnl, name)
}
