//! Programs that tell of each packet do with it what the others do, and tell what that was.

mod bridge;

use bridge::{A_VETH, Bridge, C, STRANGER};
use xhop_asm::blocks::capture::{SNAPLEN_MAX, record, tally};
use xhop_asm::programs::{Checksum, Shipped};
use xhop_vm::packet::{Packet, arp, icmp, sctp, tcp, tcp6, udp, udp6};
use xhop_vm::{Outcome, Vm};

const PLAIN: [Shipped; 4] = [
    Shipped::Forward(Checksum::Keep),
    Shipped::Forward(Checksum::Complete),
    Shipped::ForwardFrags,
    Shipped::Peer,
];

/// The program that tells of what `plain` does, with so many bytes of each packet.
fn told(plain: Shipped, snaplen: u32) -> Bridge {
    let bridge = Bridge::of(plain.captured().expect("has one"));
    let mut value = [0; tally::SIZE];
    value[tally::SNAPLEN as usize..].copy_from_slice(&u64::from(snaplen).to_ne_bytes());
    map(&bridge.vm, tally().name).insert([0; 4], value).expect("a tally");
    bridge
}

fn map<'v>(vm: &'v Vm, name: &str) -> &'v xhop_vm::Map {
    vm.map(name).expect("is declared")
}

fn packets() -> Vec<Vec<u8>> {
    let (spoofed, to_nobody) = (tcp().from(C), udp().to(STRANGER));
    let all = [tcp(), tcp6(), udp(), udp6(), icmp(), sctp(), spoofed, to_nobody];
    let mut all: Vec<Vec<u8>> = all.iter().map(Packet::bytes).collect();
    all.extend([arp(), vec![0xff; 20], udp().payload([7; 1400]).bytes()]);
    all
}

fn word(bytes: &[u8], off: i16) -> u32 {
    let at = off as usize;
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four"))
}

fn counted(vm: &Vm) -> [u64; 2] {
    let value = map(vm, tally().name).get([0; 4]).expect("a key").expect("a tally");
    [tally::SEEN, tally::LOST].map(|off| {
        let at = off as usize;
        u64::from_ne_bytes(value[at..at + 8].try_into().expect("eight"))
    })
}

/// Under which verdict the last packet was counted: where the counters differ.
fn verdict(bridge: &Bridge, before: &[(Vec<u8>, Vec<u8>)]) -> u32 {
    let now = map(&bridge.vm, "stats").entries();
    let counted = now.iter().zip(before).position(|(now, before)| now != before);
    counted.expect("is counted") as u32
}

#[test]
fn the_same_becomes_of_each_packet_and_it_is_told() {
    for shipped in PLAIN {
        let (plain, telling) = (Bridge::of(shipped), told(shipped, SNAPLEN_MAX));
        for (at, packet) in (1..).zip(packets()) {
            let run = |bridge: &Bridge| {
                let before = map(&bridge.vm, "stats").entries();
                let outcome = bridge.vm.run(&packet, A_VETH).expect("runs");
                (outcome, verdict(bridge, &before))
            };
            let ((expected, verdict), (found, counted_as)) = (run(&plain), run(&telling));
            assert_eq!(Outcome { told: Vec::new(), ..found.clone() }, expected, "{shipped:?}");
            assert_eq!(counted_as, verdict);

            let [told] = &found.told[..] else { panic!("{shipped:?} tells once: {found:?}") };
            let (head, data) = told.split_at(record::PACKET as usize);
            assert_eq!(word(head, record::VERDICT), verdict, "{shipped:?}");
            assert_eq!(word(head, record::BYTES), packet.len() as u32);
            assert_eq!(word(head, record::IFINDEX), A_VETH);
            assert_eq!(data, expected.packet, "as it leaves");
            assert_eq!(counted(&telling.vm), [at, 0]);
        }
    }
}

#[test]
fn no_more_of_a_packet_is_told_than_is_asked_for() {
    let long = udp().payload([7; 100]).bytes();
    for shipped in PLAIN {
        for snaplen in [1, 14, 64, long.len() as u32 - 1, long.len() as u32, SNAPLEN_MAX] {
            let outcome = told(shipped, snaplen).vm.run(&long, A_VETH).expect("runs");
            let [told] = &outcome.told[..] else { panic!("{shipped:?} tells once") };
            let cut = long.len().min(snaplen as usize);
            assert_eq!(
                told[record::PACKET as usize..],
                outcome.packet[..cut],
                "{shipped:?} {snaplen}"
            );
            assert_eq!(word(told, record::BYTES), long.len() as u32);
        }
    }
}

/// Nothing else asks for what the program can't tell. The packet goes its way all the same.
#[test]
fn what_is_not_told_is_counted() {
    for shipped in PLAIN {
        for snaplen in [0, SNAPLEN_MAX + 1] {
            let (plain, telling) = (Bridge::of(shipped), told(shipped, snaplen));
            let long = udp().payload_len(SNAPLEN_MAX as usize + 1).bytes();
            for (at, packet) in (1..).zip([long.clone(), long]) {
                let run = |bridge: &Bridge| bridge.vm.run(&packet, A_VETH).expect("runs");
                assert_eq!(run(&telling), run(&plain), "{shipped:?}");
                assert_eq!(counted(&telling.vm), [at, at]);
            }
        }
    }
}

#[test]
fn who_is_not_captured_has_no_such_program() {
    for shipped in Shipped::ALL {
        assert_eq!(shipped.captured().is_some(), PLAIN.contains(&shipped), "{shipped:?}");
    }
}
