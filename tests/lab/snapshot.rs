//! All that `xhop down` must put back, as text to compare.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Lab, Where, raw};

/// What changes by itself.
const VOLATILE: &[&str] = &[
    "hello_timer",
    "tcn_timer",
    "topology_change_timer",
    "gc_timer",
    "hold_timer",
    "message_age_timer",
    "forward_delay_timer",
    "fdb_n_learned",
    "refcnt",
    "expires",
    "valid_life_time",
    "preferred_life_time",
];

impl Lab {
    /// Links with all details, features, addresses, routes, queues, filters and attached programs
    /// of each namespace of the laboratory, and the pins in its bpffs: one fact a line.
    pub fn snapshot(&self) -> String {
        let mut facts = Vec::new();
        for at in self.namespaces() {
            self.describe(&at, &mut facts);
        }
        files_below(Path::new("/sys/fs/bpf"), &mut facts);
        facts.sort();
        facts.join("\n")
    }

    fn namespaces(&self) -> Vec<Where> {
        let named = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let names = named.map(|entry| Where::Named(entry.file_name().to_string_lossy().into()));
        [Where::Own].into_iter().chain(names).collect()
    }

    fn describe(&self, at: &Where, facts: &mut Vec<String>) {
        let place = match at {
            Where::Own => "(own)",
            Where::Named(name) => name,
        };
        let links = self.json(at, &["ip", "-d", "-j", "link", "show"]);
        for link in links.as_array().into_iter().flatten() {
            let name = link["ifname"].as_str().unwrap_or("?");
            flatten(&format!("{place} {name}"), link, facts);
            for feature in self.ok_in(at, &["ethtool", "-k", name]).lines().skip(1) {
                facts.push(format!("{place} {name} feature {}", feature.trim()));
            }
            let filters = ["ingress", "egress"].map(|hook| {
                self.run_in(at, &["tc", "-j", "filter", "show", "dev", name, hook]).stdout
            });
            facts.push(format!("{place} {name} filters {}", filters.concat().replace('\n', "")));
            // What Debian's bpftool and ip do not know yet.
            let tcx = [raw::TCX_INGRESS, raw::TCX_EGRESS].map(|hook| self.tcx_on(at, name, hook));
            facts.push(format!("{place} {name} tcx {tcx:?} gso {}", self.gso_ipv4(at, name)));
        }
        let addresses = self.json(at, &["ip", "-j", "addr", "show"]);
        for link in addresses.as_array().into_iter().flatten() {
            let name = link["ifname"].as_str().unwrap_or("?");
            each(&format!("{place} {name} address"), &link["addr_info"], facts);
        }
        let lists: [(&str, &[&str]); 4] = [
            ("route", &["ip", "-j", "-4", "route", "show", "table", "all"]),
            ("route", &["ip", "-j", "-6", "route", "show", "table", "all"]),
            ("qdisc", &["tc", "-j", "qdisc", "show"]),
            ("attached", &["bpftool", "-j", "net", "list"]),
        ];
        for (what, argv) in lists {
            each(&format!("{place} {what}"), &self.json(at, argv), facts);
        }
    }
}

/// Panics with the facts that are only in one of two snapshots.
pub fn assert_same(before: &str, after: &str) {
    let [old, new] = [before, after].map(|text| text.lines().collect::<BTreeSet<_>>());
    let gone = old.difference(&new).map(|line| format!("- {line}"));
    let come = new.difference(&old).map(|line| format!("+ {line}"));
    let mut changed: Vec<String> = gone.chain(come).collect();
    changed.sort_by(|a, b| a[2..].cmp(&b[2..]));
    assert!(changed.is_empty(), "not as before:\n{}", changed.join("\n"));
}

/// A fact for each element of a list.
fn each(prefix: &str, list: &Value, facts: &mut Vec<String>) {
    for element in list.as_array().into_iter().flatten() {
        facts.push(format!("{prefix} {}", steady(element)));
    }
}

/// A fact for each leaf of a tree, with the way that leads there.
fn flatten(prefix: &str, value: &Value, facts: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields.iter().filter(|(key, _)| !is_volatile(key)) {
                flatten(&format!("{prefix} {key}"), inner, facts);
            }
        }
        leaf => facts.push(format!("{prefix} {}", steady(leaf))),
    }
}

/// The same value without what changes by itself.
fn steady(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| !is_volatile(key));
            kept.map(|(key, inner)| (key.clone(), steady(inner))).collect()
        }
        Value::Array(elements) => elements.iter().map(steady).collect(),
        leaf => leaf.clone(),
    }
}

fn is_volatile(key: &str) -> bool {
    VOLATILE.contains(&key)
}

fn files_below(dir: &Path, facts: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, facts);
        } else {
            facts.push(format!("pin {}", path.display()));
        }
    }
}
