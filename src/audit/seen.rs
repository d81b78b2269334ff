//! What BPF there is on an interface, and where on it.

use std::fmt;

use crate::Result;
use crate::plan::way::{Attach, Spot};
use crate::sys::bpf::{TcxHook, XdpMode, tcx};
use crate::sys::netlink::{LinkInfo, Rtnl};
use crate::sys::netns::Netns;

/// A program on an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its id; `None` for classic BPF, which has none.
    pub prog_id: Option<u32>,
    /// Where it is.
    pub seat: Seat,
}

/// Where on an interface a program is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seat {
    /// XDP.
    Xdp(XdpMode),
    /// tcx, a link or none.
    Tcx(TcxHook),
    /// A filter of traffic control, or an action of one.
    Filter {
        /// On what.
        hook: String,
        /// What tc(8) was told to call it.
        name: String,
        /// Whether it stands as ours does.
        as_ours: bool,
    },
}

impl Seen {
    /// Whether it is XDP.
    pub fn is_xdp(&self) -> bool {
        matches!(self.seat, Seat::Xdp(_))
    }
}

impl Seat {
    /// Whether what is there has what the interface sends.
    pub fn is_egress(&self) -> bool {
        match self {
            Self::Xdp(_) => false,
            Self::Tcx(hook) => *hook == TcxHook::Egress,
            Self::Filter { hook, .. } => hook == "egress",
        }
    }

    /// Whether this is where `up` puts a program.
    pub fn fits(&self, spot: Spot, attach: Attach) -> bool {
        match (self, attach) {
            (Self::Xdp(mode), _) => spot.xdp_mode() == Some(*mode),
            (Self::Tcx(hook), Attach::Link) => spot == Spot::Ingress && *hook == TcxHook::Ingress,
            (Self::Filter { as_ours, .. }, Attach::Netlink) => spot == Spot::Ingress && *as_ours,
            (Self::Tcx(_), Attach::Netlink) | (Self::Filter { .. }, Attach::Link) => false,
        }
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xdp(XdpMode::Native) => f.write_str("native XDP"),
            Self::Xdp(XdpMode::Generic) => f.write_str("generic XDP"),
            Self::Xdp(XdpMode::Offload) => f.write_str("offloaded XDP"),
            Self::Tcx(TcxHook::Ingress) => f.write_str("tcx ingress"),
            Self::Tcx(TcxHook::Egress) => f.write_str("tcx egress"),
            Self::Filter { hook, .. } => write!(f, "tc {hook}"),
        }
    }
}

/// All BPF on an interface of this namespace.
pub fn on(netns: &Netns, link: &LinkInfo) -> Result<Vec<Seen>> {
    let seen = |prog_id, seat| Seen { prog_id: Some(prog_id), seat };
    let xdp = link.xdp.iter().map(|xdp| seen(xdp.prog_id, Seat::Xdp(xdp.mode)));
    let mut all: Vec<Seen> = xdp.collect();
    let hooks = [TcxHook::Ingress, TcxHook::Egress];
    let found = netns.run(|| hooks.map(|hook| tcx(link.ifindex, hook)))?;
    for (hook, ids) in hooks.into_iter().zip(found) {
        all.extend(ids?.into_iter().map(|id| seen(id, Seat::Tcx(hook))));
    }
    let filters = Rtnl::open_in(netns)?.tc_programs(link.ifindex)?.into_iter().map(|tc| Seen {
        prog_id: tc.prog_id,
        seat: Seat::Filter { hook: tc.hook, name: tc.name, as_ours: tc.as_ours },
    });
    all.extend(filters);
    Ok(all)
}
