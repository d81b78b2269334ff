//! The ways in which containers can be joined: by which hook, and what is done about checksums.

use std::fmt;

use serde::{Deserialize, Serialize};
use xhop_asm::programs::{Checksum, Shipped};

use crate::sys::bpf::{XdpMode, has_tcx};
use crate::sys::kernel;
use crate::{Error, Result};

/// What the user asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Asked {
    /// The fastest that this kernel does right, for what sockets send.
    Auto,
    /// Traffic control: packets stay skbs, as their sender's stack made them.
    Tc,
    /// XDP in the veth driver: for frames that are not yet skbs.
    Native,
    /// XDP on skbs.
    Generic,
}

/// How containers are to be joined, as far as the user says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wishes {
    /// By which hook.
    pub asked: Asked,
    /// What to do about checksums.
    pub checksum: Option<ChecksumWay>,
    /// How to attach programs.
    pub attach: Option<Attach>,
    /// Let TCP over IPv4 send more at once.
    pub big_tcp: Option<bool>,
    /// Let the joined send each other large packets.
    pub jumbo: Option<bool>,
    /// Take foreign programs off, and join what the kernel's own path would keep apart.
    pub force: bool,
}

/// The same, with all that the user left open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ways {
    /// By which hook.
    pub datapath: Datapath,
    /// What is done about checksums; nothing where none is lost.
    pub checksum: Option<ChecksumWay>,
    /// How programs are attached.
    pub attach: Attach,
    /// TCP over IPv4 sends more at once.
    pub big_tcp: bool,
    /// The joined send each other large packets.
    pub jumbo: bool,
    /// Foreign programs are taken off.
    pub force: bool,
    /// Why by that hook.
    pub chosen: Chosen,
}

impl Wishes {
    /// Settles what was left open, where `joined` is how others on the bridge are joined, and `native` tells
    /// whether a container has a native XDP program of its own.
    pub fn settle(self, joined: Option<Ways>, native: bool) -> Result<Ways> {
        let Self { asked, checksum, attach, big_tcp, jumbo, force } = self;
        let (datapath, chosen) =
            asked.choose(checksum, joined.map(|joined| joined.datapath), native)?;
        // Options are taken over with the datapath that they are for.
        let theirs = joined.filter(|joined| joined.datapath == datapath);
        let big_tcp = big_tcp.unwrap_or(theirs.is_some_and(|ways| ways.big_tcp));
        let jumbo = jumbo.unwrap_or(theirs.is_some_and(|ways| ways.jumbo));
        match datapath {
            Datapath::Generic if big_tcp => {
                let why = "generic XDP redirects no packet larger than an MTU can be, 64 KiB";
                return Err(Error::NoBigTcp { why });
            }
            Datapath::Native if big_tcp => {
                let why =
                    "native XDP takes single frames, into which the sender cuts up all it sends";
                return Err(Error::NoBigTcp { why });
            }
            _ => {}
        }
        let native = datapath == Datapath::Native;
        // Who trusts checksums wants it of all.
        let left_open = match joined.and_then(|joined| joined.checksum) {
            Some(ChecksumWay::Trust) => ChecksumWay::Trust,
            _ => ChecksumWay::Complete,
        };
        let checksum = native.then_some(checksum.unwrap_or(left_open));
        if jumbo && datapath != Datapath::Tc {
            return Err(Error::JumboByXdp { datapath: datapath.to_string() });
        }
        if jumbo && kernel::release()? < REDIRECT_PEER_LARGE {
            return Err(Error::NoJumbo);
        }
        if datapath == Datapath::Generic && kernel::release()? < FRAGS {
            return Err(Error::NoFrags);
        }
        let attach = Attach::settle(attach, datapath, checksum)?;
        Ok(Ways { datapath, checksum, attach, big_tcp, jumbo, force, chosen })
    }
}

impl Ways {
    /// Whether the host's ends take larger packets than the bridge.
    pub fn raises_mtu(self) -> bool {
        self.jumbo || self.datapath == Datapath::Generic
    }
}

/// The hook that a container's packets take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Datapath {
    /// tc ingress of the host's end, and `bpf_redirect_peer`.
    Tc,
    /// XDP in the veth driver.
    Native,
    /// XDP on skbs.
    Generic,
}

impl fmt::Display for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tc => "tc",
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// Why containers are joined by the hook that they are joined by.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chosen {
    /// The user has asked for it.
    Asked,
    /// Others on the bridge are joined by it.
    AsOthers,
    /// A container has a native XDP program of its own, which tc would go round.
    OwnProgram,
    /// Nothing speaks against what is best for what sockets send.
    #[default]
    Best,
}

/// The kernel whose `bpf_redirect_peer` asks for no MTU.
const REDIRECT_PEER_LARGE: (u32, u32) = (5, 12);
/// The kernel in which XDP takes packets in several pieces (`BPF_F_XDP_HAS_FRAGS`).
const FRAGS: (u32, u32) = (5, 18);

impl Asked {
    /// The datapath, where `joined` is what others on the bridge are joined by. To say something of
    /// checksums makes sense of native XDP alone, so that it asks for it.
    fn choose(
        self,
        checksum: Option<ChecksumWay>,
        joined: Option<Datapath>,
        native: bool,
    ) -> Result<(Datapath, Chosen)> {
        let (datapath, chosen) = match (self, checksum, joined) {
            (Self::Tc, ..) => (Datapath::Tc, Chosen::Asked),
            (Self::Native, ..) | (Self::Auto, Some(_), _) => (Datapath::Native, Chosen::Asked),
            (Self::Generic, ..) => (Datapath::Generic, Chosen::Asked),
            (Self::Auto, None, Some(joined)) => (joined, Chosen::AsOthers),
            (Self::Auto, None, None) if native => (Datapath::Native, Chosen::OwnProgram),
            (Self::Auto, None, None) => (Datapath::Tc, Chosen::Best),
        };
        match checksum {
            Some(_) if datapath != Datapath::Native => {
                Err(Error::NoChecksumLost { datapath: datapath.to_string() })
            }
            _ => Ok((datapath, chosen)),
        }
    }
}

impl Datapath {
    /// Why a container is joined by it, for people.
    pub fn why(self, chosen: Chosen) -> String {
        let chosen = match chosen {
            Chosen::Asked => "asked for",
            Chosen::AsOthers => "as others on the bridge",
            Chosen::OwnProgram => "a container has a native XDP program of its own",
            Chosen::Best => "the best for what sockets send",
        };
        let what = match self {
            Self::Tc => "packets stay the skbs that they are",
            Self::Native => {
                "for frames that are not yet skbs; what sockets send is copied, and slower in bulk"
            }
            Self::Generic => "XDP on skbs, to compare",
        };
        format!("{chosen}; {what}")
    }
}

/// What is done about checksums that the containers leave to the device, where XDP loses that they did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumWay {
    /// The program completes them.
    Complete,
    /// The containers' own stacks do: their tx checksum offload is switched off.
    OffloadOff,
    /// The receiver is told that they are right, of what comes from a joined container to another.
    Trust,
    /// Nothing: to reproduce the fault. Ping works, TCP hangs.
    None,
}

/// How a program gets to its interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// A `bpf_link`, pinned (tc: kernels from 6.6).
    Link,
    /// Through netlink: `IFLA_XDP`, or a filter on `clsact`; the program is pinned.
    Netlink,
}

impl Attach {
    /// What is asked for; else a link where this kernel has them for the programs of this way.
    fn settle(
        asked: Option<Self>,
        datapath: Datapath,
        checksum: Option<ChecksumWay>,
    ) -> Result<Self> {
        let tc = datapath == Datapath::Tc || checksum == Some(ChecksumWay::Trust);
        let lacking = tc && !has_tcx();
        match asked {
            Some(Self::Link) if lacking => Err(Error::NoTcLinks),
            Some(asked) => Ok(asked),
            None if lacking => Ok(Self::Netlink),
            None => Ok(Self::Link),
        }
    }
}

/// Shows a value by its name on the command line and in records.
macro_rules! shown_by_name {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let value = clap::ValueEnum::to_possible_value(self);
                f.pad(value.as_ref().map_or("", |value| value.get_name()))
            }
        }
    )*};
}
shown_by_name!(ChecksumWay, Attach);

/// Where on an interface a program is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spot {
    /// XDP in the driver.
    Native,
    /// XDP on skbs.
    Generic,
    /// Traffic control's ingress.
    Ingress,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native XDP",
            Self::Generic => "generic XDP",
            Self::Ingress => "tc ingress",
        })
    }
}

impl Spot {
    /// The mode, if XDP it is.
    pub fn xdp_mode(self) -> Option<XdpMode> {
        match self {
            Self::Native => Some(XdpMode::Native),
            Self::Generic => Some(XdpMode::Generic),
            Self::Ingress => None,
        }
    }
}

/// The program on the host's ends, and where it is.
pub fn on_host(datapath: Datapath, checksum: Option<ChecksumWay>) -> (Shipped, Spot) {
    match datapath {
        Datapath::Tc => (Shipped::Peer, Spot::Ingress),
        Datapath::Generic => (Shipped::ForwardFrags, Spot::Generic),
        Datapath::Native => {
            let program = match checksum {
                Some(ChecksumWay::Complete) => Shipped::Forward(Checksum::Complete),
                _ => Shipped::Forward(Checksum::Keep),
            };
            (program, Spot::Native)
        }
    }
}

/// Where a program on the container's end is.
pub fn inside_spot(program: Shipped) -> Spot {
    match program {
        Shipped::Trust => Spot::Ingress,
        _ => Spot::Native,
    }
}
