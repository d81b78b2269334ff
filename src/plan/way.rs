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
    pub big_tcp: bool,
    /// Let the joined send each other large packets.
    pub jumbo: bool,
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
}

impl Wishes {
    /// Settles what was left open, where `joined` is how others on the bridge are joined.
    pub fn settle(self, joined: Option<(Datapath, Option<ChecksumWay>)>) -> Result<Ways> {
        let Self { asked, checksum, attach, big_tcp, jumbo, force } = self;
        let datapath = asked.choose(checksum, joined.map(|(datapath, _)| datapath))?;
        if big_tcp && datapath == Datapath::Generic {
            let why = "generic XDP redirects no packet larger than an MTU can be, 64 KiB";
            return Err(Error::NoBigTcp { why });
        }
        let native = datapath == Datapath::Native;
        // Who trusts checksums wants it of all.
        let left_open = match joined {
            Some((_, Some(ChecksumWay::Trust))) => ChecksumWay::Trust,
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
        Ok(Ways { datapath, checksum, attach, big_tcp, jumbo, force })
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

/// The kernel that has `bpf_redirect_peer`.
const REDIRECT_PEER: (u32, u32) = (5, 10);
/// The kernel whose `bpf_redirect_peer` asks for no MTU.
const REDIRECT_PEER_LARGE: (u32, u32) = (5, 12);
/// The kernel in which XDP takes packets in several pieces (`BPF_F_XDP_HAS_FRAGS`).
const FRAGS: (u32, u32) = (5, 18);

impl Asked {
    /// The datapath, where `joined` is what others on the bridge are joined by. To say something of
    /// checksums makes sense of native XDP alone, so that it asks for it.
    pub fn choose(
        self,
        checksum: Option<ChecksumWay>,
        joined: Option<Datapath>,
    ) -> Result<Datapath> {
        let datapath = match (self, checksum, joined) {
            (Self::Tc, ..) => Datapath::Tc,
            (Self::Native, ..) | (Self::Auto, Some(_), _) => Datapath::Native,
            (Self::Generic, ..) => Datapath::Generic,
            (Self::Auto, None, Some(joined)) => joined,
            (Self::Auto, None, None) if kernel::release()? >= REDIRECT_PEER => Datapath::Tc,
            (Self::Auto, None, None) => Datapath::Native,
        };
        match checksum {
            Some(_) if datapath != Datapath::Native => {
                Err(Error::NoChecksumLost { datapath: datapath.to_string() })
            }
            _ => Ok(datapath),
        }
    }
}

impl Datapath {
    /// Why a container is joined by it, for people.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Tc => "packets stay the skbs that sockets made: the fastest for those",
            Self::Native => {
                "for frames that are not yet skbs; what sockets send is copied, and slower in bulk"
            }
            Self::Generic => "XDP on skbs; for kernels without bpf_redirect_peer, or to compare",
        }
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
    /// A `bpf_link`, pinned (XDP: kernels from 5.9; tc: from 6.6).
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
            None if lacking || kernel::release()? < (5, 9) => Ok(Self::Netlink),
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
