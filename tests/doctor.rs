//! The doctor: a healthy path is told from one that is not, each feature is tried, and nothing is left of it.

mod lab;

use std::fs;
use std::time::Duration;

use lab::chain::{By, Stage};
use lab::doctor::{asked, causes, is_healthy, says};
use lab::{Where, XHOP, assert_same, lab, lab_with, not_tried, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use xhop::sys::kernel;

#[test]
fn a_healthy_pair_hops() {
    let ways: [&[&str]; 8] = [
        &["--datapath", "tc"],
        &["--datapath", "tc", "--attach", "netlink"],
        &["--datapath", "tc", "--jumbo"],
        &["--datapath", "tc", "--big-tcp"],
        &["--datapath", "native"],
        &["--checksum", "offload-off"],
        &["--checksum", "trust"],
        &["--datapath", "generic"],
    ];
    for way in ways {
        lab("a_healthy_pair_hops", |lab| {
            lab.pair();
            let up = lab.xhop(&[&["up", "a", "b"], way].concat());
            if !up.status.success() && kernel::release().expect("uname") < (6, 6) {
                return not_tried("a_healthy_pair_hops", &up.stderr);
            }
            up.ok();
            let before = lab.everything();
            let told = is_healthy(lab);
            assert_same(&before, &lab.everything());
            assert_eq!(told["version"], 1);
            for (path, from) in told["path"].as_array().expect("a path").iter().zip(["a", "b"]) {
                assert_eq!(path["from"], format!("netns:{from}"));
                let probes = path["probes"].as_array().expect("probes");
                assert_eq!(probes.len(), 8, "{way:?}: {told:#}");
                for probe in probes {
                    let n = |what: &str| probe[what].as_u64().expect("a number");
                    let all = ["left", "arrived", "taken"].map(n);
                    assert_eq!(all, [n("sent"); 3], "{way:?}: {probe:#}");
                    assert_eq!(n("by_bridge"), 0, "{way:?}: {probe:#}");
                }
                // Each packet that left is accounted for.
                let account = &path["account"];
                assert_eq!(account["unaccounted"], 0, "{way:?}: {account:#}");
                let forwarded = &account["verdicts"][0];
                assert_eq!(forwarded["verdict"], "forwarded");
                let sent = probes.iter().filter(|probe| probe["sent"] != 0).count();
                assert!(forwarded["packets"].as_u64() >= Some(sent as u64), "{way:?}: {account:#}");
            }
        });
    }
}

#[test]
fn each_feature_is_tried() {
    lab("each_feature_is_tried", |lab| {
        let before = lab.everything();
        let told = lab.json(Where::Own, &[lab::XHOP, "doctor", "--json"]);
        assert_same(&before, &lab.everything());
        assert_eq!((&told["healthy"], told.get("path")), (&true.into(), None));
        let features = told["kernel"]["features"].as_array().expect("features");
        assert!(features.len() > 15, "{told:#}");
        for row in features {
            let answer = row["answer"].as_str().expect("an answer");
            assert!(["yes", "no", "unknown"].contains(&answer), "{row:#}");
            assert_eq!(row["why"].is_string(), answer != "yes", "{row:#}");
        }
        // As bpftool(8) finds it.
        let answer = |name: &str| {
            let row = features.iter().find(|row| row["feature"] == name);
            row.unwrap_or_else(|| panic!("no {name}"))["answer"].clone()
        };
        let probed = lab.json(Where::Own, &["bpftool", "-j", "feature", "probe"]);
        let has = |have: bool| if have { "yes" } else { "no" };
        let helper = |kind: &str, name: &str| {
            let helpers = probed["helpers"][format!("{kind}_available_helpers")].clone();
            helpers.as_array().is_some_and(|all| all.iter().any(|helper| helper == name))
        };
        let peer = helper("sched_cls", "bpf_redirect_peer");
        assert_eq!(answer("bpf_redirect_peer"), has(peer));
        let devmap = probed["map_types"]["have_devmap_hash_map_type"] == true;
        assert_eq!(answer("devmap by hash"), has(devmap));
        let jit = probed["system_config"]["bpf_jit_enable"].as_i64();
        assert_eq!(answer("JIT"), has(jit != Some(0)));
    });
}

/// Who may not try is not told that the kernel has it not.
#[test]
fn no_is_not_could_not_tell() {
    lab_with("no_is_not_could_not_tell", &["setpriv"], |lab| {
        let drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534"];
        let xhop = "/run/xhop-for-all";
        fs::copy(lab::XHOP, xhop).expect("a copy");
        lab.ok_in(Where::Own, &["chmod", "755", xhop]);
        let run = [&drop[..], &["--clear-groups", xhop, "doctor", "--json"]].concat();
        let done = lab.run_in(Where::Own, &run);
        let told: Value =
            serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}\n{done}"));
        assert_eq!(done.status.code(), Some(1), "{done}");
        assert_eq!(causes(&told), ["kernel-unknown"]);
        for row in told["kernel"]["features"].as_array().expect("features") {
            assert_ne!(row["answer"], "no", "{row:#}");
        }
    });
}
/// What is pasted is one word, whatever a container's root calls his interface.
#[test]
fn an_interface_whose_name_is_a_command() {
    lab("an_interface_whose_name_is_a_command", |lab| {
        lab.pair();
        lab.ok_in("b", &["ip", "link", "set", "eth0", "down"]);
        lab.ok_in("b", &["ip", "link", "set", "eth0", "name", "$(reboot)"]);
        let (told, _) = asked(lab);
        let finding = &told["findings"][1];
        assert_eq!(finding["cause"], "link-down", "{told:#}");
        says(finding, "remedy", &["ip link set '$(reboot)' up`"]);
    });
}

/// A chain's programs are nobody else's.
#[test]
fn beside_a_chain() {
    lab("beside_a_chain", |lab| {
        let stage = Stage::new(lab, By::Routing);
        lab.xhop(&["up", "a", "b"]).ok();
        stage.chain(&[]);
        is_healthy(lab);
        let said = lab.xhop(&["doctor", "a", "b"]).ok();
        assert!(!said.contains("also on"), "{said}");
    });
}

/// Whether a process is stopped, or has ended (proc_pid_stat(5)).
fn is_still(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T") || rest.starts_with(" Z"))
}

/// Who ends the doctor ends its tracing too; and what one that was killed has left goes with `down`.
#[test]
fn tracing_that_is_not_left_on() {
    let name = "tracing_that_is_not_left_on";
    lab(name, |lab| {
        let at = "/sys/kernel/tracing";
        let mounted = lab.run_in(Where::Own, &["mount", "-t", "tracefs", "none", at]);
        if !mounted.status.success() {
            return not_tried(name, &mounted.stderr);
        }
        for (signal, leaves) in
            [(Signal::SIGTERM, false), (Signal::SIGINT, false), (Signal::SIGKILL, true)]
        {
            let mut caught = false;
            // It lives for some milliseconds.
            for _ in 0..50 {
                let mut doctor = lab.spawn_in(Where::Own, &[XHOP, "doctor"]);
                let instance = format!("{at}/instances/xhop-{}", doctor.pid());
                let instance = std::path::Path::new(&instance);
                while !instance.exists() && doctor.alive() {}
                if !doctor.alive() {
                    continue;
                }
                // Held where it is, it can be seen whether it still traces.
                doctor.signal(Signal::SIGSTOP);
                wait_until(Duration::from_secs(10), "it stands still", || is_still(doctor.pid()));
                caught = instance.exists();
                if caught {
                    doctor.signal(signal);
                }
                doctor.signal(Signal::SIGCONT);
                doctor.wait(Duration::from_secs(20));
                assert!(leaves || !instance.exists(), "{signal}");
                if caught && leaves {
                    lab.xhop(&["down", "--all"]).ok();
                    assert!(!instance.exists());
                }
                if caught {
                    break;
                }
            }
            if !caught {
                return not_tried(name, "the doctor was never seen to trace");
            }
        }
    });
}
