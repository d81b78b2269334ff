//! xhop as its users see it: what it prints, and what it leaves behind.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;
use xhop::container::Namespaces;
use xhop::sys::kernel;

use super::{Container, Lab, Output, Where, raw};

impl Lab {
    /// The arguments that join these, by the laboratory's datapath if it has one.
    pub fn up_args<'a>(&self, args: &[&'a str]) -> Vec<&'a str> {
        let by = self.by.map(|by| ["--datapath", by]);
        ["up"].iter().chain(args).chain(by.iter().flatten()).copied().collect()
    }

    /// Joins these, by the laboratory's datapath if it has one.
    pub fn up(&self, args: &[&str]) -> Output {
        self.xhop(&self.up_args(args))
    }

    /// The same, which must do, and gives what it says.
    pub fn joins(&self, args: &[&str]) -> String {
        self.up(args).ok()
    }

    /// The laboratory's datapath.
    pub fn by(&self) -> &'static str {
        self.by.expect("a laboratory with a datapath")
    }

    /// Whether this laboratory joins by `datapath`.
    pub fn is_by(&self, datapath: &str) -> bool {
        self.by == Some(datapath)
    }

    /// The members that `xhop status --json` lists.
    pub fn members(&self) -> Vec<Value> {
        let text = self.xhop(&["status", "--json"]).ok();
        let status: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(status["version"], 1, "{status}");
        status["members"].as_array().unwrap_or_else(|| panic!("no members in {status}")).clone()
    }

    /// The member of this name, with its kind: "netns:a".
    pub fn member(&self, name: &str) -> Value {
        let members = self.members();
        let found = members.iter().find(|member| member["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {members:?}")).clone()
    }

    /// Whose the network namespace of this process is, by the library.
    pub fn owner(&self, pid: u32) -> Option<String> {
        let inode = fs::metadata(format!("/proc/{pid}/ns/net")).expect("a process").ino();
        let namespaces = Namespaces::find().expect("namespaces");
        namespaces.owner(inode).expect("all are read").map(|name| name.to_string())
    }

    /// How many packets of this member had this verdict.
    pub fn counted(&self, name: &str, verdict: &str) -> u64 {
        counter(&self.member(name), verdict, "packets")
    }

    /// Runs xhop, which must refuse: nothing on stdout, on stderr one line that contains each of
    /// `words`, exit code 1, and nothing changed. Returns that line.
    pub fn refuses(&self, args: &[&str], words: &[&str]) -> String {
        let before = self.everything();
        let done = self.xhop(args);
        assert_one_line(&done, words);
        super::assert_same(&before, &self.everything());
        done.stderr
    }

    /// The snapshot, and xhop's own files with what is in them.
    pub fn everything(&self) -> String {
        let mut facts = vec![self.snapshot()];
        for root in ["/run/xhop", "/sys/fs/bpf"] {
            describe_tree(Path::new(root), &mut facts);
        }
        facts.join("\n")
    }

    /// Only xhop's own files and pins, one a line, the files with what is in them.
    pub fn own_files(&self) -> String {
        let mut facts = Vec::new();
        for root in ["/run/xhop", "/sys/fs/bpf/xhop"] {
            describe_tree(Path::new(root), &mut facts);
        }
        facts.sort();
        facts.join("\n")
    }

    /// The state of the member of this name, as `status` shows it: "up".
    pub fn state(&self, name: &str) -> String {
        self.member(name)["state"].as_str().expect("a state").to_owned()
    }

    /// The first eight bytes of the hash by which the kernel tags a program with these instructions.
    pub fn kernel_hash(&self, insns: &[u8]) -> String {
        fs::write("/run/program", insns).expect("a file in /run");
        let new = kernel::release().expect("uname") >= (6, 18);
        let command = if new { "sha256sum" } else { "sha1sum" };
        self.ok_in(Where::Own, &[command, "/run/program"])[..16].to_owned()
    }

    /// A ping from one container to an address must be answered.
    pub fn pings(&self, from: &str, address: &str) {
        self.ok_in(from, &["ping", "-n", "-c2", "-i0.1", "-W2", address]);
    }

    /// GETs the page that the container `to` serves on port 80, for at most three seconds.
    pub fn get(&self, from: &str, address: &str) -> Output {
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        self.run_in(from, &["curl", "-sS", "-g", "-m3", &format!("http://{host}/")])
    }

    /// A ping and a GET from one container to another, over IPv4 and IPv6, must be answered.
    /// `to` serves on port 80.
    pub fn reaches(&self, from: &Container, to: &Container) {
        for address in [&to.v4, &to.v6] {
            self.pings(&from.name, address);
            self.get(&from.name, address).ok();
        }
    }

    /// The ids of the programs that the host's end runs, of XDP and of traffic control's ingress.
    pub fn programs_on(&self, at: impl Into<Where>, ifname: &str) -> Vec<u64> {
        let at = at.into();
        let xdp = self.xdp_on(&at, ifname).map(|(id, _)| id);
        let tcx = self.tcx_on(&at, ifname, raw::TCX_INGRESS).into_iter().map(u64::from);
        let filters = self.json(&at, &["tc", "-j", "filter", "show", "dev", ifname, "ingress"]);
        let filters = filters.as_array().cloned().unwrap_or_default();
        let filters = filters.iter().filter_map(|filter| filter["options"]["prog"]["id"].as_u64());
        xdp.into_iter().chain(tcx).chain(filters).collect()
    }

    /// Whether a feature of `eth0` is on, in the words of ethtool.
    pub fn feature(&self, at: impl Into<Where>, feature: &str) -> bool {
        let shown = self.ok_in(at, &["ethtool", "-k", "eth0"]);
        let value = shown.lines().find_map(|line| line.trim().strip_prefix(feature));
        match value.and_then(|value| value.split_whitespace().nth(1)) {
            Some("on") => true,
            Some("off") => false,
            _ => panic!("no {feature} in {shown}"),
        }
    }
}

/// A number of a member's counters: of `packets` or `bytes`.
pub fn counter(member: &Value, verdict: &str, what: &str) -> u64 {
    let counters = member["counters"].as_array();
    let found = counters.into_iter().flatten().find(|counter| counter["verdict"] == verdict);
    found.and_then(|counter| counter[what].as_u64()).unwrap_or_else(|| panic!("{member}"))
}

/// The form of an error: exit code 1, one line on stderr that contains each of `words`.
pub fn assert_one_line(done: &Output, words: &[&str]) {
    assert_eq!(done.status.code(), Some(1), "{done}");
    assert_eq!(done.stdout, "", "{done}");
    assert!(done.stderr.starts_with("xhop: ") && done.stderr.ends_with('\n'), "{done}");
    assert_eq!(done.stderr.lines().count(), 1, "{done}");
    for word in words {
        assert!(done.stderr.contains(word), "`{word}` is not in {done}");
    }
}

/// Folders, files and what is in them; of pins only that they are there. Not the lock, which
/// whoever has waited for it leaves there.
fn describe_tree(path: &Path, facts: &mut Vec<String>) {
    if path == Path::new("/run/xhop/lock") {
        return;
    }
    if path.is_dir() {
        if path != Path::new("/run/xhop") {
            facts.push(format!("folder {}", path.display()));
        }
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.for_each(|entry| describe_tree(&entry.path(), facts));
    } else if path.starts_with("/run") && path.exists() {
        let text = fs::read(path).map(|text| text.escape_ascii().to_string());
        facts.push(format!("file {} {text:?}", path.display()));
    } else if path.exists() {
        facts.push(format!("pin {}", path.display()));
    }
}
