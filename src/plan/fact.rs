//! Facts: what can be made and taken back. An action is one or the other.

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use xhop_asm::programs::Shipped;

use super::chain::Chain;
use super::jumbo::Route;
use super::member::{Feature, Member, Replaced, Size};
use super::segment::Segment;
use super::way::{Attach, Spot};
use crate::container::{Interface, Mac};

/// Something that holds while containers are joined.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// A BPF file system is mounted.
    Bpffs,
    /// The bridge's maps exist and are pinned.
    Maps {
        /// The bridge.
        segment: Segment,
    },
    /// The member's record is on disk.
    Record(Box<Member>),
    /// The member's record is that of one who is joined in the same way, but has other addresses. It is the one
    /// or the other at any time.
    Rewrite {
        /// As it was.
        before: Box<Member>,
        /// As it is to be.
        after: Box<Member>,
    },
    /// A feature of the container's end is switched.
    Feature {
        /// The host's end, by which the other is found.
        host: Interface,
        /// The container's end.
        at: Interface,
        /// The feature, before and while joined.
        feature: Feature,
    },
    /// The bridge has a port that keeps its MTU where it is.
    Guard {
        /// The bridge.
        segment: Segment,
        /// Its MTU.
        mtu: u32,
    },
    /// A size of an end of the veth is changed.
    Size {
        /// The host's end, by which the other is found.
        host: Interface,
        /// The size, before and while joined.
        size: Size,
    },
    /// In a container there is a route to another's address that takes large packets.
    Route(Route),
    /// An interface has a `clsact`.
    Clsact {
        /// The interface.
        at: Interface,
    },
    /// A program is attached to the container's end: `pass`, so that it polls with NAPI, or `trust`.
    Inside {
        /// The bridge.
        segment: Segment,
        /// The host's end, by which the other and the member's pins are found.
        host: Interface,
        /// The container's end.
        at: Interface,
        /// The program.
        #[serde(serialize_with = "by_name")]
        program: Shipped,
        /// How it is attached.
        attach: Attach,
    },
    /// A foreign program is off the host's end, and kept.
    Foreign {
        /// The bridge.
        segment: Segment,
        /// The host's end.
        at: Interface,
        /// The program.
        replaced: Replaced,
    },
    /// The host's end can be redirected to.
    Port {
        /// The bridge.
        segment: Segment,
        /// The host's end.
        at: Interface,
    },
    /// The program that forwards is attached to the host's end.
    Forward {
        /// The bridge.
        segment: Segment,
        /// The host's end.
        at: Interface,
        /// The program.
        #[serde(serialize_with = "by_name")]
        program: Shipped,
        /// Where on it.
        spot: Spot,
        /// How it is attached.
        attach: Attach,
    },
    /// What is pinned for a host's end that is gone. Only ever taken back.
    Remains {
        /// The bridge.
        segment: Segment,
        /// The host's end.
        at: Interface,
    },
    /// What is changed of a veth that is there, but out of sight. Only ever taken back.
    Unseen {
        /// The host's end.
        at: Interface,
    },
    /// A chain's record is on disk.
    Chain(Box<Chain>),
    /// A chain's maps exist, are filled and pinned.
    ChainMaps {
        /// The chain.
        #[serde(rename = "nic", serialize_with = "by_nic")]
        chain: Box<Chain>,
    },
    /// A feature of a NIC is switched.
    NicFeature {
        /// The NIC.
        at: Interface,
        /// The feature, before and while it has a chain.
        feature: Feature,
    },
    /// An address is reached by the host's end.
    Endpoint {
        /// The bridge.
        segment: Segment,
        /// The container's address.
        address: IpAddr,
        /// The host's end.
        at: Interface,
        /// The container's Ethernet address.
        mac: Mac,
    },
}

fn by_name<S: Serializer>(program: &Shipped, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(program.name())
}

fn by_nic<S: Serializer>(chain: &Chain, serializer: S) -> Result<S::Ok, S::Error> {
    chain.nic.serialize(serializer)
}

impl Fact {
    /// Whether it is a record, of a member or a chain: made first, and removed only when all else is taken back.
    pub fn is_record(&self) -> bool {
        matches!(self, Self::Record(_) | Self::Chain(_))
    }

    /// Whether other members stand on it too: it is not taken back with one.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Bpffs | Self::Maps { .. } | Self::Guard { .. })
    }
}

/// Whether a fact is made or taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sense {
    /// Let it hold.
    Make,
    /// Let it hold no more.
    Undo,
}

/// One step of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Action {
    /// Make or undo.
    pub sense: Sense,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

impl Action {
    /// Writes a record anew.
    pub fn rewrite(before: &Member, after: &Member) -> Self {
        let (before, after) = (Box::new(before.clone()), Box::new(after.clone()));
        Self { sense: Sense::Make, fact: Fact::Rewrite { before, after } }
    }

    /// The record that stands when one is written anew.
    pub fn rewritten(&self) -> Option<Fact> {
        match &self.fact {
            Fact::Rewrite { after, .. } => Some(Fact::Record(after.clone())),
            _ => None,
        }
    }

    /// The action that takes this one back.
    pub fn inverse(&self) -> Self {
        let sense = match self.sense {
            Sense::Make => Sense::Undo,
            Sense::Undo => Sense::Make,
        };
        Self { sense, fact: self.fact.clone() }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let make = self.sense == Sense::Make;
        let verb = |yes, no| if make { yes } else { no };
        let state = |on| if on { "on" } else { "off" };
        match &self.fact {
            Fact::Bpffs => write!(f, "{} /sys/fs/bpf", verb("mount", "unmount")),
            Fact::Maps { segment } => {
                write!(f, "{} the maps of bridge {segment}", verb("create", "remove"))
            }
            Fact::Record(member) => {
                write!(f, "{} the record of {}", verb("write", "remove"), member.name)
            }
            Fact::Rewrite { before, after } => {
                let member = if make { after } else { before };
                write!(f, "write the record of {} anew", member.name)
            }
            Fact::Feature { at, feature, .. } => {
                let on = if make { feature.on } else { feature.was };
                write!(f, "switch {} {} on {at} in the container", feature.name, state(on))
            }
            Fact::Guard { segment, mtu } => {
                let verb = verb("add a port to", "remove the port from");
                write!(f, "{verb} {segment} that keeps its MTU at {mtu}")
            }
            Fact::Size { host, size } => {
                let bytes = if make { size.on } else { size.was };
                write!(f, "set {} to {bytes}", size.of(host))
            }
            Fact::Route(Route { host, to, .. }) => {
                let verb = verb("add a route for large packets", "remove the route");
                write!(f, "{verb} to {to} behind {host} in the container")
            }
            Fact::Clsact { at } => {
                write!(f, "{} {at}", verb("add clsact to", "remove clsact, if it is empty, from"))
            }
            Fact::Inside { at, program, .. } => {
                let name = program.name();
                match make {
                    true => write!(f, "attach {name} to {at} in the container"),
                    false => write!(f, "detach {name} from {at} in the container"),
                }
            }
            Fact::Foreign { at, replaced, .. } => write!(
                f,
                "{} {at}, as --force asked",
                verb(
                    &format!("take program {} off", replaced.prog_id),
                    &format!("put program {} back on", replaced.prog_id)
                )
            ),
            Fact::Port { at, .. } => {
                write!(f, "{} {at}", verb("allow redirects to", "forbid redirects to"))
            }
            Fact::Forward { at, program, spot, attach, .. } => match make {
                true => write!(f, "attach {} to {at} ({spot}) by {attach}", program.name()),
                false => write!(f, "detach {} from {at}", program.name()),
            },
            Fact::Remains { at, .. } => write!(f, "remove the pins of {at}, which is gone"),
            Fact::Unseen { at, .. } => write!(f, "give back what was changed of {at}"),
            Fact::Chain(chain) => {
                write!(f, "{} the record of the chain {chain}", verb("write", "remove"))
            }
            Fact::ChainMaps { chain } => {
                write!(f, "{} the maps of the chain on {}", verb("create", "remove"), chain.nic)
            }
            Fact::NicFeature { at, feature } => {
                let on = if make { feature.on } else { feature.was };
                write!(f, "switch {} {} on {at}", feature.name, state(on))
            }
            Fact::Endpoint { address, at, mac, .. } if make => {
                write!(f, "send {address} to {mac} by {at}")
            }
            Fact::Endpoint { address, at, .. } => write!(f, "send {address} to {at} no more"),
        }
    }
}
