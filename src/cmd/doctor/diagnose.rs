//! From what was seen to what is wrong: no call to the kernel is made here.
//!
//! What the records and the kernel say of a container comes first: it tells a cause without a packet. Then what
//! became of the probes. A loss that something found before explains is no finding of its own.

use nix::errno::Errno;
use xhop_asm::blocks::count::Verdict;

use super::account::Account;
use super::cause::{Cause, Finding};
use super::kernel::Kernel;
use super::probe::{Kind, Probe};
use super::side::Side;
use super::standing::{other_bridge, standing};
use super::wording::{address, shown, up};
use crate::plan::way::Spot;

/// How redirects fail, as the kernel says.
const ENXIO: i32 = -6;
const EINVAL: i32 = -22;
const EMSGSIZE: i32 = -90;
const EOPNOTSUPP: i32 = -95;

/// All that was seen of a path.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    /// The two containers.
    pub sides: [Side; 2],
    /// From the first to the second, and back.
    pub ways: [Way; 2],
    /// What iptables has to say of what passes the bridge, if it sees it: of IPv4, and of IPv6.
    pub br_netfilter: [Option<String>; 2],
}

/// What was seen of one direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// How far each probe got.
    pub probes: Vec<Probe>,
    /// Where more came by than could be looked at: less is known of these places than is counted.
    pub unseen: Vec<&'static str>,
    /// What was counted meanwhile.
    pub account: Account,
}

impl Way {
    /// Whether all of it was seen to go the direct way, which the program counts.
    pub fn hopped(&self, probe: &Probe) -> bool {
        let least = probe.left.min(probe.arrived).min(probe.taken);
        let forwarded = self.account.of(Verdict::Forwarded) > 0;
        forwarded && probe.sent > 0 && least >= probe.sent && probe.by_bridge == 0
    }
}

/// What is wrong, the most telling first.
pub fn diagnose(kernel: &Kernel, seen: Option<&Seen>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !kernel.joins() {
        let (cause, found, remedy) = match kernel.may_join() {
            true => (
                Cause::KernelUnknown,
                "neither tc nor native could be tried",
                "see the rows above for what was in the way, and run it as root",
            ),
            false => (
                Cause::KernelLacks,
                "neither tc nor native works here",
                "see the rows above for what is lacking; all is there from Linux 5.10 on",
            ),
        };
        findings.push(Finding::new(cause, "this kernel", found, remedy));
    }
    let Some(seen) = seen else { return findings };
    let [a, b] = &seen.sides;
    let apart = other_bridge(a, b);
    let standing = [standing(a, b), standing(b, a)].concat().into_iter();
    // Nor could they be joined.
    let standing = standing.filter(|f| apart.is_none() || f.cause != Cause::NotJoined);
    findings.extend(standing);
    findings.splice(..0, apart);
    let [there, back] = &seen.ways;
    for (from, to, way, other) in [(a, b, there, back), (b, a, back, there)] {
        let direction = Direction { from, to, way, other, br_netfilter: &seen.br_netfilter };
        for found in direction.findings(&findings) {
            let known = |known: &Finding| known.cause == found.cause && known.on == found.on;
            if !findings.iter().any(known) {
                findings.push(found);
            }
        }
    }
    findings
}

/// One direction.
pub struct Direction<'a> {
    /// The sender.
    pub from: &'a Side,
    /// The receiver.
    pub to: &'a Side,
    /// What was seen of it.
    pub way: &'a Way,
    /// The other one.
    other: &'a Way,
    br_netfilter: &'a [Option<String>; 2],
}

/// Where a probe was last seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// It is still in the sender.
    Sender,
    /// It left the sender's interface, and did not come in at the host's end.
    Veth,
    /// The program has redirected it.
    Hop,
    /// The stack had it from the host's end, to bring it to the bridge.
    Bridge,
    /// The bridge sent it out to the receiver's veth.
    LastVeth,
    /// It is in the receiver.
    Receiver,
}

impl Direction<'_> {
    fn findings(&self, known: &[Finding]) -> Vec<Finding> {
        let lost: Vec<&Probe> = self.lost().collect();
        let mut findings: Vec<Finding> = self.verdicts(known);
        if lost.is_empty() && findings.is_empty() {
            findings.extend(self.by_bridge(known));
        }
        let explained = known.iter().chain(&findings).any(|finding| finding.cause.loses());
        if self.way.probes.is_empty() && !explained {
            let found = "the two have no addresses of one family, but for those of the link alone";
            let remedy = "give both one of IPv4 or of IPv6";
            findings.push(Finding::new(Cause::NotSent, &self.from.name, found, remedy));
        }
        for probe in lost {
            // Where it was last seen is not known.
            let blind = !self.way.unseen.is_empty() && probe.refused.is_none();
            let found = if blind { self.not_seen(probe) } else { self.cause(probe) };
            let vague = matches!(
                found.cause,
                Cause::Lost
                    | Cause::NotSeen
                    | Cause::NotSent
                    | Cause::BridgeDrops
                    | Cause::NotTaken
                    | Cause::ForeignProgram
            );
            // The same is lost by IPv6 as by IPv4: once is enough.
            let told = |f: &Finding| f.cause == found.cause && f.on == found.on;
            if !(vague && explained || findings.iter().any(told)) {
                findings.push(found);
            }
        }
        findings
    }

    /// Those of which not all has come, where something else than the way back can be the reason.
    fn lost(&self) -> impl Iterator<Item = &Probe> {
        self.way.probes.iter().filter(|probe| {
            // What a kernel does not segment late, it refuses so.
            let lacking =
                [Errno::EINVAL, Errno::EIO, Errno::ENOPROTOOPT, Errno::EOPNOTSUPP, Errno::EMSGSIZE];
            let refused = probe.errno.is_some_and(|errno| lacking.contains(&errno))
                && probe.kind == Kind::Segments;
            let unanswered = probe.kind == Kind::Echo
                && probe.arrived >= probe.sent.max(1)
                && self.other.probes.iter().any(|back| back.taken < back.sent);
            !refused && !unanswered && probe.taken < probe.sent.max(1)
        })
    }

    /// What was counted.
    pub fn account(&self) -> &Account {
        &self.way.account
    }

    /// For people.
    pub fn name(&self) -> String {
        format!("{} to {}", self.from.name, self.to.name)
    }

    /// What the program has counted tells a cause, of everybody's packets: not of probes that hopped.
    fn verdicts(&self, known: &[Finding]) -> Vec<Finding> {
        let mut sent = self.way.probes.iter().filter(|probe| probe.refused.is_none());
        if sent.all(|probe| self.way.hopped(probe)) {
            return Vec::new();
        }
        let spoofed = self.account().of(Verdict::Spoofed);
        let stale = self.account().of(Verdict::Stale);
        let on = &self.from.name;
        let has = |cause, on: &str| known.iter().any(|f| f.cause == cause && f.on == on);
        // Where the tables lead a sender's address astray, it is not the sender's own for the program.
        let either = [on, &self.to.name].into_iter().any(|on| has(Cause::StaleEntry, on));
        let mut findings = Vec::new();
        if spoofed > 0 && !either && !has(Cause::SourceVerification, on) {
            let found = format!("{spoofed} packets counted as spoofed while probes were sent");
            findings.push(Finding::new(
                Cause::SourceVerification,
                on,
                found,
                up(self.from, self.to),
            ));
        }
        if stale > 0 && !either {
            let found = format!("{stale} packets counted as stale while probes were sent");
            let on = &self.to.name;
            findings.push(Finding::new(Cause::StaleEntry, on, found, up(self.from, self.to)));
        }
        findings
    }

    /// All has come, but not by the direct way.
    fn by_bridge(&self, known: &[Finding]) -> Option<Finding> {
        let both = self.from.joined.is_some() && self.to.joined.is_some();
        let mut sent = self.way.probes.iter().filter(|probe| probe.refused.is_none());
        let other = sent.find(|probe| !self.way.hopped(probe));
        let other = other.filter(|_| both && known.is_empty())?;
        let bridged = other.by_bridge > 0;
        if !bridged && !self.way.unseen.is_empty() {
            return Some(self.not_seen(other));
        }
        let (cause, found) = match bridged {
            true => (Cause::ByBridge, "seen where the bridge sends it out".into()),
            false => {
                let Probe { sent, left, arrived, taken, .. } = other;
                let forwarded = self.account().of(Verdict::Forwarded);
                let found = format!(
                    "{taken} of {sent} taken; {left} left by {}, {arrived} arrived by {}, {forwarded} packets forwarded",
                    self.from.attachment.inside, self.to.attachment.inside
                );
                (Cause::OtherWay, found)
            }
        };
        let found = format!("{}: {found}", shown(other));
        let remedy = format!(
            "look by which way the sender sends: `{}ip route get {}`",
            self.from.inside_at,
            address(self.to, other)
        );
        Some(Finding::new(cause, self.name(), found, remedy))
    }

    /// Where it was last seen.
    fn place(&self, probe: &Probe) -> Place {
        let runs = self.from.joined.as_ref().filter(|joined| joined.is_attached());
        let by_tc = runs.is_none_or(|joined| joined.member.on_host().1 == Spot::Ingress);
        let forwarded = self.account().of(Verdict::Forwarded) > 0;
        match () {
            () if probe.left < probe.sent.max(1) => Place::Sender,
            () if probe.arrived >= probe.left => Place::Receiver,
            () if probe.by_bridge >= probe.left => Place::LastVeth,
            // Before tc all comes by; XDP has what does not.
            () if by_tc && probe.at_host < probe.left => Place::Veth,
            () if runs.is_none() || !forwarded => Place::Bridge,
            () if !by_tc && probe.at_host >= probe.left => Place::Bridge,
            () => Place::Hop,
        }
    }

    /// The one cause of a loss.
    fn cause(&self, probe: &Probe) -> Finding {
        let (from, to) = (&self.from.attachment, &self.to.attachment);
        let small = |other: &&Probe| other.ip == probe.ip && other.kind == Kind::Datagram;
        let small_come =
            self.way.probes.iter().find(small).is_some_and(|small| small.taken == small.sent);
        let is_large = small_come && matches!(probe.kind, Kind::Full | Kind::Segments);
        // What comes in there.
        let mut on_host = self.from.strangers_on(&from.host).filter(|one| !one.egress);
        let mut inside = self.to.strangers_on(&to.inside).filter(|one| !one.egress);
        let mut out_there = self.to.strangers_on(&to.host).filter(|one| one.egress);
        match self.place(probe) {
            Place::Sender => self.not_sent(probe),
            Place::Receiver if probe.wrong_sums > 0 => self.bad_sums(probe),
            Place::Receiver => match inside.find(|stranger| !stranger.is_xdp) {
                Some(stranger) => self.foreign(stranger, self.to, probe),
                None => self.not_taken(probe),
            },
            Place::LastVeth => match inside.find(|stranger| stranger.is_xdp) {
                Some(stranger) => self.foreign(stranger, self.to, probe),
                None => self.lost_at(probe, "between the bridge and the receiver's interface"),
            },
            Place::Veth => match on_host.find(|stranger| stranger.is_xdp) {
                Some(stranger) => self.foreign(stranger, self.from, probe),
                None if is_large => self.beyond(probe, self.from),
                None => self.lost_at(probe, "between the sender's interface and the host's end"),
            },
            Place::Bridge => match (self.filtered(probe), on_host.next(), out_there.next()) {
                (Some(why), ..) => self.filtered_out(probe, why),
                (None, Some(stranger), _) => self.foreign(stranger, self.from, probe),
                (None, None, Some(stranger)) => self.foreign(stranger, self.to, probe),
                (None, None, None) => self.bridge_drops(probe),
            },
            Place::Hop => match inside.find(|stranger| stranger.is_xdp) {
                _ if self.account().failed(ENXIO) || self.account().failed(EOPNOTSUPP) => {
                    self.not_ready(probe)
                }
                _ if self.account().failed(EINVAL) => self.stale(probe),
                _ if self.account().failed(EMSGSIZE) || is_large => self.beyond(probe, self.to),
                Some(stranger) => self.foreign(stranger, self.to, probe),
                // It does not come by at the receiver's end on the host.
                None => self.lost_at(probe, "after our program had redirected it"),
            },
        }
    }

    fn filtered(&self, probe: &Probe) -> Option<&str> {
        let [v4, v6] = self.br_netfilter;
        if probe.ip == 4 { v4.as_deref() } else { v6.as_deref() }
    }
}
