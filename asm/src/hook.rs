//! Where in the kernel a program runs: what it is given, and what its verdicts mean.

use crate::{tc, xdp};

/// A hook of the kernel's network stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Hook {
    /// Traffic control, on an skb.
    Tc,
    /// In the driver on a frame, or (generic) on an skb that is treated as one.
    #[default]
    Xdp,
    /// The same, where the frame may lie in several pieces (kernels from 5.18).
    XdpFrags,
}

impl Hook {
    /// The type of its programs (`enum bpf_prog_type`, include/uapi/linux/bpf.h).
    pub const fn prog_type(self) -> u32 {
        match self {
            Self::Tc => 3,
            Self::Xdp | Self::XdpFrags => 6,
        }
    }

    /// With which flags its programs are loaded (`BPF_F_*` of `BPF_PROG_LOAD`).
    pub const fn prog_flags(self) -> u32 {
        const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
        if matches!(self, Self::XdpFrags) { BPF_F_XDP_HAS_FRAGS } else { 0 }
    }

    /// The kernel's name of the type, and of the flag if there is one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tc => "BPF_PROG_TYPE_SCHED_CLS",
            Self::Xdp => "BPF_PROG_TYPE_XDP",
            Self::XdpFrags => "BPF_PROG_TYPE_XDP, BPF_F_XDP_HAS_FRAGS",
        }
    }

    /// The section of an ELF object by which libbpf knows that a program is for here.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
            Self::XdpFrags => "xdp.frags",
        }
    }

    /// The hook that a section's name stands for, as libbpf reads it; `None` if it is none of these.
    pub fn of_section(name: &str) -> Option<Self> {
        let is = |kind: &str| {
            name.strip_prefix(kind).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        match () {
            () if is("xdp.frags") => Some(Self::XdpFrags),
            () if is("xdp") => Some(Self::Xdp),
            () if is("tc") || is("tcx") || is("classifier") => Some(Self::Tc),
            () => None,
        }
    }

    /// The kernel's name of a verdict, the low 32 bits of `r0`; `None` for a number that it does not know.
    pub const fn action(self, verdict: i32) -> Option<&'static str> {
        match self {
            Self::Tc => tc::action(verdict),
            Self::Xdp | Self::XdpFrags => xdp::action(verdict),
        }
    }
}
