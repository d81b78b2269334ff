//! The diagnosis, of what was seen as plain values: also what no kernel here does.

use std::net::IpAddr;

use nix::errno::Errno;

use super::account::{Account, Counted, Failed};
use super::answer::Answer;
use super::cause::{Cause, Finding};
use super::diagnose::{Seen, Way, diagnose};
use super::kernel::{Kernel, Row};
use super::probe::{Kind, Probe};
use super::side::{Joined, Sent, Side, Stranger};
use crate::cmd::status::State;
use crate::container::{Attachment, Bridge, Interface, Mac};
use crate::plan::Segment;
use crate::plan::member::{Member, Readiness, VERSION};
use crate::plan::way::{Attach, ChecksumWay, Chosen, Datapath};
use crate::sys::netlink::LinkInfo;

fn kernel(answer: Answer) -> Kernel {
    let row = |feature| Row { feature, answer: answer.clone(), for_what: "", without: "" };
    Kernel { features: Vec::new(), datapaths: vec![row("tc"), row("native"), row("generic")] }
}

fn interface(netns: u64, ifindex: u32, name: &str) -> Interface {
    Interface { netns, ifindex, name: name.into() }
}

/// A container that is joined by this datapath, and all is well.
pub fn side(n: u8, datapath: Datapath) -> Side {
    let name = format!("netns:{}", char::from(b'a' - 1 + n));
    let (inside, host) =
        (interface(n.into(), 2, "eth0"), interface(9, n.into(), &format!("veth-{n}")));
    let bridge = interface(9, 99, "br0");
    let up =
        |name: &str| LinkInfo { name: name.into(), mtu: 1500, up: true, ..LinkInfo::default() };
    let addresses: Vec<IpAddr> = vec![[10, 9, 0, n].into()];
    let attachment = Attachment {
        inside: inside.clone(),
        inside_link: up("eth0"),
        mac: Mac([2, 0, 0, 0, 0, n]),
        addresses: addresses.clone(),
        host: host.clone(),
        host_link: LinkInfo { forwarding: Some(true), ..up(&host.name) },
        bridge: Some(Bridge { interface: bridge.clone(), link: up("br0") }),
    };
    let native = datapath == Datapath::Native;
    let member = Member {
        version: VERSION,
        name: name.clone(),
        segment: Segment { bridge },
        inside,
        host,
        mac: attachment.mac,
        addresses: addresses.clone(),
        datapath,
        chosen: Chosen::Asked,
        checksum: native.then_some(ChecksumWay::Complete),
        attach: Attach::Link,
        readiness: if native { Readiness::Gro } else { Readiness::Found },
        features: Vec::new(),
        replaced: None,
        clsact: Vec::new(),
        bridge_mtu: None,
        sizes: Vec::new(),
        jumbo: false,
    };
    let sent_to = addresses.into_iter().map(|ip| (ip, Sent::Home)).collect();
    let joined =
        Joined { member, state: State::Up, altered: Vec::new(), gro: Some(native), sent_to };
    Side {
        name,
        attachment,
        inside_at: format!("nsenter --net=/run/netns/{n} "),
        host_at: String::new(),
        joined: Some(joined),
        strangers: Vec::new(),
        native_refused: None,
    }
}

/// A probe that hopped.
fn probe(kind: Kind) -> Probe {
    Probe {
        ip: 4,
        kind,
        bytes: 100,
        sent: 1,
        refused: None,
        errno: None,
        left: 1,
        at_host: 1,
        by_bridge: 0,
        arrived: 1,
        wrong_sums: 0,
        taken: 1,
    }
}

fn way() -> Way {
    let kinds = [Kind::Echo, Kind::Datagram, Kind::Full, Kind::Segments];
    let verdicts = vec![Counted { verdict: "forwarded", packets: 4 }];
    Way {
        probes: kinds.map(probe).to_vec(),
        unseen: Vec::new(),
        account: Account { sent: 4, verdicts, ..Account::default() },
    }
}

fn seen(datapath: Datapath) -> Seen {
    let sides = [side(1, datapath), side(2, datapath)];
    Seen { sides, ways: [way(), way()], br_netfilter: [None, None] }
}

/// The way from the first to the second loses all after it was redirected.
fn lost_hops(seen: &mut Seen) {
    for probe in &mut seen.ways[0].probes {
        (probe.arrived, probe.taken) = (0, 0);
        if seen.sides[0].joined.as_ref().is_some_and(super::wording::by_xdp) {
            probe.at_host = 0;
        }
    }
}

fn findings(seen: &Seen) -> Vec<Finding> {
    diagnose(&kernel(Answer::Yes), Some(seen))
}

/// The one finding.
fn of(seen: &Seen) -> Finding {
    let found = findings(seen);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().expect("one")
}

fn joined(side: &mut Side) -> &mut Joined {
    side.joined.as_mut().expect("joined")
}

#[test]
fn what_is_well_has_no_finding() {
    for datapath in [Datapath::Tc, Datapath::Native, Datapath::Generic] {
        assert_eq!(findings(&seen(datapath)), []);
    }
}

#[test]
fn where_nothing_could_be_sent_nothing_is_known() {
    let mut seen = seen(Datapath::Tc);
    seen.ways.iter_mut().for_each(|way| way.probes.clear());
    let found = of(&seen);
    assert_eq!((found.cause, found.on.as_str()), (Cause::NotSent, "netns:a"));
}

#[test]
fn a_kernel_that_can_not_be_told_is_not_healthy() {
    for (answer, cause) in [
        (Answer::No("n".into()), Cause::KernelLacks),
        (Answer::Unknown("u".into()), Cause::KernelUnknown),
    ] {
        let found = diagnose(&kernel(answer), None);
        assert_eq!(found.iter().map(|f| f.cause).collect::<Vec<_>>(), [cause]);
    }
    // One datapath does; generic alone does not.
    let mut some = kernel(Answer::No("n".into()));
    some.datapaths[2].answer = Answer::Yes;
    assert!(!some.joins());
    some.datapaths[1].answer = Answer::Yes;
    assert_eq!(diagnose(&some, None), []);
}

/// Kernels from 6.3 to 6.5 forget that GRO is on where it was switched on while the interface was down.
#[test]
fn gro_that_was_set_while_down() {
    let mut seen = seen(Datapath::Native);
    lost_hops(&mut seen);
    joined(&mut seen.sides[1]).state = State::Deaf;
    let found = of(&seen);
    assert_eq!((found.cause, found.on.as_str()), (Cause::GroWhileDown, "netns:b"));
    assert!(found.remedy.contains("ethtool -K eth0 gro off"), "{}", found.remedy);
    joined(&mut seen.sides[1]).gro = Some(false);
    assert_eq!(of(&seen).cause, Cause::PeerNotReady);
    // Where the kernel says nothing of readiness, the error of the redirect does.
    joined(&mut seen.sides[1]).state = State::Up;
    for err in [-6, -95] {
        seen.ways[0].account.failures = vec![Failed { err, name: "E".into(), packets: 4 }];
        let found = of(&seen);
        assert_eq!(found.cause, Cause::PeerNotReady);
        assert!(found.found.contains(&format!("err {err}")), "{}", found.found);
    }
}

#[test]
fn redirects_that_fail_otherwise() {
    for (err, cause) in [(-22, Cause::StaleEntry), (-90, Cause::BeyondMtu)] {
        let mut seen = seen(Datapath::Native);
        lost_hops(&mut seen);
        seen.ways[0].account.failures = vec![Failed { err, name: "E".into(), packets: 4 }];
        assert_eq!(of(&seen).cause, cause);
    }
}

#[test]
fn a_loss_that_nothing_explains_says_so() {
    let mut seen = seen(Datapath::Tc);
    lost_hops(&mut seen);
    let found = of(&seen);
    assert_eq!((found.cause, found.on.as_str()), (Cause::Lost, "netns:a to netns:b"));
    // Whoever else is there comes first.
    let at = seen.sides[1].attachment.inside.clone();
    let stranger =
        Stranger { at, is_xdp: true, egress: false, what: "program 7 (x), native XDP".into() };
    seen.sides[1].strangers.push(stranger);
    let found = of(&seen);
    assert_eq!((found.cause, found.on.as_str()), (Cause::ForeignProgram, "eth0 of netns:b"));
    // But a cause that is known without a packet is enough.
    seen.sides[1].attachment.inside_link.up = false;
    assert_eq!(of(&seen).cause, Cause::LinkDown);
}

/// A flood hides where the probes are: that is said, and no place is blamed.
#[test]
fn what_was_not_seen_is_no_place() {
    let mut seen = seen(Datapath::Tc);
    seen.ways[0].unseen = vec!["left"];
    // All were seen all the same.
    assert_eq!(findings(&seen), []);
    for probe in &mut seen.ways[0].probes {
        (probe.left, probe.at_host, probe.arrived, probe.taken) = (0, 0, 0, 0);
    }
    let found = of(&seen);
    assert_eq!((found.cause, found.on.as_str()), (Cause::NotSeen, "netns:a to netns:b"));
    seen.ways[0].unseen.clear();
    assert_eq!(of(&seen).cause, Cause::NotSent);
}

#[test]
fn verdicts_tell_a_cause() {
    for (verdict, cause, on) in
        [("spoofed", Cause::SourceVerification, "netns:a"), ("stale", Cause::StaleEntry, "netns:b")]
    {
        let mut seen = seen(Datapath::Tc);
        seen.ways[0].account.verdicts.push(Counted { verdict, packets: 4 });
        // They are others' while all probes hop.
        assert_eq!(findings(&seen), []);
        for probe in &mut seen.ways[0].probes {
            probe.by_bridge = 1;
        }
        let found = of(&seen);
        assert_eq!((found.cause, found.on.as_str()), (cause, on));
        assert!(found.found.starts_with("4 packets"), "{}", found.found);
    }
}

#[test]
fn on_different_bridges() {
    let mut seen = seen(Datapath::Tc);
    lost_hops(&mut seen);
    let bridge = seen.sides[1].attachment.bridge.as_mut().expect("a bridge");
    bridge.interface = interface(9, 98, "br$1");
    for joined in [true, false] {
        seen.sides.iter_mut().filter(|_| !joined).for_each(|side| side.joined = None);
        let found = of(&seen);
        assert_eq!((found.cause, found.on.as_str()), (Cause::OtherBridge, "netns:a and netns:b"));
        assert_eq!(found.found, "veth-1 is on br0, and veth-2 is on br$1");
        assert!(found.remedy.contains("`ip link set dev veth-2 master br0`"), "{}", found.remedy);
    }
    seen.sides.swap(0, 1);
    assert!(of(&seen).remedy.contains("master 'br$1'"));
}

/// A packet that the sender's end on the host takes in does not pass what is on its way out.
#[test]
fn a_program_that_is_not_on_the_way() {
    let program = |at: &Interface, egress| {
        vec![Stranger { at: at.clone(), is_xdp: false, egress, what: "program 7".into() }]
    };
    for (side, egress, on_way) in
        [(0, true, false), (0, false, true), (1, true, true), (1, false, false)]
    {
        let mut seen = seen(Datapath::Tc);
        for probe in &mut seen.ways[0].probes {
            (probe.arrived, probe.taken) = (0, 0);
        }
        seen.sides.iter_mut().for_each(|side| side.joined = None);
        let host = seen.sides[side].attachment.host.clone();
        seen.sides[side].strangers = program(&host, egress);
        let found = findings(&seen).pop().expect("a finding");
        let cause = if on_way { Cause::ForeignProgram } else { Cause::BridgeDrops };
        assert_eq!(found.cause, cause, "{side} {egress}");
    }
}

#[test]
fn joined_and_by_the_bridge() {
    let mut seen = seen(Datapath::Tc);
    seen.ways[1].probes[1].by_bridge = 1;
    let found = of(&seen);
    assert_eq!((found.cause, found.on.as_str()), (Cause::ByBridge, "netns:b to netns:a"));
}

/// Two NICs each, and a route by the others: taken, and seen by nobody.
#[test]
fn joined_and_by_another_way() {
    let mut other = seen(Datapath::Native);
    for probe in &mut other.ways[0].probes {
        (probe.left, probe.at_host, probe.arrived) = (0, 0, 0);
    }
    other.ways[0].account.verdicts[0].packets = 0;
    let found = of(&other);
    assert_eq!((found.cause, found.on.as_str()), (Cause::OtherWay, "netns:a to netns:b"));
    // Seen at both ends, and counted by no program.
    let mut uncounted = seen(Datapath::Native);
    uncounted.ways[0].account.verdicts[0].packets = 0;
    assert_eq!(of(&uncounted).cause, Cause::OtherWay);
    // Where not all could be looked at, it may have hopped.
    other.ways[0].unseen = vec!["left"];
    assert_eq!(of(&other).cause, Cause::NotSeen);
}

#[test]
fn what_a_kernel_does_not_segment_late_is_no_loss() {
    let mut seen = seen(Datapath::Tc);
    let last = seen.ways[0].probes.last_mut().expect("segments");
    let refused = |probe: &Probe, errno: Errno| {
        let refused = Some(format!("send: {errno}"));
        Probe {
            refused,
            errno: Some(errno),
            sent: 0,
            left: 0,
            at_host: 0,
            arrived: 0,
            taken: 0,
            ..probe.clone()
        }
    };
    *last = refused(last, Errno::EIO);
    assert_eq!(findings(&seen), []);
    // A filter of somebody's is no kernel's lack.
    let last = &mut seen.ways[0].probes[3];
    *last = refused(last, Errno::EPERM);
    assert_eq!(of(&seen).cause, Cause::NotSent);
    seen.ways[0].probes[3].errno = Some(Errno::EOPNOTSUPP);
    let full = &mut seen.ways[0].probes[2];
    *full = refused(full, Errno::ENETUNREACH);
    assert_eq!(of(&seen).cause, Cause::NotSent);
}

/// An answer that is lost on its way back is the other direction's finding.
#[test]
fn an_answer_that_is_lost() {
    let mut seen = seen(Datapath::Tc);
    seen.sides.swap(0, 1);
    lost_hops(&mut seen);
    seen.ways[1].probes[0].taken = 0;
    let found = of(&seen);
    assert_eq!((found.cause, found.on.as_str()), (Cause::Lost, "netns:b to netns:a"));
}

#[test]
fn the_bridge_and_who_drops_there() {
    let mut seen = seen(Datapath::Tc);
    for side in &mut seen.sides {
        side.joined = None;
    }
    for probe in &mut seen.ways[0].probes {
        (probe.arrived, probe.taken) = (0, 0);
    }
    let causes = |seen: &Seen| findings(seen).iter().map(|f| f.cause).collect::<Vec<_>>();
    let nobody = [Cause::NotJoined, Cause::NotJoined];
    assert_eq!(causes(&seen), [&nobody[..], &[Cause::BridgeDrops]].concat());
    // Rules of IPv6 do not see IPv4.
    seen.br_netfilter[1] = Some("the policy of filter FORWARD is drop".into());
    assert_eq!(causes(&seen), [&nobody[..], &[Cause::BridgeDrops]].concat());
    seen.br_netfilter.swap(0, 1);
    assert_eq!(causes(&seen), [&nobody[..], &[Cause::BrNetfilter]].concat());
}

#[test]
fn addresses_beside_the_record() {
    let ip: IpAddr = [10, 9, 0, 2].into();
    for (sent, cause) in [
        (Sent::Nowhere, Cause::AddressMoved),
        (Sent::Astray(77), Cause::StaleEntry),
        (Sent::Other("netns:c".into()), Cause::SourceVerification),
    ] {
        let mut seen = seen(Datapath::Tc);
        joined(&mut seen.sides[1]).sent_to = vec![(ip, sent)];
        assert_eq!(of(&seen).cause, cause);
    }
    let mut seen = seen(Datapath::Tc);
    joined(&mut seen.sides[1]).member.addresses.push([10, 9, 0, 77].into());
    assert!(of(&seen).found.contains("10.9.0.77"));
}

/// A container's root names its interfaces as he likes; the remedy is pasted into a shell of the host's root.
#[test]
fn no_name_is_a_command() {
    let evil = "$(reboot)";
    for spoil in [
        (|seen| lost_hops(seen)) as fn(&mut Seen),
        |seen| seen.sides[1].attachment.inside_link.up = false,
        |seen| seen.sides[1].attachment.host_link.up = false,
        |seen| seen.sides[1].attachment.host_link.forwarding = Some(false),
        |seen| joined(&mut seen.sides[1]).state = State::Deaf,
        |seen| joined(&mut seen.sides[1]).state = State::Apart,
        |seen| joined(&mut seen.sides[1]).state = State::Round,
        |seen| joined(&mut seen.sides[1]).state = State::Unpinned,
        |seen| seen.sides[1].joined = None,
        |seen| {
            seen.sides[1].joined = None;
            seen.sides[1].native_refused = Some("ERANGE".into());
        },
        |seen| {
            let at = seen.sides[1].attachment.inside.clone();
            let what = "program 7".into();
            seen.sides[1].strangers.push(Stranger { at, is_xdp: true, egress: false, what });
            lost_hops(seen);
        },
        |seen| {
            seen.br_netfilter[0] = Some("it drops".into());
            seen.sides.iter_mut().for_each(|side| side.joined = None);
            seen.ways[0].probes.iter_mut().for_each(|p| (p.arrived, p.taken) = (0, 0));
        },
        |seen| seen.ways[0].probes.iter_mut().for_each(|p| (p.taken, p.wrong_sums) = (0, 1)),
        |seen| (seen.ways[0].probes[2].arrived, seen.ways[0].probes[2].taken) = (0, 0),
    ] {
        let mut seen = seen(Datapath::Native);
        for side in &mut seen.sides {
            side.name = format!("veth:{evil}");
            side.attachment.inside.name = evil.into();
            side.attachment.host.name = evil.into();
            let bridge = side.attachment.bridge.as_mut().expect("a bridge");
            (bridge.interface.name, bridge.link.name) = (evil.into(), evil.into());
        }
        spoil(&mut seen);
        let found = findings(&seen);
        assert!(!found.is_empty());
        for finding in found {
            let bare = finding.remedy.replace("'$(reboot)'", "").replace("'veth:$(reboot)'", "");
            assert!(!bare.contains('$'), "{}", finding.remedy);
        }
    }
}
