//! Where xhop reads and writes: its run folder, its folder in bpffs, and a short list. strace(1) shows every path
//! that a command gives to the kernel.

mod lab;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use lab::chain::{By, Stage};
use lab::{Lab, Where, XHOP, assert_same, lab, lab_with, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
const TRACE: &str = "/run/folders.trace";

/// Its own.
const OWN: [&str; 2] = ["/run/xhop", "/sys/fs/bpf/xhop"];

/// What is read besides: who runs where, whose names they have, and what the kernel says of itself.
const READ: [&str; 12] = [
    "/proc",
    "/run/netns",
    "/run/docker/netns",
    "/var/run/docker.sock",
    "/var/lib/containers/storage",
    "/var/lib/machines",
    "/var/lib/lxc",
    "/sys/fs/bpf",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/null",
    XHOP,
];

/// Of tracefs, at no path: an instance of `doctor`'s own.
const TRACEFS: [&str; 2] = ["fsopen tracefs", "/proc/self/fd/N/instances/xhop-N"];

/// In namespaces of its own: what `demo` and `bench` build there.
const STAGE: [&str; 9] = [
    "mount /",
    "mount tmpfs /run tmpfs mode=0755",
    "mount bpf /sys/fs/bpf bpf",
    "mount /proc/thread-self/ns/net /run/netns",
    "/run/netns",
    // Of those namespaces.
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "/proc/sys/net/ipv6/conf/all/disable_ipv6",
    // For its children's output.
    "/dev/null",
    // Its children look what a doctor that was killed has left.
    "fsopen tracefs",
];

/// What a line of strace's says.
struct Call<'a> {
    name: &'a str,
    paths: Vec<&'a str>,
    writes: bool,
}

/// `None` where no path is given.
fn call(line: &str) -> Option<Call<'_>> {
    let (name, rest) = line.split_once('(')?;
    let name = name.rsplit(' ').next().expect("a word");
    let quoted = |text: &'static str| rest.split(text).skip(1).step_by(2).collect::<Vec<_>>();
    let after = |before| rest.split_once(before)?.1.split('"').next();
    let mut paths = match name {
        "bpf" => after("pathname=\"").into_iter().collect(),
        "connect" => after("sun_path=\"").into_iter().collect(),
        "readlink" | "execve" => rest.split('"').nth(1).into_iter().collect(),
        _ => quoted("\""),
    };
    // Of a descriptor.
    paths.retain(|path| !path.is_empty());
    if paths.is_empty() {
        return None;
    }
    let opens = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"];
    let reads = ["stat", "access", "readlink", "execve", "connect", "getxattr"];
    let writes = match name {
        "open" | "openat" | "openat2" => opens.iter().any(|flag| rest.contains(flag)),
        "bpf" => rest.starts_with("BPF_OBJ_PIN"),
        _ => !reads.iter().any(|read| name.contains(read)),
    };
    if name == "linkat" {
        // A file without a name gets one.
        let unnamed = paths.remove(0);
        assert!(
            numbers(unnamed) == "/proc/self/fd/N" && rest.contains("AT_SYMLINK_FOLLOW"),
            "{line}"
        );
    }
    Some(Call { name, paths, writes })
}

/// Each number as N.
fn numbers(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if plain.ends_with('N') => {}
            true => plain.push('N'),
            false => plain.push(c),
        }
    }
    plain
}

fn below(path: &str, roots: &[&str]) -> bool {
    roots.iter().any(|root| Path::new(path).starts_with(root))
}

/// Runs a command of xhop's under strace(1), and gives the trace of all paths.
fn trace(lab: &Lab, args: &[&str]) -> String {
    let calls = "trace=%file,bpf,connect,fsopen";
    let strace =
        ["strace", "-f", "-qq", "-s", "400", "-e", "signal=none", "-o", TRACE, "-e", calls, XHOP];
    lab.run_in(Where::Own, &[&strace, args].concat()).ok();
    fs::read_to_string(TRACE).expect("a trace")
}

/// A command reads what is listed, and writes its own, and one of `besides` or what is below.
fn keeps_to_its_folders(lab: &Lab, args: &[&str], besides: &[&str]) {
    let trace = trace(lab, args);
    let mut written = BTreeSet::new();
    for (line, call) in trace.lines().filter_map(|line| Some((line, call(line)?))) {
        let straight =
            |path: &&str| path.starts_with('/') && !path.split('/').any(|part| part == "..");
        // `mount` has names of file systems too.
        let names = ["mount", "fsopen"].contains(&call.name);
        assert!(names || call.paths.iter().all(straight), "{args:?}: {line}");
        if !call.writes {
            let known = call.paths.iter().all(|path| below(path, &OWN) || below(path, &READ));
            assert!(known, "{args:?} reads: {line}");
            continue;
        }
        if call.paths.iter().all(|path| below(path, &OWN)) {
            continue;
        }
        let what = match call.name {
            "mount" | "umount2" | "fsopen" => format!("{} {}", call.name, call.paths.join(" ")),
            _ => call.paths.join(" "),
        };
        let what = if what.starts_with("/proc/self/fd/") { numbers(&what) } else { what };
        assert!(
            besides.iter().any(|known| what == *known || what.starts_with(&format!("{known}/"))),
            "{args:?} writes: {line}"
        );
        written.insert(what);
    }
    println!("{args:?}: besides its own {written:?}");
}

#[test]
fn nothing_is_touched_elsewhere() {
    lab_with("nothing_is_touched_elsewhere", &["strace"], |lab| {
        drop(Stage::new(lab, By::Bridging));
        let before = lab.everything();
        let keeps = |args: &[&str], besides: &[&str]| keeps_to_its_folders(lab, args, besides);
        for up in [
            &["up", "a", "b", "--datapath", "tc", "--jumbo"][..],
            &["up", "a", "netns:b", "--datapath", "native", "--attach", "netlink"],
            &["up", "--bridge", "br0", "--datapath", "generic"],
            &["chain", "nic0", "a", "b", "--back"],
        ] {
            keeps(up, &[]);
            if up[0] == "up" {
                keeps(up, &[]);
            }
            keeps(&["status"], &[]);
            keeps(&["audit"], &[]);
            keeps(&["down", "--all"], &TRACEFS[..1]);
        }
        lab.xhop(&["up", "a", "b"]).ok();
        keeps(&["doctor", "a", "b"], &TRACEFS);
        lab.xhop(&["down", "--all"]).ok();
        keeps(&["doctor"], &TRACEFS);
        keeps(&["bench", "a", "b", "--rounds", "1", "--seconds", "0.05"], &[]);
        assert_same(&before, &lab.everything());
        for args in [
            &["demo", "--seconds", "1"][..],
            &["bench", "--frames", "--rounds", "1"],
            &["bench", "--checksum", "--rounds", "1"],
            &["bench", "--scale", "--rounds", "1", "--containers", "2"],
        ] {
            keeps(args, &STAGE);
        }
        // Where there is no bpffs, it is mounted, and unmounted.
        lab.ok_in(Where::Own, &["umount", "/sys/fs/bpf"]);
        keeps(&["up", "a", "b"], &["mount bpf /sys/fs/bpf bpf mode=0700"]);
        keeps(&["down", "--all"], &["umount2 /sys/fs/bpf", TRACEFS[0]]);
    });
}

/// Whatever its user's umask is.
#[test]
fn what_it_makes_is_roots_alone() {
    lab("what_it_makes_is_roots_alone", |lab| {
        drop(Stage::new(lab, By::Bridging));
        for umask in ["0", "022", "0777"] {
            let run = |args: &str| {
                let script = format!("umask {umask}; exec {XHOP} {args}");
                lab.ok_in(Where::Own, &["sh", "-c", &script]);
            };
            for command in [
                "up a b --datapath tc",
                "up a b --datapath native --checksum trust --attach netlink",
                "chain nic0 a b",
            ] {
                run(command);
                let found: usize = OWN.iter().map(|folder| is_roots_alone(folder.as_ref())).sum();
                assert!(found > 8, "{command}: {found}");
                lab.xhop(&["down", "--all"]).ok();
            }
            let script = format!("umask {umask}; exec {XHOP} watch");
            let watch = lab.spawn_in(Where::Own, &["sh", "-c", &script]);
            wait_until(PATIENCE, "it is at work", || lab.members().len() >= 3);
            assert!(Path::new("/run/xhop/watch").exists());
            OWN.iter().for_each(|folder| assert!(is_roots_alone(folder.as_ref()) > 1));
            drop(watch);
            lab.xhop(&["down", "--all"]).ok();
        }
    });
}

/// How much there is below a folder.
fn is_roots_alone(path: &Path) -> usize {
    let meta = path.symlink_metadata().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mode = if meta.is_dir() { 0o700 } else { 0o600 };
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, mode), "{}", path.display());
    let entries = if meta.is_dir() { fs::read_dir(path).ok() } else { None };
    1 + entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| is_roots_alone(&entry.path()))
        .sum::<usize>()
}

/// What can't be a name gets neither into a path nor onto a terminal as it is.
#[test]
fn names_from_outside_are_no_paths() {
    lab_with("names_from_outside_are_no_paths", &["strace"], |lab| {
        drop(Stage::new(lab, By::Bridging));
        lab.xhop(&["up", "a", "b"]).ok();
        let before = lab.everything();
        let long = "x".repeat(4000);
        for bad in [
            "/evil",
            "../evil",
            "../../evil/x",
            "evil/..",
            "..",
            ".",
            "evil\n",
            "\x1b[31mevil",
            "evil\u{202e}",
            "evil%00",
            "evil\u{7f}",
            &long,
        ] {
            let kinds = ["", "netns:", "docker:", "podman:", "nspawn:", "lxc:", "veth:", "pid:"];
            let mut commands: Vec<Vec<String>> = Vec::new();
            for kind in kinds {
                let name = format!("{kind}{bad}");
                for words in [
                    &["up", "a"][..],
                    &["down"],
                    &["doctor", "a"],
                    &["bench", "a"],
                    &["chain", "nic0", "a"],
                ] {
                    commands.push(
                        words.iter().map(|word| (*word).into()).chain([name.clone()]).collect(),
                    );
                }
            }
            for words in [&["up", "--bridge"][..], &["down", "--chain"]] {
                commands
                    .push(words.iter().map(|word| (*word).into()).chain([bad.into()]).collect());
            }
            commands.push(["chain", bad, "a", "b"].map(str::to_owned).into());
            for command in commands {
                let args: Vec<&str> = command.iter().map(String::as_str).collect();
                is_no_path(lab, bad, &args);
            }
        }
        assert_same(&before, &lab.everything());
    });
}

fn is_no_path(lab: &Lab, bad: &str, args: &[&str]) {
    let strace =
        ["strace", "-f", "-qq", "-s", "9999", "-o", TRACE, "-e", "trace=%file,bpf,connect", XHOP];
    let done = lab.run_in(Where::Own, &[&strace, args].concat());
    assert!(matches!(done.status.code(), Some(1 | 2)), "{done}");
    // What is wrong usage is told by clap, which shows what its user has typed.
    if done.status.code() == Some(1) {
        let raw = ['\x1b', '\u{7f}', '\u{202e}'];
        assert!(!done.stderr.contains(raw), "{}", done.stderr.escape_debug());
    }
    let trace = fs::read_to_string(TRACE).expect("a trace");
    for call in trace.lines().filter_map(call).filter(|call| call.name != "execve") {
        for path in call.paths {
            let inside = path.contains("evil")
                || path.contains(&"x".repeat(256))
                || path.split('/').any(|part| part == bad);
            assert!(!inside, "{args:?}: {} {path}", call.name);
        }
    }
}
