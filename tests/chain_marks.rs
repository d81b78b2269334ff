//! Marks of service chains that are forged: whoever sends them, they end on the host's side of a member.

mod lab;

use std::time::Duration;

use lab::chain::{By, OUTSIDE, Stage};
use lab::{counter, lab, wait_until};
use xhop_asm::blocks::chain::{BACK, MARK};
use xhop_asm::blocks::count::VERDICTS;

const PATIENCE: Duration = Duration::from_secs(10);
/// All, and nobody that the bridge knows: it floods both.
const FLOODED: [[u8; 6]; 2] = [[0xff; 6], [0x02, 0, 0, 0, 0, 0x99]];
/// For experiments (IEEE 802), and ARP.
const TYPES: [u16; 2] = [0x88b5, 0x0806];

/// All that is counted of all programs of the chain.
fn counted(stage: &Stage) -> u64 {
    let status = stage.status();
    let programs = status["programs"].as_array().expect("programs");
    let all = programs.iter().flat_map(|program| VERDICTS.map(|v| (program, v.name())));
    all.map(|(program, verdict)| counter(program, verdict, "packets")).sum()
}

/// What was dropped at the first two members.
fn dropped(stage: &Stage) -> [u64; 2] {
    [1, 2].map(|at| counter(&stage.status()["programs"][at], "spoofed", "packets"))
}

/// Each would be bounced by the one member to the bridge, and from there to the other, without an end.
#[test]
fn forged_marks_do_not_circulate() {
    for back in [&[][..], &["--back"]] {
        lab("forged_marks_do_not_circulate", |lab| {
            let stage = Stage::new(lab, By::Bridging);
            stage.bridge.container("d", "10.9.0.5/24", "fd09::5/64");
            stage.chain(back);
            let mut sent = 0;
            for from in [OUTSIDE, "d"] {
                for (mark, dst, kind) in [MARK, BACK].into_iter().flat_map(|mark| {
                    FLOODED.into_iter().flat_map(move |dst| TYPES.map(|kind| (mark, dst, kind)))
                }) {
                    let mut frame = [&dst[..], &mark, &kind.to_be_bytes()].concat();
                    frame.resize(60, 0);
                    let before = (dropped(&stage), counted(&stage));
                    lab.in_netns(from, || lab::raw::send_frame("eth0", &frame)).expect("sent");
                    sent += 1;
                    wait_until(PATIENCE, "it is there", || counted(&stage) > before.1);
                    let at_rest = || counted(&stage) == counted(&stage);
                    wait_until(PATIENCE, "nothing circulates", at_rest);
                    wait_until(PATIENCE, "both have bounced it", || {
                        let now = dropped(&stage);
                        now.iter().zip(before.0).all(|(now, before)| *now > before)
                    });
                }
            }
            let most = 8 * sent + 200;
            assert!(counted(&stage) < most, "{} of {sent}", counted(&stage));
            stage.tcp("10.9.0.4");
            for (from, address) in [(OUTSIDE, "10.9.0.2"), ("d", "10.9.0.4"), ("a", "10.9.0.5")] {
                lab.pings(from, address);
            }
            assert_eq!(stage.state(), "up");
        });
    }
}
