//! Counters: every packet once, with all of its bytes. That each run counts right is checked by the
//! fixture; here is what they come to.

mod bridge;

use bridge::{A_VETH, B_VETH, Bridge, C_VETH, STRANGER, kinds};
use proptest::prelude::*;
use proptest::test_runner::Config;
use xhop_asm::blocks::count::VERDICTS;
use xhop_vm::packet::B;

#[test]
fn they_start_at_zero() {
    for bridge in Bridge::both() {
        assert_eq!(bridge.counters(), [(0, 0); 4]);
    }
}

proptest! {
    #![proptest_config(Config { cases: 32, failure_persistence: None, ..Config::default() })]
    #[test]
    fn a_mix(mix in proptest::collection::vec((0..4usize, 0..4usize, 0..1400usize), 0..60)) {
        for bridge in Bridge::both() {
            let mut expected = [(0, 0); 4];
            for &(fate, kind, len) in &mix {
                let packet = kinds()[kind].clone().payload_len(len).partial();
                // Forwarded, passed, stale, spoofed.
                let (frame, veth) = match fate {
                    1 => (packet.to(STRANGER).bytes(), A_VETH),
                    3 => (packet.bytes(), C_VETH),
                    _ => (packet.bytes(), A_VETH),
                };
                if fate == 2 {
                    bridge.remove("ports", &B_VETH.to_ne_bytes());
                }
                prop_assert_eq!(bridge.send(&frame, veth).verdict, VERDICTS[fate]);
                bridge.join(B, B_VETH);
                expected[fate].0 += 1;
                expected[fate].1 += frame.len() as u64;
            }
            prop_assert_eq!(bridge.counters(), expected);
        }
    }
}

#[test]
fn they_have_64_bits() {
    for bridge in Bridge::both() {
        // One more carries into the upper half, which is not empty.
        let (packets, bytes) = (0x1_ffff_ffff_u64, 0x7_ffff_ffff_u64);
        let value = [packets.to_ne_bytes(), bytes.to_ne_bytes()].concat();
        bridge.vm.map("stats").expect("declared").insert(0u32.to_ne_bytes(), value).expect("fits");
        let frame = kinds()[0].bytes();
        bridge.forwards(&frame);
        assert_eq!(bridge.counters()[0], (packets + 1, bytes + frame.len() as u64));
    }
}
