//! What a register or a stack slot may hold.

use super::scalar::Scalar;

/// What is known of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// Nothing was put there.
    Unset,
    /// A call, a change of the packet's length, or that it was found beyond `data_end`, has made it void.
    Void,
    /// A number.
    Scalar(Scalar),
    /// The context.
    Ctx,
    /// The frame pointer plus so many bytes.
    Stack(i32),
    /// An address in the packet.
    Packet(PacketAddr),
    /// The address after its last byte.
    PacketEnd,
    /// A map, by its index.
    Map(u32),
    /// A place in a value of a map.
    Looked {
        /// Its index.
        map: u32,
        /// From the value's first byte.
        off: i32,
    },
    /// What a lookup gave: a value of this map, or NULL. Copies share the id.
    LookedOrNull {
        /// Its index.
        map: u32,
        /// Which lookup.
        id: u32,
    },
}

/// `data + variable + off`. As in the kernel, checks against `data_end` count for all addresses with the same
/// variable part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PacketAddr {
    /// The known part, in bytes.
    pub(super) off: i32,
    /// The other part: which one (0: none), what it may be, and what kernels take it to be at most.
    pub(super) id: u32,
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) bound: u32,
    /// So many bytes from `data + variable` on are known to be in the packet.
    pub(super) checked: u32,
}

impl PacketAddr {
    /// `data`, fresh from the context.
    pub(super) const START: Self = Self { off: 0, id: 0, min: 0, max: 0, bound: 0, checked: 0 };
}

impl Value {
    /// Any number.
    pub(super) const UNKNOWN: Self = Self::Scalar(Scalar::UNKNOWN);

    /// What it is, for people.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Unset => "nothing",
            Self::Void => "nothing any more",
            Self::Scalar(_) => "a number",
            Self::Ctx => "the context",
            Self::Stack(_) => "an address on the stack",
            Self::Packet(_) => "an address in the packet",
            Self::PacketEnd => "data_end",
            Self::Map(_) => "a map",
            Self::Looked { .. } => "an address in a map's value",
            Self::LookedOrNull { .. } => "a map's value or NULL",
        }
    }

    /// Whether it changes with the packet's length.
    pub(super) const fn is_of_packet(self) -> bool {
        matches!(self, Self::Packet(_) | Self::PacketEnd)
    }
}
