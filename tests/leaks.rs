//! Nothing is lost by joining and taking out again and again: descriptors, programs, maps and links are as many
//! as before. Alone in its process, whose descriptors are counted.

mod lab;

use std::fs;
use std::time::{Duration, Instant};

use lab::{Hurry, Lab, Where, lab, thorough};
use xhop::cmd::up::{Join, join};
use xhop::container::{Name, Namespaces};
use xhop::plan::way::Asked;
use xhop::plan::{Ground, carry_out, down, record};

/// At once, each in a laboratory of its own.
const AT_ONCE: usize = 2;
/// Of two containers. With `XHOP_THOROUGH=1`, as CI has it, many.
const CYCLES: [usize; 2] = [100, 10_000];

/// How many programs, maps and links the kernel has, of anybody's.
fn objects(lab: &Lab) -> [usize; 3] {
    ["prog", "map", "link"].map(|kind| {
        let list = lab.json(Where::Own, &["bpftool", "-j", kind, "list"]);
        list.as_array().expect("a list").len()
    })
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("descriptors").count()
}

/// Joins two and takes them out, by the library.
fn cycle(names: &[Name], datapath: Asked) {
    join(names, Join { datapath, ..Join::default() }).expect("joined");
    let namespaces = Namespaces::find().expect("namespaces");
    let (ground, members) = (Ground::new(&namespaces), record::all().expect("records"));
    assert_eq!(members.len(), 2);
    let plan = down(&members, &members, ground).expect("a plan");
    carry_out(&plan, ground).expect("taken out");
}

/// That there can be anything to count.
fn sees_what_is_made(lab: &Lab) {
    lab.pair();
    let before = objects(lab);
    lab.xhop(&["up", "netns:a", "netns:b", "--datapath", "tc"]).ok();
    let there = objects(lab);
    assert!(there.iter().zip(before).all(|(there, before)| *there >= before + 2), "{there:?}");
    lab.xhop(&["down", "--all"]).ok();
}

fn cycles(count: usize) {
    lab("leaks", |lab| {
        lab.pair();
        let before = lab.everything();
        let names = ["netns:a", "netns:b"].map(|name| name.parse().expect("a name"));
        for round in 0..count {
            let datapath = match round % 10 {
                3 => Asked::Native,
                7 => Asked::Generic,
                _ => Asked::Tc,
            };
            cycle(&names, datapath);
        }
        lab::assert_same(&before, &lab.everything());
    });
}

#[test]
fn nothing_is_lost() {
    lab("nothing_is_lost", |lab| {
        let total = CYCLES[usize::from(thorough())];
        let _hurry = Hurry::begin();
        sees_what_is_made(lab);
        // What is opened once and stays.
        cycles(1);
        let (begun, fds, before) = (Instant::now(), descriptors(), objects(lab));
        std::thread::scope(|scope| {
            let all: Vec<_> =
                (0..AT_ONCE).map(|_| scope.spawn(|| cycles(total / AT_ONCE))).collect();
            all.into_iter().for_each(|one| one.join().expect("no panic"));
        });
        let took = begun.elapsed();
        // The kernel frees some of it a moment later.
        let fewer = || objects(lab).iter().zip(before).all(|(now, before)| *now <= before);
        let patience = Instant::now();
        while !fewer() && patience.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let after = objects(lab);
        println!("cycles: {total} in {took:?}; programs, maps, links: {before:?}, then {after:?}");
        assert_eq!(descriptors(), fds);
        // Others on this machine may have made some meanwhile; each cycle makes more than one of each.
        for (now, before) in after.into_iter().zip(before) {
            assert!(now <= before + total / 10, "{before} were there, and now {now}");
        }
    });
}
