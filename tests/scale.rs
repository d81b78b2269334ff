//! One more container costs no more the more are joined. System calls are counted, not time: they are the
//! same each time.

mod lab;

use std::fs;

use lab::{Bridge, Lab, Where, XHOP, lab_with};

const TRACE: &str = "/run/scale.trace";
/// How many are joined, the second time and the first.
const FEW: usize = 10;
const MANY: usize = 40;
/// For each that is joined: its key in the map of ports. A little more for what is read of folders.
const EACH: usize = 2;

fn name(number: usize) -> String {
    format!("c{number}")
}

fn container(bridge: &Bridge, number: usize) {
    let host = number + 2;
    bridge.container(&name(number), &format!("10.9.0.{host}/24"), &format!("fd09::{host:x}/64"));
}

/// How many system calls it takes, with all threads.
fn calls(lab: &Lab, args: &[&str]) -> usize {
    let strace = ["strace", "-f", "-qq", "-o", TRACE, XHOP];
    lab.ok_in(Where::Own, &[&strace, args].concat());
    let trace = fs::read_to_string(TRACE).expect("a trace");
    trace.lines().filter(|line| line.contains('(') && !line.contains("futex(")).count()
}

#[test]
fn one_more_among_few_and_among_many() {
    lab_with("one_more_among_few_and_among_many", &["strace"], |lab| {
        let bridge = lab.bridge_at(Where::Own, "br0");
        (0..=MANY).for_each(|number| container(&bridge, number));
        let last = name(MANY);
        let mut counted = Vec::new();
        for joined in [FEW, MANY] {
            let names: Vec<String> = (0..joined).map(name).collect();
            let all = ["up"].into_iter().chain(names.iter().map(String::as_str));
            lab.xhop(&all.collect::<Vec<_>>()).ok();
            // By its kind: else all processes of the host are looked at, of which there may be more by then.
            counted.push(calls(lab, &["up", &format!("netns:{last}")]));
            assert_eq!(lab.members().len(), joined + 1);
            assert_eq!(lab.state(&format!("netns:{last}")), "up");
            lab.pings(&last, "10.9.0.2");
            lab.xhop(&["down", &last]).ok();
        }
        println!("{counted:?}");
        let most = counted[0] + EACH * (MANY - FEW);
        assert!(counted[1] <= most, "{counted:?}: more than {EACH} calls for each that is joined");
        // And what is counted is all of it.
        assert!(counted[0] > 100, "{counted:?}");
    });
}

/// What was cut off is not taken for whole: all are looked at again.
#[test]
fn what_was_cut_off_is_mended_by_up_of_others() {
    lab_with("what_was_cut_off_is_mended_by_up_of_others", &["strace", "ebtables"], |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.xhop(&["up", "a", "b"]).ok();
        // Killed with c half made: it can be redirected to, but has no program. The folder of its pins is
        // the fourth that is made, or found to be there.
        let kill = ["strace", "-f", "-qq", "-o", TRACE, "-e", "trace=/^mkdir(at)?$", "-e"];
        let inject = ["inject=/^mkdir(at)?$:signal=KILL:when=4", XHOP, "up", "c"];
        let done = lab.run_in(Where::Own, &[&kill[..], &inject[..]].concat());
        assert_ne!(done.status.code(), Some(0), "{done}");
        assert!(lab.own_files().contains("unfinished"), "{}", lab.own_files());
        assert_eq!(lab.state("netns:c"), "detached");
        lab.xhop(&["up", "a", "b"]).ok();
        assert!(!lab.own_files().contains("unfinished"), "{}", lab.own_files());
        // Its record was written, so it is one of them.
        assert_eq!(lab.members().len(), 3);
        pair.bridge.is_bypassed(&pair.a, &c);
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!(lab.own_files(), "");
    });
}
