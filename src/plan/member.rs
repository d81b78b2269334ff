//! A member: one joined container, as it stands in its record, and the facts that make it one.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use xhop_asm::programs::{Checksum, Shipped};

use super::fact::Fact;
use super::segment::Segment;
use crate::container::{Interface, Mac};
use crate::sys::bpf::XdpMode;

/// Version of the record's form; another is not read.
pub const VERSION: u32 = 1;

/// The hook that a container's packets take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Datapath {
    /// XDP in the veth driver.
    Native,
}

/// What is done about checksums that the containers leave to the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumWay {
    /// The program completes them.
    Complete,
    /// The containers' own stacks do: their tx checksum offload is switched off.
    OffloadOff,
    /// Nothing: to reproduce the fault. Ping works, TCP hangs.
    None,
}

impl ChecksumWay {
    /// The program that runs on the host's ends.
    pub fn program(self) -> Shipped {
        Shipped::Forward(match self {
            Self::Complete => Checksum::Complete,
            Self::OffloadOff | Self::None => Checksum::Keep,
        })
    }
}

/// How a program gets to its interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// A `bpf_link`, pinned (kernels from 5.9).
    Link,
    /// `IFLA_XDP` through netlink; the program is pinned.
    Netlink,
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
shown_by_name!(Datapath, ChecksumWay, Attach);

/// Why the container's end takes redirected frames: it polls with NAPI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// It did when it was found.
    Found,
    /// GRO was switched on (kernels from 5.13).
    Gro,
    /// The `pass` program was attached to it.
    Pass,
}

/// A foreign program that was taken off, on the user's word, and is kept to be put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replaced {
    /// Its id when it was found.
    pub prog_id: u32,
    /// Whether it ran in the driver (native) or after it (generic).
    pub native: bool,
}

impl Replaced {
    /// Where it ran.
    pub fn mode(&self) -> XdpMode {
        if self.native { XdpMode::Native } else { XdpMode::Generic }
    }
}

/// Everything that is known of a joined container. Its record is written before anything is changed
/// for it and removed after all was taken back: whatever happens between, the record says what to undo.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// [`VERSION`]
    pub version: u32,
    /// How the user named it, with its kind.
    pub name: String,
    /// The bridge that it is joined on.
    pub segment: Segment,
    /// The container's end of its veth.
    pub inside: Interface,
    /// The host's end.
    pub host: Interface,
    /// The container's Ethernet address.
    pub mac: Mac,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
    /// The hook.
    pub datapath: Datapath,
    /// What is done about checksums.
    pub checksum: ChecksumWay,
    /// How programs are attached.
    pub attach: Attach,
    /// Why its end takes redirected frames.
    pub readiness: Readiness,
    /// The features of its end that are changed: full name, value before, value while joined.
    pub features: Vec<Feature>,
    /// What was taken off its host side.
    pub replaced: Option<Replaced>,
}

/// A changed feature of the container's end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Feature {
    /// Its name as `ethtool -k` prints it.
    pub name: String,
    /// As it was found.
    pub was: bool,
    /// As it is while the container is joined.
    pub on: bool,
}

impl Member {
    /// Its veth: the host's end and the container's.
    pub fn ends(&self) -> [&Interface; 2] {
        [&self.host, &self.inside]
    }

    /// What makes it joined, in the order in which it is safe to make: the record first, the addresses
    /// last, so that nobody sends to it before it can receive. Taking back goes the other way.
    pub fn facts(&self) -> Vec<Fact> {
        let segment = &self.segment;
        let host = || self.host.clone();
        let mut facts = vec![
            Fact::Record(Box::new(self.clone())),
            Fact::Bpffs,
            Fact::Maps { segment: segment.clone() },
        ];
        facts.extend(self.features.iter().map(|feature| Fact::Feature {
            host: host(),
            at: self.inside.clone(),
            feature: feature.clone(),
        }));
        if self.readiness == Readiness::Pass {
            let at = self.inside.clone();
            facts.push(Fact::Pass {
                segment: segment.clone(),
                host: host(),
                at,
                attach: self.attach,
            });
        }
        if let Some(replaced) = self.replaced {
            facts.push(Fact::Foreign { segment: segment.clone(), at: host(), replaced });
        }
        facts.push(Fact::Port { segment: segment.clone(), at: host() });
        facts.push(Fact::Forward {
            segment: segment.clone(),
            at: host(),
            checksum: self.checksum,
            attach: self.attach,
        });
        facts.extend(self.addresses.iter().map(|address| Fact::Endpoint {
            segment: segment.clone(),
            address: *address,
            at: host(),
            mac: self.mac,
        }));
        facts
    }

    /// What is left of it when its veth is gone: that took along what was on it.
    pub fn remains(&self) -> Vec<Fact> {
        let remains = Fact::Remains { segment: self.segment.clone(), at: self.host.clone() };
        let on_veth = |fact: &Fact| {
            matches!(
                fact,
                Fact::Feature { .. }
                    | Fact::Pass { .. }
                    | Fact::Foreign { .. }
                    | Fact::Forward { .. }
            )
        };
        let mut facts = self.facts();
        facts.retain(|fact| !on_veth(fact));
        facts.push(remains);
        facts
    }
}
