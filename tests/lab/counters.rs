//! Counters of the kernel, as independent evidence of what has passed where.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::{Bridge, Container, Lab, Where};

/// The protocol counters of a namespace by the names that nstat(8) uses: "TcpInCsumErrors",
/// "UdpInCsumErrors", "Udp6InCsumErrors", "TcpExtTCPTimeouts". One that does not exist is 0.
#[derive(Clone, Debug)]
pub struct Counters(BTreeMap<String, i64>);

impl Counters {
    /// The value of one.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// What an interface has received and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

impl Lab {
    /// The protocol counters of the namespace `at`.
    pub fn counters(&self, at: impl Into<Where>) -> Counters {
        let read =
            |file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        let [snmp, netstat, snmp6] =
            self.in_netns(at, || [read("snmp"), read("netstat"), read("snmp6")]);
        let single = snmp6.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        });
        Counters(headed(&snmp).into_iter().chain(headed(&netstat)).chain(single).collect())
    }

    /// The counters of one interface.
    pub fn link_stats(&self, at: impl Into<Where>, link: &str) -> LinkStats {
        let shown = self.json(at, &["ip", "-s", "-j", "link", "show", "dev", link]);
        let stats = &shown[0]["stats64"];
        let number = |way: &str, what: &str| {
            stats[way][what].as_u64().unwrap_or_else(|| panic!("{way} {what} in {shown}"))
        };
        LinkStats {
            rx_packets: number("rx", "packets"),
            rx_bytes: number("rx", "bytes"),
            tx_packets: number("tx", "packets"),
            tx_bytes: number("tx", "bytes"),
        }
    }

    /// The output of a command that writes JSON.
    pub fn json(&self, at: impl Into<Where>, argv: &[&str]) -> Value {
        let text = self.ok_in(at, argv);
        serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{argv:?} wrote no JSON: {e}\n{text}"))
    }
}

/// What counts as forwarded: unicast IP. Not the ND that keeps a neighbour known, nor ARP.
const FORWARDED: &[&str] = &[
    "-d Unicast -p IPv4 -j CONTINUE",
    "-d Unicast -p IPv6 --ip6-proto ipv6-icmp --ip6-icmp-type 133:137 -j RETURN",
    "-d Unicast -p IPv6 -j CONTINUE",
];

impl Bridge<'_> {
    /// How many unicast IP frames the bridge has forwarded from port to port since the first
    /// call, which returns 0. (A bridge's own counters show only what it hands to its host.)
    ///
    /// Needs `ebtables`.
    pub fn forwarded(&self) -> u64 {
        let listed = self.lab.ok_in(&self.at, &["ebtables", "-L", "FORWARD", "--Lc"]);
        let mut rules = listed.lines().filter(|line| line.contains("-j CONTINUE")).peekable();
        if rules.peek().is_none() {
            for rule in FORWARDED {
                let argv = ["ebtables", "-A", "FORWARD"].into_iter().chain(rule.split(' '));
                self.lab.ok_in(&self.at, &argv.collect::<Vec<_>>());
            }
        }
        // "-p IPv4 -d Unicast -j CONTINUE , pcnt = 3 -- bcnt = 252"
        let count = |rule: &str| {
            let (_, rest) = rule.split_once("pcnt = ")?;
            rest.split_whitespace().next()?.parse::<u64>().ok()
        };
        rules.map(|rule| count(rule).unwrap_or_else(|| panic!("no count in {rule}"))).sum()
    }

    /// A ping each way between two containers must be answered, over IPv4 and IPv6, and the bridge must
    /// see none of it.
    pub fn is_bypassed(&self, a: &Container, b: &Container) {
        self.forwarded();
        let before = self.forwarded();
        for (from, to) in [(a, b), (b, a)] {
            self.lab.pings(&from.name, &to.v4);
            self.lab.pings(&from.name, &to.v6);
        }
        assert_eq!(self.forwarded(), before, "{} and {} talk by the bridge", a.name, b.name);
    }
}

/// `/proc/net/snmp` and `netstat`: a line of names, then one of values, both headed "Tcp:".
fn headed(text: &str) -> Vec<(String, i64)> {
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.chunks_exact(2).flat_map(|pair| {
        let (names, values) = (pair[0].split_whitespace(), pair[1].split_whitespace());
        names.zip(values)
    });
    let mut prefix = "";
    let mut counters = Vec::new();
    for (name, value) in pairs {
        match (name.strip_suffix(':'), value.parse()) {
            (Some(protocol), _) => prefix = protocol,
            (None, Ok(value)) => counters.push((format!("{prefix}{name}"), value)),
            (None, Err(_)) => {}
        }
    }
    counters
}
