//! Service chains: what is for some address goes from a NIC into one container after the other, as frames
//! that are not yet skbs, and ends in the stack of the last.
//!
//! A chain has a record and maps of its own, and is made of the same facts as members are.

mod altered;
mod down;
mod inside;
mod matches;
pub mod record;
mod tables;
mod up;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xhop_asm::programs::Shipped;

pub use altered::altered;
pub use down::down;
pub use inside::attached_inside;
pub use matches::Match;
pub use tables::{make, maps, remove, there};
pub use up::{Made, up};

use super::fact::Fact;
use super::member::Feature;
use super::pins::MemberPins;
use super::segment::Segment;
use super::way::{Attach, Spot};
use crate::container::{Interface, Mac};
use crate::{Error, Result};

/// Version of the record's form; another is not read.
pub const VERSION: u32 = 1;

/// All that is known of a chain. Its record is written first and removed last, as a member's is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// [`VERSION`]
    pub version: u32,
    /// Where frames come in.
    pub nic: Interface,
    /// Its other end, if it is a veth whose other end can be seen.
    pub far: Option<Interface>,
    /// The features that are changed: of the other end, if there is one, else of the NIC.
    pub features: Vec<Feature>,
    /// What goes in.
    pub matches: Vec<Match>,
    /// The containers, in order.
    pub members: Vec<Stop>,
    /// Whether the last one's answers go back through them.
    pub back: bool,
}

/// A container in a chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stop {
    /// How the user named it, with its kind.
    pub name: String,
    /// The container's end of its veth.
    pub inside: Interface,
    /// The host's end.
    pub host: Interface,
    /// The container's Ethernet address.
    pub mac: Mac,
    /// What makes its end take frames, and do with them what it should.
    pub ready: Ready,
    /// The features of the container's end that are changed.
    pub features: Vec<Feature>,
}

/// What is done at a container's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// Nothing: it has a native XDP program of its own or, of the last, its end polls.
    Found,
    /// `bounce` is attached.
    Bounce,
    /// GRO is switched on, so that it polls (kernels from 5.13).
    Gro,
    /// `pass` is attached, so that it polls.
    Pass,
}

impl Ready {
    /// The program of ours that is there.
    pub fn program(self) -> Option<Shipped> {
        match self {
            Self::Found | Self::Gro => None,
            Self::Bounce => Some(Shipped::Bounce),
            Self::Pass => Some(Shipped::Pass),
        }
    }
}

/// A program of a chain in its place.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The program.
    pub program: Shipped,
    /// The interface.
    pub at: &'a Interface,
    /// Whose pins hold it: a host's end, or the NIC.
    pub host: &'a Interface,
}

impl Place<'_> {
    /// Whether it is on the NIC or on a host's end.
    pub fn is_on_host(&self) -> bool {
        self.at == self.host
    }

    /// The pin that holds it.
    pub fn pin(&self, chain: &Chain) -> PathBuf {
        let pins = chain.pins(self.host);
        if self.is_on_host() { pins.forward() } else { pins.inside(self.program) }
    }
}

/// Nobody joins by XDP who is in a chain: each would find what the other has made at the container's end, and lose
/// it with the other.
pub fn refuse_member(name: &str, host: &Interface, chains: &[Chain]) -> Result<()> {
    let is_in = |chain: &&Chain| chain.members.iter().any(|stop| stop.host == *host);
    match chains.iter().find(is_in) {
        Some(chain) => Err(Error::InChain { name: name.into(), nic: chain.nic.name.clone() }),
        None => Ok(()),
    }
}

impl Chain {
    /// Where its pins are: a NIC is no bridge, so that no two have the same place.
    pub fn segment(&self) -> Segment {
        Segment { bridge: self.nic.clone() }
    }

    /// The pins of one of its interfaces.
    pub fn pins(&self, host: &Interface) -> MemberPins {
        MemberPins::of(&self.segment(), host)
    }

    /// Its interfaces, but for containers' ends that have programs of their own, or may have.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        let stops = self.members.iter().flat_map(|stop| {
            let ours = stop.ready.program().map(|_| &stop.inside);
            [Some(&stop.host), ours].into_iter().flatten()
        });
        std::iter::once(&self.nic).chain(stops)
    }

    /// Its programs: on the NIC first, then of each member, at the container's end and at the host's.
    pub fn places(&self) -> Vec<Place<'_>> {
        let Self { nic, members, .. } = self;
        let mut places = vec![Place { program: Shipped::ChainIn, at: nic, host: nic }];
        let last = members.len().saturating_sub(1);
        for (at, Stop { inside, host, ready, .. }) in members.iter().enumerate() {
            let own = ready.program().map(|program| Place { program, at: inside, host });
            places.extend(own);
            let on_host = match (at == last, self.back) {
                (false, false) => Some(Shipped::Next),
                (false, true) => Some(Shipped::NextBack),
                (true, false) => None,
                (true, true) => Some(Shipped::BackIn),
            };
            places.extend(on_host.map(|program| Place { program, at: host, host }));
        }
        places
    }

    /// What makes it a chain, in the order in which it is safe to make: the way into it last.
    pub fn facts(&self) -> Vec<Fact> {
        let segment = || self.segment();
        let chain = || Box::new(self.clone());
        let mut facts = vec![Fact::Chain(chain()), Fact::Bpffs, Fact::ChainMaps { chain: chain() }];
        facts.extend(self.features.iter().map(|feature| match &self.far {
            Some(far) => {
                Fact::Feature { host: self.nic.clone(), at: far.clone(), feature: feature.clone() }
            }
            None => Fact::NicFeature { at: self.nic.clone(), feature: feature.clone() },
        }));
        for Stop { inside, host, features, .. } in &self.members {
            facts.extend(features.iter().map(|feature| Fact::Feature {
                host: host.clone(),
                at: inside.clone(),
                feature: feature.clone(),
            }));
            facts.push(Fact::Port { segment: segment(), at: host.clone() });
        }
        facts.extend(self.places().into_iter().rev().map(|place| {
            let at = place.at.clone();
            match place.is_on_host() {
                true => Fact::Forward {
                    segment: segment(),
                    at,
                    program: place.program,
                    spot: Spot::Native,
                    attach: Attach::Link,
                },
                false => Fact::Inside {
                    segment: segment(),
                    host: place.host.clone(),
                    at,
                    program: place.program,
                    attach: Attach::Link,
                },
            }
        }));
        facts
    }
}

/// The NIC and who is behind it: `eth0 > a > b`.
impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.nic)?;
        self.members.iter().try_for_each(|stop| write!(f, " > {}", stop.name))
    }
}
