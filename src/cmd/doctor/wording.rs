//! What the findings about probes say: what was seen, and the one thing to do.

use super::cause::{Cause, Finding};
use super::diagnose::Direction;
use super::probe::Probe;
use super::side::{Joined, Side, Stranger};
use crate::plan::way::{ChecksumWay, Datapath};
use crate::shell::word;

impl Direction<'_> {
    pub fn not_sent(&self, probe: &Probe) -> Finding {
        // Without an answer of the neighbour nothing leaves; who drops all drops that too.
        let sides = [self.to, self.from].into_iter();
        let on_way =
            sides.flat_map(|side| side.strangers.iter().map(move |one| (one, side))).next();
        if let (Some((stranger, side)), None) = (on_way, &probe.refused) {
            let found = format!("{}; no neighbour answers, so that nothing leaves", stranger.what);
            return foreign(stranger, side, found);
        }
        let why = probe.refused.clone().unwrap_or("the stack has taken it".into());
        let found = format!("{}: {} of {} left: {why}", shown(probe), probe.left, probe.sent);
        let remedy = format!(
            "look for a route, a neighbour and a firewall in it: `{}ip route get {}`",
            self.from.inside_at,
            address(self.to, probe)
        );
        Finding::new(Cause::NotSent, &self.from.name, found, remedy)
    }

    pub fn not_seen(&self, probe: &Probe) -> Finding {
        let (at, took) = (self.way.unseen.join(", "), probe.taken);
        let found = format!("{}: {took} of {} taken; unseen: {at}", shown(probe), probe.sent);
        let remedy =
            "try again when less is sent; who sends so much shows `tcpdump` on their interfaces";
        Finding::new(Cause::NotSeen, self.name(), found, remedy)
    }

    pub fn bad_sums(&self, probe: &Probe) -> Finding {
        let found = format!(
            "{}: {} of {} arrived with a wrong sum",
            shown(probe),
            probe.wrong_sums,
            probe.arrived
        );
        let none = |joined: &Joined| joined.member.checksum == Some(ChecksumWay::None);
        let asked = self.from.joined.as_ref().is_some_and(none);
        let join = format!("xhop up {} {}", word(&self.from.name), word(&self.to.name));
        let remedy = match asked {
            true => format!("`{join} --checksum complete`"),
            false => format!("`{join}`"),
        };
        Finding::new(Cause::BadChecksums, self.name(), found, remedy)
    }

    pub fn foreign(&self, stranger: &Stranger, side: &Side, probe: &Probe) -> Finding {
        let found = format!("{}; {} is lost there", stranger.what, shown(probe));
        foreign(stranger, side, found)
    }

    pub fn not_taken(&self, probe: &Probe) -> Finding {
        let found = format!("{}: arrived whole, and was not taken", shown(probe));
        let remedy =
            format!("look for a firewall in the receiver: `{}nft list ruleset`", self.to.inside_at);
        Finding::new(Cause::NotTaken, &self.to.name, found, remedy)
    }

    pub fn beyond(&self, probe: &Probe, side: &Side) -> Finding {
        let attachment = &side.attachment;
        let found = format!(
            "{} is lost at {}, whose MTU is {}; smaller ones are not",
            shown(probe),
            attachment.host,
            attachment.host_link.mtu
        );
        let on = attachment.host.name.clone();
        let remedy = match side.joined.is_some() {
            true => up(self.from, self.to),
            false => {
                format!(
                    "`{}ip link set {} mtu {}`",
                    side.host_at,
                    word(&on),
                    attachment.inside_link.mtu
                )
            }
        };
        Finding::new(Cause::BeyondMtu, on, found, remedy)
    }

    pub fn filtered_out(&self, probe: &Probe, why: &str) -> Finding {
        let (iptables, call) = match probe.ip {
            4 => ("iptables", "bridge-nf-call-iptables"),
            _ => ("ip6tables", "bridge-nf-call-ip6tables"),
        };
        let bridge = bridge(self.from);
        let found =
            format!("{call} is 1, {why}, and {} does not get through {bridge}", shown(probe));
        let remedy = format!(
            "`{0}{iptables} -I FORWARD -i {1} -o {1} -j ACCEPT`, or join the two",
            self.from.host_at,
            word(&bridge)
        );
        Finding::new(Cause::BrNetfilter, bridge, found, remedy)
    }

    pub fn bridge_drops(&self, probe: &Probe) -> Finding {
        let bridge = bridge(self.from);
        let found = format!("{} came in, and did not go out", shown(probe));
        let remedy = format!(
            "look at the bridge's rules and its ports: `{0}ebtables -L`, `{0}nft list ruleset`, `{0}bridge -d link`",
            self.from.host_at
        );
        Finding::new(Cause::BridgeDrops, bridge, found, remedy)
    }

    pub fn not_ready(&self, probe: &Probe) -> Finding {
        let found = format!("{}: {}", shown(probe), self.failures());
        not_ready(self.to, found)
    }

    pub fn stale(&self, probe: &Probe) -> Finding {
        let found = format!("{}: {}", shown(probe), self.failures());
        Finding::new(Cause::StaleEntry, &self.to.name, found, up(self.from, self.to))
    }

    fn failures(&self) -> String {
        let told = self.account().failures.iter();
        let told =
            told.map(|f| format!("{} redirects failed (err {}, {})", f.packets, f.err, f.name));
        told.collect::<Vec<_>>().join(", ")
    }

    pub fn lost_at(&self, probe: &Probe, place: &str) -> Finding {
        let drops = self.account().driver.iter();
        let drops: Vec<String> =
            drops.map(|c| format!("{} of {} rose by {}", c.counter, c.at, c.rise)).collect();
        let drops = match drops.is_empty() {
            true => "no counter of a driver has risen".into(),
            false => drops.join(", "),
        };
        let found = format!("{} is lost {place}: {drops}", shown(probe));
        let remedy = "report it with `xhop doctor --json` and `uname -r`; `perf trace -e skb:kfree_skb` shows where the kernel drops it";
        Finding::new(Cause::Lost, self.name(), found, remedy)
    }
}

/// A probe, for people.
pub fn shown(probe: &Probe) -> String {
    format!("IPv{} {} of {} bytes", probe.ip, probe.kind.name(), probe.bytes)
}

pub fn address(side: &Side, probe: &Probe) -> String {
    let family = |ip: &&std::net::IpAddr| ip.is_ipv4() == (probe.ip == 4);
    let found = side.attachment.addresses.iter().find(family);
    found.map_or("ADDRESS".into(), ToString::to_string)
}

fn bridge(side: &Side) -> String {
    side.attachment
        .bridge
        .as_ref()
        .map_or("no bridge".into(), |bridge| bridge.interface.name.clone())
}

/// The command that joins them, or sets again what it once set.
pub fn up(one: &Side, other: &Side) -> String {
    format!("`xhop up {} {}`", word(&one.name), word(&other.name))
}

/// A program that is not ours, in the way.
pub fn foreign(stranger: &Stranger, side: &Side, found: String) -> Finding {
    let at = &stranger.at;
    let inside = *at == side.attachment.inside;
    let on = if inside { format!("{at} of {}", side.name) } else { at.to_string() };
    let enter = if inside { &side.inside_at } else { &side.host_at };
    let remedy = format!(
        "find out whose it is, and have it detached: `{enter}bpftool net show dev {}`",
        word(at)
    );
    Finding::new(Cause::ForeignProgram, on, found, remedy)
}

/// Why a container's end does not take frames.
pub fn not_ready(side: &Side, found: String) -> Finding {
    let gro = side.joined.as_ref().and_then(|joined| joined.gro);
    let (at, end) = (&side.inside_at, word(&side.attachment.inside));
    let on = &side.name;
    match gro {
        Some(true) => {
            let remedy = format!(
                "`{at}ethtool -K {end} gro off`, then `{at}ethtool -K {end} gro on`, while it is up"
            );
            Finding::new(Cause::GroWhileDown, on, found, remedy)
        }
        _ => Finding::new(Cause::PeerNotReady, on, found, format!("`{at}ethtool -K {end} gro on`")),
    }
}

/// Whether it is joined by XDP.
pub fn by_xdp(joined: &Joined) -> bool {
    joined.member.datapath != Datapath::Tc
}
