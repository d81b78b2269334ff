//! Two at once: one waits for the other, and what is left is what the later one wanted, whole. With
//! `XHOP_THOROUGH=1`, as CI has it, 1,000 rounds; else some.

mod lab;

use std::fs::{self, File};
use std::time::{Duration, Instant};

use lab::{Hurry, Lab, Where, XHOP, assert_same, lab, thorough, wait_until};
use nix::fcntl::{Flock, FlockArg};

const PATIENCE: Duration = Duration::from_secs(60);
const UP: &[&str] = &["up", "netns:a", "netns:b", "--jumbo"];
const DOWN: &[&str] = &["down", "--all"];
const PAIRS: [[&[&str]; 2]; 7] = [
    [UP, UP],
    [UP, DOWN],
    [DOWN, UP],
    [DOWN, DOWN],
    [UP, &["status", "--json"]],
    [DOWN, &["audit"]],
    [&["down", "netns:a"], &["down", "netns:b"]],
];
/// So many rounds there are for one look by all other tools.
const LOOK: usize = 20;

/// Numbers that look random (xorshift64), the same ones in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn two_at_once() {
    let rounds = if thorough() { 1000 } else { 60 };
    let _hurry = Hurry::begin();
    // Each in a laboratory of its own.
    std::thread::scope(|scope| {
        let all =
            [0x9e37, 0x79b9].map(|seed| scope.spawn(move || rounds_of(rounds / 2, Dice(seed))));
        all.into_iter().for_each(|one| one.join().expect("no panic"));
    });
}

fn rounds_of(rounds: usize, mut dice: Dice) {
    lab("two_at_once", |lab| {
        lab.pair();
        let (before, files) = (lab.everything(), lab.own_files());
        let (begun, mut joined, mut whole) = (Instant::now(), false, 0);
        for round in 0..rounds {
            let pair = PAIRS[dice.below(PAIRS.len())];
            if pair[0] == ["down", "netns:a"] && !joined {
                lab.xhop(UP).ok();
            }
            let both = pair.map(|args| {
                let command = lab.spawn_in(Where::Own, &[&[XHOP], args].concat());
                // The second one begins now and then when the first is at work.
                std::thread::sleep(Duration::from_millis(dice.below(3) as u64 * 4));
                command
            });
            for (running, args) in both.into_iter().zip(pair) {
                let done = running.wait(PATIENCE);
                assert!(done.status.success(), "round {round}, {pair:?}: {args:?}: {done}");
            }
            joined = lab.own_files() != files;
            match pair {
                // The later one has it.
                [UP, DOWN] | [DOWN, UP] => {}
                [UP, _] => assert!(joined, "round {round}, {pair:?}"),
                _ => assert!(!joined, "round {round}, {pair:?}"),
            }
            if joined {
                is_whole(lab);
                whole += 1;
            } else if round % LOOK == 0 {
                assert_same(&before, &lab.everything());
            }
        }
        println!("rounds: {rounds}, of which {whole} left both joined, in {:?}", begun.elapsed());
        lab.xhop(DOWN).ok();
        assert_same(&before, &lab.everything());
    });
}

/// Both are joined, and all is as listed.
fn is_whole(lab: &Lab) {
    let audit = lab.xhop(&["audit"]).ok();
    assert!(audit.ends_with("all is as listed\n"), "{audit}");
    assert_eq!(audit.matches("on bridge br0\n").count(), 2, "{audit}");
}

/// Whether somebody waits for the lock that this process has; proc_locks(5): `3: -> FLOCK ...`.
fn somebody_waits(pid: u32) -> bool {
    let locks = fs::read_to_string("/proc/locks").expect("locks");
    locks.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("->") && words.any(|word| word == pid.to_string())
    })
}

/// Who changes something waits for who looks, and everybody for who changes something.
#[test]
fn the_second_one_waits() {
    lab("the_second_one_waits", |lab| {
        lab.pair();
        let before = lab.own_files();
        fs::create_dir("/run/xhop").expect("the folder");
        fs::set_permissions("/run/xhop", std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .expect("chmod");
        for (how, args, waits) in [
            (FlockArg::LockExclusive, UP, true),
            (FlockArg::LockShared, UP, true),
            (FlockArg::LockExclusive, &["status"], true),
            (FlockArg::LockShared, &["status"], false),
            (FlockArg::LockExclusive, DOWN, true),
        ] {
            let folder = File::open("/run/xhop").expect("the folder");
            let lock = Flock::lock(folder, how).expect("the lock");
            let found = lab.own_files();
            let command = lab.spawn_in(Where::Own, &[&[XHOP], args].concat());
            if waits {
                wait_until(PATIENCE, "it waits", || somebody_waits(command.pid()));
                assert_eq!(lab.own_files(), found, "{args:?} has changed nothing");
                drop(lock);
            }
            command.wait(PATIENCE).ok();
        }
        assert_eq!(lab.own_files(), before);
    });
}
