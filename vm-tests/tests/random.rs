//! `forward` against a model of it: on every packet of the catalogue, on random ones, on garbage.

mod bridge;
mod model;

use std::cell::Cell;

use bridge::{A_VETH, B_VETH, Bridge, C, C_VETH, Checksum, STRANGER};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::Config;
use xhop_asm::blocks::count::VERDICTS;
use xhop_vm::packet::{
    A, B, Check, Extension, Host, L4, Packet, catalogue, icmp, icmp6, sctp, tcp, tcp6, udp, udp6,
};

/// Both programs, with all ports and with `B`'s gone.
struct Bridges([(Bridge, Checksum, Option<u32>); 4]);

impl Bridges {
    fn new() -> Self {
        let bridge = |checksum, gone: Option<u32>| {
            let bridge = Bridge::new(checksum);
            gone.iter().for_each(|veth| bridge.remove("ports", &veth.to_ne_bytes()));
            (bridge, checksum, gone)
        };
        let (keep, complete) = (Checksum::Keep, Checksum::Complete);
        let gone = Some(B_VETH);
        Self([
            bridge(keep, None),
            bridge(complete, None),
            bridge(keep, gone),
            bridge(complete, gone),
        ])
    }

    /// Checks that all do as the model does.
    fn agree(&self, frame: &[u8], veth: u32) {
        for (bridge, checksum, gone) in &self.0 {
            let expected = model::forward(*checksum, *gone, frame, veth);
            assert_eq!(bridge.send(frame, veth), expected, "{checksum:?}, {gone:?} is gone");
        }
    }

    /// How often each verdict was given.
    fn verdicts(&self) -> [u64; VERDICTS.len()] {
        let mut sums = [0; VERDICTS.len()];
        for (bridge, ..) in &self.0 {
            sums.iter_mut().zip(bridge.counters()).for_each(|(sum, (packets, _))| *sum += packets);
        }
        sums
    }
}

fn budget(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

fn hosts() -> impl Strategy<Value = Host> {
    prop_oneof![4 => select(vec![A, B, C]), 1 => Just(STRANGER)]
}

fn veths() -> impl Strategy<Value = u32> {
    select(vec![A_VETH, B_VETH, C_VETH, 0, 8])
}

fn kinds() -> impl Strategy<Value = Packet> {
    let mut other = udp();
    other.l4 = L4::Other(47);
    let rest = vec![icmp(), icmp6(), sctp(), other];
    prop_oneof![8 => select(bridge::kinds().to_vec()), 1 => select(rest)]
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => vec(any::<u8>(), 0..80), 3 => vec(any::<u8>(), 0..1500), 1 => vec(any::<u8>(), 4000..4200)]
}

fn checks() -> impl Strategy<Value = Check> {
    let field = any::<u16>().prop_map(Check::Field);
    prop_oneof![3 => Just(Check::Partial), 2 => Just(Check::Whole), 1 => field, 1 => Just(Check::Field(0))]
}

/// What is seldom seen in one packet, and seldom two at once.
fn oddity() -> impl Strategy<Value = fn(Packet, u16) -> Packet> {
    select(vec![
        (|packet, n| packet.fragment(n % 4, n & 4 == 0)) as fn(Packet, u16) -> Packet,
        |packet, n| packet.vlan(n),
        |packet, n| packet.options(vec![1; usize::from(n % 11 * 4)]),
        |packet, _| packet.extension(Extension::HopByHop),
        |packet, n| packet.via(if n & 1 == 0 { C } else { STRANGER }),
        |packet, n| Packet { src_mac: if n & 1 == 0 { C.mac } else { STRANGER.mac }, ..packet },
        |packet, n| packet.ttl(n as u8),
        |packet, n| Packet { min_len: usize::from(n % 2000), ..packet },
    ])
}

/// A frame and the veth that it comes in by, which is mostly the sender's.
fn sent() -> impl Strategy<Value = (Vec<u8>, u32)> {
    let packet = (kinds(), payloads(), checks(), hosts(), hosts());
    let odd = (weighted(0.3, (oddity(), any::<u16>())), weighted(0.1, veths()));
    let broken = (weighted(0.1, any::<Index>()), weighted(0.1, (any::<Index>(), any::<u8>())));
    (packet, odd, broken).prop_map(|((packet, payload, check, from, to), odd, broken)| {
        let packet = packet.payload(payload).check(check).from(from).to(to);
        let packet = odd.0.into_iter().fold(packet, |packet, (oddity, n)| oddity(packet, n));
        let mut frame = packet.bytes();
        if let Some(cut) = broken.0 {
            frame.truncate(cut.index(frame.len()));
        }
        if let Some((at, byte)) = broken.1 {
            let headers = frame.len().min(80);
            frame.iter_mut().take(headers).skip(at.index(80)).take(1).for_each(|b| *b = byte);
        }
        let own = bridge::JOINED.into_iter().find(|(host, _)| *host == from);
        (frame, odd.1.unwrap_or(own.map_or(A_VETH, |(_, veth)| veth)))
    })
}

#[test]
fn the_catalogue() {
    let bridges = Bridges::new();
    for case in catalogue() {
        bridges.agree(&case.frame, A_VETH);
        bridges.agree(&case.frame, C_VETH);
    }
    assert!(bridges.verdicts().iter().all(|packets| *packets > 100), "{:?}", bridges.verdicts());
}

#[test]
fn random_packets() {
    let bridges = Bridges::new();
    let completed = Cell::new(0);
    proptest!(budget(2000), |((frame, veth) in sent())| {
        bridges.agree(&frame, veth);
        let changed = model::forward(Checksum::Complete, None, &frame, veth).frame != frame;
        completed.set(completed.get() + u32::from(changed));
    });
    assert!(bridges.verdicts().iter().all(|packets| *packets > 100), "{:?}", bridges.verdicts());
    assert!(completed.get() > 100, "{completed:?} checksums were completed");
}

#[test]
fn random_bytes() {
    let bridges = Bridges::new();
    proptest!(budget(500), |(frame in vec(any::<u8>(), 0..200), veth in veths())| {
        bridges.agree(&frame, veth);
    });
}

/// Garbage that gets further: true headers, most of them, with anything behind.
#[test]
fn random_bytes_behind_true_ones() {
    let bridges = Bridges::new();
    let kind = prop_oneof![Just(tcp()), Just(udp()), Just(tcp6()), Just(udp6()), Just(icmp6())];
    proptest!(budget(1000), |(kind in kind, keep in 12..60usize, rest in vec(any::<u8>(), 0..300))| {
        let mut frame = kind.payload(rest.clone()).bytes();
        frame.truncate(keep);
        frame.extend(rest);
        bridges.agree(&frame, A_VETH);
    });
}
