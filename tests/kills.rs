//! SIGKILL before each system call of `up` and of `down`: the network works all the same, and `down --all` takes
//! back whatever is left. With `XHOP_THOROUGH=1`, as CI has it, before each one; else before some.

mod lab;

use std::time::Instant;

use lab::{Hurry, Lab, XHOP, assert_same, lab, thorough};

/// It has all kinds of steps, and looks at no other processes.
const UP: [&str; 6] = ["up", "netns:a", "netns:b", "--datapath", "tc", "--jumbo"];
const DOWN: [&str; 2] = ["down", "--all"];
/// So many kills there are for one look by ip(8), ethtool(8), tc(8) and bpftool(8), which takes longer.
const LOOK: usize = 10;
/// Two plain commands make more calls than these.
const LEAST: usize = 300;

/// Between two kills, where not each call is tried: no divisor of what repeats itself.
fn step() -> usize {
    if thorough() { 1 } else { 31 }
}

#[test]
fn up_is_killed_at_each_call() {
    lab("up_is_killed_at_each_call", |lab| {
        killed_at_each_call(lab, &UP, || {});
    });
}

#[test]
fn down_is_killed_at_each_call() {
    lab("down_is_killed_at_each_call", |lab| {
        killed_at_each_call(lab, &DOWN, || drop(lab.xhop(&UP).ok()));
    });
}

fn killed_at_each_call(lab: &Lab, args: &[&str], before_it: impl Fn()) {
    let _hurry = Hurry::begin();
    lab.pair();
    let (begun, step) = (Instant::now(), step());
    let works = || drop(lab.ok_in("a", &["ping", "-n", "-c1", "-W2", "10.9.0.3"]));
    works();
    let (before, files) = (lab.everything(), lab.own_files());
    let (mut kills, mut left) = (0, 0);
    for nth in (1..).step_by(step) {
        before_it();
        if !lab.kill_at(&[&[XHOP], args].concat(), nth) {
            lab.xhop(&DOWN).ok();
            break;
        }
        kills += 1;
        works();
        left += usize::from(lab.own_files() != files);
        lab.xhop(&DOWN).ok();
        assert_eq!(files, lab.own_files(), "{args:?}, killed at call {nth}");
        if kills % LOOK == 0 {
            assert_same(&before, &lab.everything());
        }
    }
    assert_same(&before, &lab.everything());
    println!("{args:?}: kills: {kills}, of which {left} left something, in {:?}", begun.elapsed());
    assert!(kills * step >= LEAST, "{args:?} makes {kills} calls");
    assert!(left > 0, "{args:?}: some strike where there is something to take back");
}
