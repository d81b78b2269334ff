//! The set of programs is closed: every BPF_PROG_LOAD of every command is of bytes that `xhop programs`
//! lists. strace(1) tells what the kernel was given; the compiler refuses what is not `Shipped`
//! (the doctests of `Prog::load`).

mod lab;

use std::fs;
use std::path::{Path, PathBuf};

use lab::{Lab, Where, XHOP, lab_with, not_tried};
use xhop::sys::kernel;

/// BPF_PROG_LOAD (`enum bpf_cmd`, include/uapi/linux/bpf.h), as strace shows it raw.
const PROG_LOAD: &str = "bpf(0x5, {";

/// A name and what the kernel is given under it.
type Listed = (String, Vec<u8>);

/// All that `xhop programs` lists, as `xhop show` gives it.
fn listed(lab: &Lab) -> Vec<Listed> {
    let programs = lab.json(Where::Own, &[XHOP, "programs", "--json"]);
    let programs = programs["programs"].as_array().expect("programs").clone();
    let bytes = |program: serde_json::Value| {
        let name = program["name"].as_str().expect("a name").to_owned();
        let hex = lab.xhop(&["show", &name, "--format", "hex"]).ok();
        let hex: String = hex.split_whitespace().collect();
        (name, hex::decode(hex).expect("hex"))
    };
    programs.into_iter().map(bytes).collect()
}

/// The instructions of each BPF_PROG_LOAD in a trace, whatever came of it, as little-endian bytes.
fn loads(trace: &str) -> Vec<Vec<u8>> {
    trace.lines().filter(|line| line.contains(PROG_LOAD)).map(instructions).collect()
}

fn instructions(line: &str) -> Vec<u8> {
    let between = |from: &str, to: &str| {
        let found = line.split_once(from).and_then(|(_, rest)| rest.split_once(to));
        found.unwrap_or_else(|| panic!("no {from} in {line}")).0
    };
    let insns = between("insns=[", "]");
    let bytes: Vec<u8> = insns.split("}, {").flat_map(instruction).collect();
    let count: usize = between("insn_cnt=", ",").parse().expect("a number");
    assert_eq!(bytes.len(), count * 8, "strace shows them all: {line}");
    bytes
}

/// `{code=0x1|0|0x60, dst_reg=0x9, src_reg=0x1, off=-12, imm=0}` as its 8 bytes.
fn instruction(text: &str) -> [u8; 8] {
    let fields = text.trim_matches(['{', '}']).split(", ");
    let values: Vec<i64> =
        fields.map(|field| number(field.split_once('=').expect(text).1)).collect();
    let [code, dst, src, off, imm] = values[..] else { panic!("{text}") };
    let (off, imm) = ((off as i16).to_le_bytes(), (imm as i32).to_le_bytes());
    [code as u8, (src << 4 | dst) as u8, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
}

/// A number in decimal or hex, or several that are or'ed.
fn number(text: &str) -> i64 {
    let term = |term: &str| match term.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => term.parse(),
    };
    text.split('|').fold(0, |all, one| all | term(one).unwrap_or_else(|e| panic!("{text}: {e}")))
}

/// What was loaded by xhop with all its children, which must succeed.
fn loaded_by(lab: &Lab, xhop: &[&str], args: &[&str]) -> Vec<Vec<u8>> {
    let trace = "/run/closed-set.trace";
    let mut command = vec!["strace", "-f", "-qq", "-v", "-X", "raw", "--seccomp-bpf"];
    command.extend(["-e", "trace=bpf", "-o", trace]);
    lab.ok_in(Where::Own, &[&command, xhop, args].concat());
    let loads = loads(&fs::read_to_string(trace).expect("a trace"));
    assert!(!loads.is_empty(), "{args:?} loads programs");
    loads
}

/// The name under which these bytes are listed.
fn name_of<'a>(load: &[u8], listed: &'a [Listed]) -> Option<&'a str> {
    listed.iter().find(|(_, bytes)| bytes == load).map(|(name, _)| name.as_str())
}

/// A NIC and two containers in xhop's own namespace.
fn chain_to_be(lab: &Lab) {
    let bridge = lab.bridge_at(Where::Own, "br1");
    bridge.container("x", "10.8.0.2/24", "fd08::2/64");
    bridge.container("y", "10.8.0.3/24", "fd08::3/64");
    let add = "ip link add nic0 up type veth peer name nic netns a";
    lab.ok_in(Where::Own, &add.split(' ').collect::<Vec<_>>());
}

#[test]
fn what_is_loaded_is_listed() {
    let test = "what_is_loaded_is_listed";
    if kernel::release().expect("uname") < (5, 14) {
        return not_tried(test, "kernels before 5.14 get descriptors patched in");
    }
    if cfg!(target_endian = "big") {
        return not_tried(test, "strace shows fields, and the list is little-endian");
    }
    lab_with(test, &["strace", "curl"], |lab| {
        lab.pair();
        // What thinks that it runs on an old kernel uses `pass`: see personality(2).
        let (new, old) = ([XHOP].as_slice(), ["setarch", "--uname-2.6", XHOP].as_slice());
        let mut loads = loaded_by(lab, new, &["bench", "--checksum", "--rounds", "1"]);
        for attach in ["link", "netlink"] {
            for (xhop, option, way) in [
                (new, "--checksum", "complete"),
                (new, "--checksum", "offload-off"),
                (new, "--checksum", "trust"),
                (old, "--checksum", "none"),
                (new, "--datapath", "auto"),
                (new, "--datapath", "tc"),
                (new, "--datapath", "generic"),
            ] {
                let args = ["up", "a", "b", "--attach", attach, option, way];
                let loaded = loaded_by(lab, xhop, &args);
                assert!(loaded.len() >= 2, "{args:?}: {} loads", loaded.len());
                loads.extend(loaded);
                if attach == "link" && xhop == new {
                    let _ping = lab.spawn_in("a", &["ping", "-n", "-i0.05", "10.9.0.3"]);
                    loads.extend(loaded_by(lab, new, &["capture", "a", "b", "--count", "1"]));
                }
                lab.xhop(&["down", "--all"]).ok();
            }
        }
        loads.extend(loaded_by(lab, new, &["doctor"]));
        chain_to_be(lab);
        // `bounce`, `next` and `chain-in`; the last one's end polls by `pass`, or by GRO.
        for (xhop, back) in [(new, &[][..]), (new, &["--back"]), (old, &[])] {
            loads.extend(loaded_by(lab, xhop, &[&["chain", "nic0", "x", "y"], back].concat()));
            lab.xhop(&["down", "--all"]).ok();
        }
        loads.extend(loaded_by(lab, new, &["demo"]));
        loads.extend(loaded_by(lab, new, &["bench", "--frames", "--rounds", "1"]));
        let listed = listed(lab);
        for load in &loads {
            assert!(
                name_of(load, &listed).is_some(),
                "loaded, but not listed: {}",
                hex::encode(load)
            );
        }
        // So is the trace known to be whole: all there are were seen, two and more for each `up`.
        let missing =
            |(name, _): &&Listed| !loads.iter().any(|load| name_of(load, &listed) == Some(name));
        assert_eq!(listed.iter().find(missing), None, "listed, but never loaded");
        assert!(loads.len() >= 3 + 14 * 2 + 4 * 2, "{} loads", loads.len());
        let of =
            |name: &str| loads.iter().filter(|load| name_of(load, &listed) == Some(name)).count();
        // Two a member with `trust`; `auto` is tc, and so is the demo's last step.
        assert!(of("peer") >= 2 * 2 * 2 + 2 && of("trust") >= 4 && of("forward+frags") >= 4);
        // And any other bytes would have been found.
        for load in &mut loads {
            let at = load.len() / 2;
            load[at] ^= 1;
            assert_eq!(name_of(load, &listed), None);
        }
    });
}

#[test]
fn strace_is_read_right() {
    let line = "7 bpf(0x5, {prog_type=0x6, insn_cnt=3, insns=[{code=0x4|0x8|0xd0, dst_reg=0x2, \
                src_reg=0, off=-3, imm=0x10}, {code=0|0x18|0, dst_reg=0x1, src_reg=0x5, off=0, \
                imm=0xfffffffe}, {code=0|0|0, dst_reg=0, src_reg=0, off=0, imm=0}], license=\"MIT\"";
    let expected = "dc02fdff10000000".to_owned() + "18510000feffffff" + "0000000000000000";
    assert_eq!(loads(&format!("7 bpf(0x1, {{}}, 4) = 0\n{line}\n")).len(), 1);
    assert_eq!(hex::encode(instructions(line)), expected);
    let less = line.replace("insn_cnt=3", "insn_cnt=4");
    assert!(std::panic::catch_unwind(|| instructions(&less)).is_err(), "one is not shown");
}

/// Every source file of the tool, with its path from `src`.
fn sources(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else {
            out.push((path.clone(), fs::read_to_string(&path).expect("text")));
        }
    }
}

/// Where `word` stands in code: files, each as often as it does. Tests at a file's end do not count.
fn places(word: &str) -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 30, "{}", files.len());
    let mut places = Vec::new();
    for (path, text) in &files {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let name = path.strip_prefix(&src).expect("below src").to_string_lossy();
        places.extend(code.flat_map(|line| line.matches(word)).map(|_| name.to_string()));
    }
    places.sort();
    places
}

#[test]
fn one_place_asks_the_kernel_to_load() {
    // The number of the command, and the one function that uses it: once, again after EAGAIN, and
    // for the words of an error.
    let load = "sys/bpf/load.rs";
    assert_eq!(places("PROG_LOAD"), [load, load, load, "sys/bpf/mod.rs", "sys/bpf/mod.rs"]);
    assert_eq!(places("bpf_fd_charged(Cmd::PROG_LOAD"), [load, load]);
    // One system call; and no other way for a filter into the kernel.
    assert_eq!(places("SYS_bpf"), ["sys/bpf/mod.rs"]);
    for other in ["SO_ATTACH", "PR_SET_SECCOMP", "SYS_seccomp", "PERF_EVENT_IOC_SET_BPF"] {
        assert_eq!(places(other), [""; 0], "{other}");
    }
}
