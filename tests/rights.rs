//! Least privilege: each command has just the capabilities that README.md lists, gives up all others before it
//! does anything, and names one that is missing. setpriv(1) takes them away, strace(1) and /proc show them.

mod lab;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use lab::{Lab, Running, Where, XHOP, assert_one_line, assert_same, lab, lab_with, wait_until};
use xhop::cmd::rights::Rights;
use xhop::sys::caps::Cap;

const PATIENCE: Duration = Duration::from_secs(20);
const TRACE: &str = "/run/rights.trace";
const README: &str = include_str!("../README.md");

#[test]
fn readme_lists_them() {
    let head = "| command | needs | has besides, if root has it |\n|---|---|---|\n";
    let lines: String = Rights::ALL.iter().map(|rights| format!("{rights}\n")).collect();
    assert!(README.contains(&format!("{head}{lines}\n")), "not in README.md:\n{head}{lines}");
}

#[test]
fn the_unit_leaves_just_these() {
    let unit = include_str!("../share/systemd/xhop-watch.service");
    let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let set: BTreeSet<_> = set.expect("the set").split(' ').collect();
    assert_eq!(set, Rights::WATCH.needs.iter().map(|cap| cap.name()).collect());
    assert!(unit.contains("\nNoNewPrivileges=yes\n"));
}

/// A command line of each kind; where it needs no kernel, one that reads a file.
fn commands(rights: Rights) -> &'static [&'static [&'static str]] {
    match rights {
        Rights::JOIN => &[
            &["up", "a", "b"],
            &["up", "a", "b", "--dry-run"],
            &["chain", "nic0", "a", "b"],
            &["down", "--all"],
        ],
        Rights::WATCH => &[&["watch"]],
        Rights::STATUS => &[&["status"], &["status", "--json"]],
        Rights::AUDIT => &[&["audit"]],
        Rights::DOCTOR => &[&["doctor", "a", "b"]],
        Rights::KERNEL => &[&["doctor"]],
        Rights::CAPTURE => &[&["capture", "a", "b", "--count", "1"]],
        Rights::DEMO => &[&["demo"]],
        Rights::BENCH => &[
            &["bench", "a", "b", "--rounds", "1", "--seconds", "0.05"],
            &["bench", "--scale", "--rounds", "1", "--containers", "2"],
        ],
        Rights::FRAMES => &[&["bench", "--frames", "--rounds", "1"]],
        Rights::CHECKSUM => &[&["bench", "--checksum", "--rounds", "1"]],
        Rights::READ => &[&["lint", "pass"], &["disasm", "/run/file"]],
        Rights::VM => &[&["vm", "pass", "--pcap", "/run/file"]],
        Rights::PRINT => &[&["programs"], &["show", "pass"]],
        other => panic!("{other:?} has no command here"),
    }
}

/// The words of setpriv(1) that leave a command of root's these and no others.
fn only(caps: impl Iterator<Item = &'static str>) -> [String; 4] {
    let word = |name: &str| format!(",+{}", name.to_lowercase().trim_start_matches("cap_"));
    let set: String = caps.map(word).collect();
    let bounding = format!("--bounding-set=-all{set}");
    ["setpriv".into(), "--no-new-privs".into(), "--inh-caps=-all".into(), bounding]
}

fn run_with(lab: &Lab, by: &[String], args: &[&str]) -> lab::Output {
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    lab.run_in(Where::Own, &[&by[..], &[XHOP], args].concat())
}

fn names(caps: &[Cap]) -> impl Iterator<Item = &'static str> + Clone {
    caps.iter().map(|cap| cap.name())
}

#[test]
fn each_that_is_missing_is_named() {
    lab_with("each_that_is_missing_is_named", &["setpriv"], |lab| {
        lab.pair();
        let before = lab.everything();
        for rights in Rights::ALL {
            let all: Vec<_> = names(rights.needs).collect();
            for args in commands(rights) {
                for lacking in &all {
                    let others = all.iter().copied().filter(|name| name != lacking);
                    let done = run_with(lab, &only(others), args);
                    assert_one_line(&done, &[&format!("this needs {lacking}: "), "root"]);
                }
                if !all.is_empty() {
                    let done = run_with(lab, &only([].into_iter()), args);
                    assert_one_line(&done, &[&format!("this needs {}: ", all.join(", "))]);
                }
            }
        }
        assert_same(&before, &lab.everything());
    });
}

#[test]
fn nobody_is_told_what_it_takes() {
    lab_with("nobody_is_told_what_it_takes", &["setpriv"], |lab| {
        lab.pair();
        // Where anyone may run it.
        fs::copy(XHOP, "/run/the-binary").expect("a copy");
        let before = lab.everything();
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        for args in commands(Rights::JOIN).iter().chain(commands(Rights::STATUS)) {
            let done = lab.run_in(Where::Own, &[&nobody[..], &["/run/the-binary"], args].concat());
            assert_one_line(&done, &["CAP_SYS_ADMIN", "root"]);
        }
        assert_same(&before, &lab.everything());
    });
}

/// With these alone all is done, also where a container is named by a process that has more.
#[test]
fn what_is_listed_is_enough() {
    lab_with("what_is_listed_is_enough", &["setpriv"], |lab| {
        lab.pair();
        let before = lab.everything();
        let sleeper = lab.spawn_in("a", &["sleep", "600"]);
        let pid = format!("pid:{}", sleeper.pid());
        let with = |rights: Rights, args: &[&str]| {
            run_with(lab, &only(names(rights.needs)), args).ok();
        };
        for up in [
            &["up", &pid, "b", "--datapath", "tc", "--jumbo"][..],
            &["up", &pid, "b", "--datapath", "native", "--attach", "netlink"],
            &["up", &pid, "b", "--datapath", "generic"],
        ] {
            with(Rights::JOIN, up);
            with(Rights::STATUS, &["status"]);
            let ping = lab.spawn_in("a", &["ping", "-n", "-i0.05", "10.9.0.3"]);
            with(Rights::CAPTURE, &["capture", &pid, "b", "--count", "1"]);
            drop(ping);
            with(Rights::AUDIT, &["audit"]);
            with(Rights::DOCTOR, &["doctor", &pid, "b"]);
            with(Rights::JOIN, &["down", "--all"]);
            assert_same(&before, &lab.everything());
        }
        // Nor is anything else missing that the kernel's features are tried with.
        with(Rights { needs: Rights::KERNEL.takes, ..Rights::KERNEL }, &["doctor"]);
        with(Rights::DEMO, &["demo", "--seconds", "1"]);
        for rights in [Rights::BENCH, Rights::FRAMES, Rights::CHECKSUM] {
            for args in commands(rights) {
                with(rights, args);
            }
        }
        assert_same(&before, &lab.everything());
    });
}

/// The names in strace's words for a set: `1<<CAP_NET_ADMIN|1<<CAP_SYS_ADMIN`.
fn set(line: &str, of: &str) -> BTreeSet<String> {
    let (_, rest) = line.split_once(&format!("{of}=")).unwrap_or_else(|| panic!("{line}"));
    let end = rest.find([',', '}']).unwrap_or_else(|| panic!("{line}"));
    let all = rest[..end].split('|').filter(|word| *word != "0");
    all.map(|word| word.trim_start_matches("1<<").to_owned()).collect()
}

#[test]
fn all_others_are_given_up_first() {
    lab_with("all_others_are_given_up_first", &["strace"], |lab| {
        lab.pair();
        fs::write("/run/file", "9500000000000000").expect("a file");
        for rights in Rights::ALL {
            for args in commands(rights).iter().filter(|args| **args != ["watch"]) {
                // What changes, starts or speaks to anything.
                let calls =
                    "trace=prctl,capset,%network,bpf,setns,unshare,mount,mkdir,clone,clone3,flock";
                let strace = ["strace", "-f", "-qq", "-o", TRACE, "-e", calls, XHOP];
                lab.run_in(Where::Own, &[&strace, *args].concat());
                let trace = fs::read_to_string(TRACE).expect("a trace");
                let mut lines = trace.lines();
                let mut next = || lines.next().unwrap_or_else(|| panic!("{args:?}: {trace}"));
                let no_new = next();
                assert!(no_new.ends_with("prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) = 0"), "{no_new}");
                let line = next();
                assert!(line.contains("capset(") && line.ends_with("}) = 0"), "{line}");
                let kept = names(rights.needs).chain(names(rights.takes));
                let kept = kept.map(str::to_owned).collect::<BTreeSet<_>>();
                assert_eq!(set(line, "effective"), kept, "{args:?}");
                assert_eq!(set(line, "permitted"), kept, "{args:?}");
                assert_eq!(set(line, "inheritable"), BTreeSet::new(), "{args:?}");
            }
        }
    });
}

/// The five sets and no_new_privs of each of its threads.
fn held(command: &Running) -> BTreeSet<[String; 5]> {
    let tasks = fs::read_dir(format!("/proc/{}/task", command.pid())).expect("threads");
    let of = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).expect("a status");
        ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:", "NoNewPrivs:"].map(|field| {
            let value = status.lines().find_map(|line| line.strip_prefix(field));
            value.unwrap_or_else(|| panic!("no {field} in {status}")).trim().to_owned()
        })
    };
    tasks.map(|task| of(task.expect("a thread"))).collect()
}

#[test]
fn who_stays_has_no_more() {
    lab("who_stays_has_no_more", |lab| {
        lab.pair_at(Where::Own);
        // include/uapi/linux/capability.h: SYS_ADMIN 21, SYS_PTRACE 19, NET_ADMIN 12, NET_BROADCAST 11.
        for (args, caps) in
            [(&["watch"][..], 0x0028_1800_u64), (&["status", "--watch", "--json"], 0x0028_1000)]
        {
            let command = lab.spawn_in(Where::Own, &[&[XHOP], args].concat());
            wait_until(PATIENCE, "it is at work", || !command.stdout().is_empty());
            let (caps, none) = (format!("{caps:016x}"), format!("{:016x}", 0));
            let expected = [caps.clone(), caps, none.clone(), none, "1".into()];
            assert_eq!(held(&command), [expected].into(), "{args:?}");
        }
    });
}
