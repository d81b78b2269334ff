//! What can be wrong with a path: each cause by its name, what it means, and the one thing to do.

use serde::Serialize;

use crate::shell::shown;

/// Why packets are lost, or do not hop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// No datapath works on this kernel.
    KernelLacks,
    /// None could be tried.
    KernelUnknown,
    /// The two are not on one bridge.
    OtherBridge,
    /// An interface on the way is down, or its port does not forward.
    LinkDown,
    /// One of the two is not joined.
    NotJoined,
    /// Its veth is not on the bridge that it was joined on.
    Moved,
    /// Its program is not attached any more.
    Detached,
    /// Its program runs, the pin that tells so is gone.
    Unpinned,
    /// The bridge would keep it from others.
    Apart,
    /// An address was added, taken away or went to another, or its Ethernet address is another.
    AddressMoved,
    /// Our tables lead an address to an interface that is not its container's.
    StaleEntry,
    /// It sends from an address that is another joined container's.
    SourceVerification,
    /// It does not take frames: its end does not poll.
    PeerNotReady,
    /// The same, though GRO is on.
    GroWhileDown,
    /// Its MTU is too large for native XDP on the host's end.
    PeerMtu,
    /// Packets larger than an MTU on the way.
    BeyondMtu,
    /// Checksums that were left to the device come half made.
    BadChecksums,
    /// A program that is not ours takes the packets.
    ForeignProgram,
    /// Packets go round a native XDP program of the container's own.
    GoesRound,
    /// iptables drops what goes by the bridge.
    BrNetfilter,
    /// Something else drops what goes by the bridge.
    BridgeDrops,
    /// Packets arrive whole, and nobody has them.
    NotTaken,
    /// Packets do not leave the container.
    NotSent,
    /// Packets are not joined ones for the program: it leaves them to the bridge.
    ByBridge,
    /// Packets come, and not by the veths that are joined.
    OtherWay,
    /// A setting of ours was changed.
    Altered,
    /// More came by than could be looked at, so that it is not known how far probes got.
    NotSeen,
    /// Packets are lost, and nothing tells why.
    Lost,
}

impl Cause {
    /// What it is, in one sentence.
    pub const fn means(self) -> &'static str {
        match self {
            Self::KernelLacks => "this kernel lacks what every way to join needs",
            Self::KernelUnknown => {
                "it could not be told whether this kernel has what joining needs"
            }
            Self::OtherBridge => {
                "the two are not on one bridge: only who is on the same one can be joined"
            }
            Self::LinkDown => "an interface on the way is down, so nothing gets through",
            Self::NotJoined => "its packets go by the bridge: nobody has joined it",
            Self::Moved => "its veth is not on the bridge that it was joined on",
            Self::Detached => "its program was taken off: what it sends goes by the bridge",
            Self::Unpinned => {
                "its program runs, but the pin by which it is held and taken off is gone"
            }
            Self::Apart => "the bridge would keep it from the others; what hops goes round that",
            Self::AddressMoved => {
                "who has which address is not as `up` found it: what is sent there does not hop, or hops to the wrong one"
            }
            Self::StaleEntry => {
                "our tables lead to an interface that is gone or another's: a redirect there fails (err -22), or is another's packet"
            }
            Self::SourceVerification => {
                "it sends from an address that is another joined container's: such packets are not forwarded"
            }
            Self::PeerNotReady => {
                "a redirect to it is dropped without a word (err -6, from kernel 6.3 on -95): neither GRO nor an XDP program makes its end poll"
            }
            Self::GroWhileDown => {
                "GRO was switched on while the interface was down, which kernels before 6.6 forget to say: redirects to it fail"
            }
            Self::PeerMtu => {
                "native XDP is refused (ERANGE) on a veth whose other end has an MTU that does not fit a page"
            }
            Self::BeyondMtu => {
                "packets larger than the MTU of an interface on the way are dropped there; what TCP sends in bulk is one packet until it is cut up"
            }
            Self::BadChecksums => {
                "the sender leaves checksums to the device, XDP loses that they were left, and the receiver drops what does not sum up"
            }
            Self::ForeignProgram => "a program that is not ours is on the way, and may drop them",
            Self::GoesRound => {
                "bpf_redirect_peer goes round a native XDP program of the container's own"
            }
            Self::BrNetfilter => {
                "br_netfilter gives what goes by the bridge to iptables, and a rule or the policy of FORWARD drops it"
            }
            Self::BridgeDrops => {
                "the bridge has the packets and does not send them on to the other's port"
            }
            Self::NotTaken => "packets arrive whole, and then something in the receiver drops them",
            Self::NotSent => "packets do not leave the sender's interface",
            Self::ByBridge => "both are joined, and the program leaves the packets to the bridge",
            Self::OtherWay => "packets come, but by another way than the two veths that are joined",
            Self::Altered => "somebody has changed what `up` had set",
            Self::NotSeen => {
                "more came by than could be looked at: how far the probes got is not known"
            }
            Self::Lost => "packets are lost, and nothing that can be seen tells why",
        }
    }

    /// Whether packets may be lost by it, so that no other cause is to be looked for. By the others they go on
    /// by the bridge.
    pub const fn loses(self) -> bool {
        !matches!(
            self,
            Self::KernelLacks
                | Self::KernelUnknown
                | Self::NotJoined
                | Self::Detached
                | Self::Unpinned
                | Self::Apart
                | Self::PeerMtu
                | Self::GoesRound
                | Self::Altered
        )
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Why.
    pub cause: Cause,
    /// What means this.
    pub means: &'static str,
    /// On what: a container, an interface, a way.
    pub on: String,
    /// What was seen.
    pub found: String,
    /// The command that mends it, or where to look.
    pub remedy: String,
}

impl Finding {
    /// Of this cause.
    pub fn new(
        cause: Cause,
        on: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (on, found, remedy) = (shown(&on.into()), shown(&found.into()), remedy.into());
        Self { cause, means: cause.means(), on, found, remedy }
    }
}
