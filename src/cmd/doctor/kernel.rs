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

    /// Whether one of these may work, for all that could be told.
    pub fn may_join(&self) -> bool {
        let may = |row: &Row| !matches!(row.answer, Answer::No(_)) && row.feature != "generic";
        self.datapaths.iter().any(may)
    }
}

/// What was tried until now.
#[derive(Default)]
struct Tried(Vec<Row>);

impl Tried {
    fn tell(
        &mut self,
        feature: &'static str,
        answer: Answer,
        for_what: &'static str,
        without: &'static str,
    ) -> Answer {
        self.0.push(Row { feature, answer: answer.clone(), for_what, without });
        answer
    }
}

/// Tries them all.
pub fn try_all() -> Kernel {
    let mut tried = Tried::default();
    let base = state(&mut tried);
    let programs = Programs::load();
    let [tc, native, generic] = programs.tell(&mut tried);
    programs.tell_forms(&mut tried);
    let stand = Stand::new();
    let [on_tc, on_native, on_generic] = attaching(&programs, &stand, &mut tried);
    around(&programs, &stand, &mut tried);
    let datapath = |feature, program: &Answer, attach: &Answer, for_what, without| {
        let answer = Answer::all(&[&base, program, attach]);
        Row { feature, answer, for_what, without }
    };
    let datapaths = vec![
        datapath("tc", &tc, &on_tc, "what sockets send", "use native"),
        datapath("native", &native, &on_native, "frames from a NIC", "use tc"),
        datapath("generic", &generic, &on_generic, "to compare", "use tc"),
    ];
    Kernel { features: tried.0, datapaths }
}

/// What every datapath keeps its state in.
fn state(tried: &mut Tried) -> Answer {
    let (everything, nothing) = ("everything", "nothing can be joined");
    let maps = [endpoint::endpoints(Family::V4), endpoint::endpoints(Family::V6), count::stats()];
    let made: Result<Vec<Map>> = maps.iter().map(Map::create).collect();
    let maps = tried.tell("hash and per-CPU maps", Answer::of(&made), everything, nothing);
    let ports = Answer::of(&Map::create(&endpoint::ports()));
    let ports = tried.tell("devmap by hash", ports, everything, nothing);
    let pins = file_system();
    let pins = tried.tell("BPF file system", pins, everything, "nothing outlives `xhop up`");
    Answer::all(&[&maps, &ports, &pins])
}

/// Our programs, loaded and attached to nothing.
struct Programs {
    forward: Result<Prog>,
    frags: Result<Prog>,
    peer: Result<Prog>,
    pass: Result<Prog>,
    trust: Result<Prog>,
}

impl Programs {
    fn load() -> Self {
        let load = |shipped: Shipped| -> Result<Prog> {
            let program = shipped.program().map_err(crate::Error::Assemble)?;
            let maps: Vec<Map> = program.maps().iter().map(Map::create).collect::<Result<_>>()?;
            Prog::load(shipped, &maps.iter().collect::<Vec<_>>())
        };
        Self {
            forward: load(Shipped::Forward(Checksum::Complete)),
            frags: load(Shipped::ForwardFrags),
            peer: load(Shipped::Peer),
            pass: load(Shipped::Pass),
            trust: load(Shipped::Trust),
        }
    }

    /// Whether each is taken; of tc, native and generic.
    fn tell(&self, tried: &mut Tried) -> [Answer; 3] {
        let (tc, native) = ("use `--datapath tc`", "use `--datapath native`");
        let xdp = tried.tell("XDP", Answer::of(&self.forward), "native", tc);
        let pieces = "XDP in several pieces (frags)";
        let pieces = tried.tell(pieces, Answer::of(&self.frags), "generic", tc);
        let peer = tried.tell("bpf_redirect_peer", Answer::of(&self.peer), "tc", native);
        let complete = "use `--checksum complete`";
        tried.tell("bpf_csum_level", Answer::of(&self.trust), "--checksum trust", complete);
        [peer, xdp, pieces]
    }

    /// In which form the kernel has them.
    fn tell_forms(&self, tried: &mut Tried) {
        let all = [&self.forward, &self.peer, &self.pass];
        let any = all.into_iter().find_map(|prog| prog.as_ref().ok());
        let of = |asked: Option<bool>, no: &str| match asked {
            Some(is_so) => Answer::yes_if(is_so, no),
            None => Answer::Unknown("no program could be loaded".into()),
        };
        let jited = any.and_then(|prog| Some(prog.info().ok()?.jited));
        let jited = of(jited, "programs are interpreted: see net.core.bpf_jit_enable");
        tried.tell("JIT", jited, "speed", "programs run, and take several times as long");
        // `pass` has none.
        let with_maps = [&self.forward, &self.peer].into_iter().find_map(|prog| prog.as_ref().ok());
        let by_index = with_maps.map(|prog| prog.map_refs() == Some(MapRefs::Index));
        let by_index = of(by_index, "the kernel does not take fd_array");
        let patched = "maps are patched into the bytes when they are loaded";
        tried.tell("maps by index", by_index, "the very bytes that are listed", patched);
        let comments = any.map(|prog| prog.btf_refused().is_none());
        let comments = of(comments, "the kernel does not take our BTF");
        let dumb = "`bpftool prog dump` shows no comments and no source lines";
        tried.tell("BTF", comments, "comments in the kernel's listings", dumb);
    }
}

/// What came of something that is tried on a veth.
fn on(stand: &Result<Stand>, tried: impl FnOnce(&Stand) -> Result<()>) -> Answer {
    match stand {
        Ok(stand) => Answer::of(&tried(stand)),
        Err(error) => Answer::Unknown(why(error)),
    }
}

/// The same with a program. What has not been loaded can't be attached, and a row before has said why.
fn with(
    prog: &Result<Prog>,
    stand: &Result<Stand>,
    tried: impl FnOnce(&Stand, &Prog) -> Result<()>,
) -> Answer {
    match prog {
        Ok(prog) => on(stand, |stand| tried(stand, prog)),
        Err(_) => Answer::Unknown("its program could not be loaded".into()),
    }
}

/// How programs are attached: whether somehow, by tc, native and generic.
fn attaching(programs: &Programs, stand: &Result<Stand>, tried: &mut Tried) -> [Answer; 3] {
    let (netlink, link) = ("use `--attach netlink`", "use `--attach link`");
    let Programs { frags, peer, pass, .. } = programs;
    let by_link = with(pass, stand, |at, prog| at.link(prog, XdpMode::Native));
    let by_link = tried.tell("native XDP by link", by_link, "native", netlink);
    let native = with(pass, stand, |at, prog| at.netlink(prog, XdpMode::Native));
    let native = tried.tell("native XDP by netlink", native, "native, --attach netlink", link);
    let native = Answer::any(&[&by_link, &native]);
    let by_link = with(frags, stand, |at, prog| at.link(prog, XdpMode::Generic));
    let by_link = tried.tell("generic XDP by link", by_link, "generic", netlink);
    let generic = with(frags, stand, |at, prog| at.netlink(prog, XdpMode::Generic));
    let generic = tried.tell("generic XDP by netlink", generic, "generic, --attach netlink", link);
    let generic = Answer::any(&[&by_link, &generic]);
    let tcx = with(peer, stand, Stand::tcx);
    let tcx = tried.tell("tc by link (tcx)", tcx, "tc, --checksum trust", "attached by netlink");
    let clsact = with(peer, stand, Stand::clsact);
    let clsact = tried.tell("tc by netlink (clsact)", clsact, "tc, --attach netlink", link);
    [Answer::any(&[&tcx, &clsact]), native, generic]
}

/// What else we use.
fn around(programs: &Programs, stand: &Result<Stand>, tried: &mut Tried) {
    let gro = match stand {
        Ok(stand) => stand.gro(),
        Err(error) => Answer::Unknown(why(error)),
    };
    let slower = "a program on the container's end makes it poll: slower";
    tried.tell("GRO for veth", gro, "native", slower);
    let readiness = on(stand, Stand::tells_readiness);
    let untold = "whether a veth takes redirected frames is seen only by probes";
    tried.tell("XDP features told (netdev)", readiness, "native", untold);
    let big = on(stand, Stand::big_tcp);
    tried.tell("BIG TCP over IPv4", big, "--big-tcp", "TCP over IPv4 sends at most 64 KiB at once");
    let live = with(&programs.pass, stand, Stand::live_frames);
    tried.tell("test runs with live frames", live, "bench --frames", "bench --frames is refused");
    let told = Answer::of(&Tracing::begin());
    let untold = "why a redirect fails is not told by the kernel";
    tried.tell("tracepoints of XDP", told, "doctor", untold);
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
