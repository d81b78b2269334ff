//! `trust` vouches for checksums between joined containers, and for nothing else.

mod bridge;
mod model;

use bridge::{C, JOINED, STRANGER, kinds, patched};
use xhop_asm::Hook;
use xhop_asm::blocks::endpoint::value;
use xhop_asm::programs::Shipped;
use xhop_vm::Vm;
use xhop_vm::packet::{A, B, Host, catalogue, icmp, icmp6};

/// `trust` in a container, with who is joined.
fn trust() -> Vm {
    let vm = Vm::new(&Shipped::Trust.program().expect("assembles")).expect("is loaded");
    for (host, veth) in JOINED {
        let endpoint = value::encode(veth, host.mac);
        vm.map("endpoints4").expect("declared").insert(host.v4, endpoint).expect("fits");
        vm.map("endpoints6").expect("declared").insert(host.v6, endpoint).expect("fits");
    }
    vm
}

/// Whether it vouches for the packet, which it leaves alone in any case.
#[track_caller]
fn vouches(vm: &Vm, frame: &[u8]) -> bool {
    let outcome = vm.run(frame, 2).expect("runs");
    assert_eq!((outcome.hook, outcome.action()), (Hook::Tc, "TC_ACT_UNSPEC"));
    assert_eq!((outcome.packet.as_slice(), outcome.redirect), (frame, None));
    assert!(outcome.csum_level < 2);
    outcome.csum_level == 1
}

#[test]
fn only_from_joined_to_joined() {
    let vm = trust();
    for packet in kinds().into_iter().chain([icmp(), icmp6()]) {
        let hosts = [(A, true), (B, true), (C, true), (STRANGER, false)];
        for (from, known) in hosts {
            for (to, also) in hosts {
                let frame = packet.clone().partial().from(from).to(to).bytes();
                assert_eq!(vouches(&vm, &frame), known && also, "{from:?} to {to:?}");
                // By their addresses, but by way of somebody else: a router's, or going on from here.
                for at in [0, 6] {
                    for mac in [STRANGER.mac, [frame[at] ^ 2, 0, 0, 0, 0, 0]] {
                        assert!(!vouches(&vm, &patched(frame.clone(), at, &mac)));
                    }
                }
            }
        }
    }
}

#[test]
fn nobody_is_joined() {
    let vm = Vm::new(&Shipped::Trust.program().expect("assembles")).expect("is loaded");
    catalogue().iter().for_each(|case| assert!(!vouches(&vm, &case.frame), "{}", case.name));
}

#[test]
fn as_the_model_says() {
    let (vm, mut vouched) = (trust(), 0);
    let cases = catalogue();
    for case in &cases {
        let expected = model::trusts(&case.frame);
        assert_eq!(vouches(&vm, &case.frame), expected, "{}", case.name);
        vouched += usize::from(expected);
        // With a tag beside it it is for another interface.
        vm.set_vlan(true);
        assert!(!vouches(&vm, &case.frame), "{}", case.name);
        vm.set_vlan(false);
    }
    assert!((100..cases.len() - 100).contains(&vouched), "{vouched} of {}", cases.len());
}

#[test]
fn cut_at_every_length() {
    let vm = trust();
    for packet in kinds() {
        let frame = packet.bytes();
        for len in 0..=frame.len() {
            assert_eq!(vouches(&vm, &frame[..len]), len >= packet.l4_offset(), "{len}");
        }
    }
}

/// Of a family in which nobody is joined.
#[test]
fn families() {
    let vm = trust();
    let Host { v6, .. } = B;
    assert!(vm.map("endpoints6").expect("declared").remove(v6).expect("a key"));
    let said = kinds().map(|packet| vouches(&vm, &packet.bytes()));
    assert_eq!(said, [true, true, false, false]);
}
