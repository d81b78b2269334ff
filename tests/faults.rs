//! Whatever fails, and wherever xhop is ended: all is taken back, at once or by `down --all`.
//!
//! strace(1) makes one system call after the other fail, or ends xhop there.

mod lab;

use std::fs;

use lab::chain::{By, Stage};
use lab::{Lab, Output, Where, XHOP, assert_one_line, assert_same, lab_with};

const TRACE: &str = "/run/trace";
/// Ways to join that have all kinds of steps between them. For each, one laboratory.
const UPS: [&[&str]; 1] = [&["up", "a", "b", "--datapath", "tc", "--jumbo"]];

/// These, and a chain.
const ALL: [&[&str]; 2] = [UPS[0], &["chain", "nic0", "a", "b", "--back"]];

/// The calls by which xhop changes the machine, as strace's regular expressions; what they fail
/// with; and which of them are tried: every so many, for the frequent ones are all alike.
const CALLS: [(&str, &str, usize); 7] = [
    ("/^bpf$", "ENOMEM", 2),
    ("/^ioctl$", "EIO", 5),
    ("/^sendto$", "ENOBUFS", 9),
    ("/^mkdir(at)?$", "ENOSPC", 1),
    ("/^(linkat|fsync)$", "EIO", 1),
    ("/^(unlink(at)?|rmdir)$", "EIO", 1),
    ("/^rename(at2?)?$", "EIO", 1),
];
/// More calls than there are of any kind in one run.
const MOST: usize = 200;

/// Runs xhop, and lets `what` happen to the `nth` of these calls in a thread. `None` if there are
/// not so many.
fn xhop_but(lab: &Lab, args: &[&str], calls: &str, what: &str, nth: usize) -> Option<Output> {
    let inject = format!("inject={calls}:{what}:when={nth}");
    let trace = format!("trace={calls}");
    let strace = ["strace", "-f", "-qq", "-o", TRACE, "-e", &trace, "-e", &inject, XHOP];
    let done = lab.run_in(Where::Own, &[&strace, args].concat());
    let hit = match what {
        "signal=KILL" => done.status.code() != Some(0),
        _ => fs::read_to_string(TRACE).expect("a trace").contains("(INJECTED)"),
    };
    hit.then_some(done)
}

/// What the command is about.
fn stage(lab: &Lab, up: &[&str]) {
    match up {
        ["chain", ..] => drop(Stage::new(lab, By::Bridging)),
        _ => drop(lab.pair()),
    }
}

/// `up` either does all of it or nothing.
#[test]
fn a_call_of_up_fails() {
    for up in ALL {
        lab_with("a_call_of_up_fails", &["strace"], |lab| a_call_fails(lab, up));
    }
}

fn a_call_fails(lab: &Lab, up: &[&str]) {
    println!("{up:?}");
    stage(lab, up);
    let before = lab.everything();
    for (calls, errno, step) in CALLS {
        let error = format!("error={errno}");
        for nth in (1..MOST).step_by(step) {
            let Some(done) = xhop_but(lab, up, calls, &error, nth) else { break };
            println!("{done}");
            if done.status.success() {
                // It can do without.
                lab.pings("a", "10.9.0.3");
            } else {
                assert_one_line(&done, &[]);
            }
            // The first rmdir fails too, and that may be the one that takes back. It says so.
            if done.status.success() || done.stderr.contains("`xhop down --all`") {
                lab.xhop(&["down", "--all"]).ok();
            }
            assert_same(&before, &lab.everything());
        }
        lab.xhop(&["down", "--all"]).ok();
    }
}

#[test]
fn up_is_killed() {
    for up in ALL {
        lab_with("up_is_killed", &["strace"], |lab| up_killed(lab, up));
    }
}

fn up_killed(lab: &Lab, up: &[&str]) {
    println!("{up:?}");
    stage(lab, up);
    let before = lab.everything();
    for (calls, _, step) in CALLS {
        // Those that `a_call_of_up_fails` leaves out.
        for nth in (step..MOST).step_by(step) {
            let done = xhop_but(lab, up, calls, "signal=KILL", nth);
            println!("{calls} {nth}");
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
            if done.is_none() {
                break;
            }
        }
    }
}

#[test]
fn down_fails() {
    down_but("down_fails", None, 1);
}

#[test]
fn down_is_killed() {
    down_but("down_is_killed", Some("signal=KILL"), 2);
}

/// What a `down` has left, the next one takes back.
fn down_but(name: &str, signal: Option<&str>, first: usize) {
    for up in ALL {
        lab_with(name, &["strace"], |lab| down_but_of(lab, up, signal, first));
    }
}

fn down_but_of(lab: &Lab, up: &[&str], signal: Option<&str>, first: usize) {
    println!("{up:?}");
    stage(lab, up);
    let before = lab.everything();
    for (calls, errno, step) in CALLS {
        let error = format!("error={errno}");
        let first = if step == 1 { 1 } else { first };
        for nth in (first..MOST).step_by(2 * step) {
            lab.xhop(up).ok();
            let done = xhop_but(lab, &["down", "--all"], calls, signal.unwrap_or(&error), nth);
            println!("{calls} {nth}");
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
            if done.is_none() {
                break;
            }
        }
    }
}

/// Who gets another address is joined with all that he had, or all that he has.
#[test]
fn a_call_fails_when_an_address_comes() {
    an_address_comes("a_call_fails_when_an_address_comes", None);
}

#[test]
fn killed_when_an_address_comes() {
    an_address_comes("killed_when_an_address_comes", Some("signal=KILL"));
}

fn an_address_comes(name: &str, signal: Option<&str>) {
    for up in UPS {
        lab_with(name, &["strace"], |lab| an_address_comes_to(lab, up, signal));
    }
}

fn an_address_comes_to(lab: &Lab, up: &[&str], signal: Option<&str>) {
    lab.pair();
    let before = lab.everything();
    let address = |verb| lab.ok_in("b", &["ip", "addr", verb, "10.9.0.77/24", "dev", "eth0"]);
    for (calls, errno, step) in CALLS {
        let error = format!("error={errno}");
        for nth in (1..MOST).step_by(step) {
            lab.xhop(up).ok();
            let joined = lab.own_files();
            address("add");
            let done = xhop_but(lab, up, calls, signal.unwrap_or(&error), nth);
            println!("{calls} {nth}");
            match &done {
                Some(done) if done.status.code() == Some(1) => {
                    assert_one_line(done, &[]);
                    let told = done.stderr.contains("`xhop down --all`");
                    assert!(told || lab.own_files() == joined, "{done}");
                }
                // Ended anywhere, it has left a record of all that is made.
                Some(_) => {}
                None => lab.pings("a", "10.9.0.77"),
            }
            lab.xhop(&["down", "--all"]).ok();
            address("del");
            assert_same(&before, &lab.everything());
            if done.is_none() {
                break;
            }
        }
    }
}
