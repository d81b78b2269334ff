//! A member: one joined container, as it stands in its record, and the facts that make it one.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use xhop_asm::programs::Shipped;

use super::fact::Fact;
use super::segment::Segment;
use super::way::{Attach, ChecksumWay, Chosen, Datapath, Spot, on_host};
use crate::container::{Interface, Mac};
use crate::sys::bpf::XdpMode;

/// Version of the record's form; another is not read. From 2 on: `clsact`, `bridge_mtu`, `sizes`, `jumbo`.
pub const VERSION: u32 = 2;

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
    /// Why that.
    #[serde(default)]
    pub chosen: Chosen,
    /// What is done about checksums; nothing where none is lost.
    pub checksum: Option<ChecksumWay>,
    /// How programs are attached.
    pub attach: Attach,
    /// Why its end takes redirected frames.
    pub readiness: Readiness,
    /// The features of its end that are changed: full name, value before, value while joined.
    pub features: Vec<Feature>,
    /// What was taken off its host side.
    pub replaced: Option<Replaced>,
    /// The interfaces that get a `clsact` for our program.
    pub clsact: Vec<Interface>,
    /// The MTU that the bridge keeps, while the host's end takes larger packets.
    pub bridge_mtu: Option<u32>,
    /// The sizes that are changed.
    pub sizes: Vec<Size>,
    /// Whether it and others that want it too send each other large packets.
    pub jumbo: bool,
}

/// A changed size of an interface, in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Size {
    /// Which.
    pub what: SizeOf,
    /// As it was found.
    pub was: u32,
    /// As it is while the container is joined.
    pub on: u32,
}

impl Size {
    /// What it is the size of, for people, where `host` is the host's end.
    pub fn of(&self, host: &Interface) -> String {
        match self.what {
            SizeOf::HostMtu => format!("the MTU of {host}"),
            SizeOf::GsoIpv4 => format!("gso_ipv4_max_size behind {host} in the container"),
        }
    }

    /// Whether it lets TCP over IPv4 send more at once.
    pub fn is_big_tcp(&self) -> bool {
        self.what == SizeOf::GsoIpv4 && self.on > self.was
    }
}

/// What has a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeOf {
    /// The MTU of the host's end.
    HostMtu,
    /// `gso_ipv4_max_size` of the container's end: how much its TCP over IPv4 sends at once.
    GsoIpv4,
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

    /// Its program on the host's end, and where there.
    pub fn on_host(&self) -> (Shipped, Spot) {
        on_host(self.datapath, self.checksum)
    }

    /// Its programs on the container's end.
    pub fn inside_programs(&self) -> Vec<Shipped> {
        let pass = (self.readiness == Readiness::Pass).then_some(Shipped::Pass);
        let trust = (self.checksum == Some(ChecksumWay::Trust)).then_some(Shipped::Trust);
        pass.into_iter().chain(trust).collect()
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
        let size = |size: &Size| Fact::Size { host: host(), size: size.clone() };
        facts.extend(self.bridge_mtu.map(|mtu| Fact::Guard { segment: segment.clone(), mtu }));
        // Larger packets are sent last, and first no more.
        let last = |size: &&Size| size.is_big_tcp();
        facts.extend(self.sizes.iter().filter(|size| !last(size)).map(size));
        facts.extend(self.clsact.iter().map(|at| Fact::Clsact { at: at.clone() }));
        facts.extend(self.inside_programs().into_iter().map(|program| Fact::Inside {
            segment: segment.clone(),
            host: host(),
            at: self.inside.clone(),
            program,
            attach: self.attach,
        }));
        if let Some(replaced) = self.replaced {
            facts.push(Fact::Foreign { segment: segment.clone(), at: host(), replaced });
        }
        facts.push(Fact::Port { segment: segment.clone(), at: host() });
        let (program, spot) = self.on_host();
        facts.push(Fact::Forward {
            segment: segment.clone(),
            at: host(),
            program,
            spot,
            attach: self.attach,
        });
        facts.extend(self.addresses.iter().map(|address| Fact::Endpoint {
            segment: segment.clone(),
            address: *address,
            at: host(),
            mac: self.mac,
        }));
        facts.extend(self.sizes.iter().filter(last).map(size));
        facts
    }

    /// Whether the other is the same container and joined in the same way, whatever addresses it has.
    pub fn is_alike(&self, other: &Self) -> bool {
        let ways = |member: &Self| {
            let mut facts = member.facts();
            facts.retain(|fact| !matches!(fact, Fact::Record(_) | Fact::Endpoint { .. }));
            facts
        };
        (&self.host, &self.inside) == (&other.host, &other.inside) && ways(self) == ways(other)
    }

    /// What is left of it when its veth is gone: that took along what was on it.
    pub fn remains(&self) -> Vec<Fact> {
        let remains = Fact::Remains { segment: self.segment.clone(), at: self.host.clone() };
        let on_veth = |fact: &Fact| {
            matches!(
                fact,
                Fact::Feature { .. }
                    | Fact::Size { .. }
                    | Fact::Clsact { .. }
                    | Fact::Inside { .. }
                    | Fact::Foreign { .. }
                    | Fact::Forward { .. }
            )
        };
        let mut facts = self.facts();
        facts.retain(|fact| !on_veth(fact));
        facts.push(remains);
        facts
    }

    /// What is to be taken back while its veth is there, but out of sight: that fails, and keeps the record.
    pub fn unseen(&self) -> Vec<Fact> {
        vec![Fact::Record(Box::new(self.clone())), Fact::Unseen { at: self.host.clone() }]
    }
}
