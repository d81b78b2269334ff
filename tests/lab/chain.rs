//! A stage for service chains: a NIC, containers behind it, and somebody outside.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::{Bridge, Container, Lab, Where, counter, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);
/// What TCP moves, each way.
pub const BYTES: u64 = 4 << 20;
/// The far end of the NIC.
pub const OUTSIDE: &str = "outside";

/// How the NIC and the containers' bridge hang together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// The host routes.
    Routing,
    /// The NIC is a port of the bridge.
    Bridging,
}

/// A host with a NIC, `nic0`, three containers and somebody outside.
#[derive(Debug)]
pub struct Stage<'l> {
    lab: &'l Lab,
    /// `br0`, in xhop's own namespace.
    pub bridge: Bridge<'l>,
    /// The last container.
    pub c: Container,
}

impl<'l> Stage<'l> {
    /// Made, and everybody reaches everybody.
    pub fn new(lab: &'l Lab, by: By) -> Self {
        let bridge = lab.bridge_at(Where::Own, "br0");
        lab.netns(OUTSIDE);
        let ip = |at: Where, line: &str| {
            lab.ok_in(at, &[&["ip"], line.split(' ').collect::<Vec<_>>().as_slice()].concat());
        };
        let outside = || Where::from(OUTSIDE);
        ip(Where::Own, "link add nic0 type veth peer name eth0 netns outside");
        match by {
            By::Routing => {
                bridge.address("10.9.0.1/24");
                bridge.address("fd09::1/64");
                ip(Where::Own, "addr add 192.0.2.1/24 dev nic0");
                ip(Where::Own, "addr add fd02::1/64 dev nic0 nodad");
                ip(outside(), "addr add 192.0.2.2/24 dev eth0");
                ip(outside(), "addr add fd02::2/64 dev eth0 nodad");
            }
            By::Bridging => {
                ip(Where::Own, "link set nic0 master br0");
                ip(outside(), "addr add 10.9.0.100/24 dev eth0");
                ip(outside(), "addr add fd09::100/64 dev eth0 nodad");
            }
        }
        ip(Where::Own, "link set nic0 up");
        ip(outside(), "link set eth0 up");
        if by == By::Routing {
            ip(outside(), "route add default via 192.0.2.1");
            ip(outside(), "-6 route add default via fd02::1");
            lab.in_netns(Where::Own, || {
                for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                    fs::write(format!("/proc/sys/net/{path}"), "1").expect("the host routes");
                }
            });
        }
        let [_, _, c] = [("a", 2), ("b", 3), ("c", 4)].map(|(name, n)| {
            bridge.container(name, &format!("10.9.0.{n}/24"), &format!("fd09::{n}/64"))
        });
        let stage = Self { lab, bridge, c };
        for address in ["10.9.0.2", "10.9.0.3", "10.9.0.4", "fd09::2", "fd09::4"] {
            stage.reaches(address);
        }
        stage
    }

    /// Waits until an address answers who is outside.
    pub fn reaches(&self, address: &str) {
        let ping = ["ping", "-n", "-c1", "-W1", address];
        wait_until(PATIENCE, &format!("{address} answers"), || {
            self.lab.run_in(OUTSIDE, &ping).status.success()
        });
    }

    /// `chain nic0 a b c`, with more.
    pub fn chain(&self, more: &[&str]) -> String {
        self.lab.xhop(&[&["chain", "nic0", "a", "b", "c"], more].concat()).ok()
    }

    /// The one chain, by `status --json`.
    pub fn status(&self) -> Value {
        let text = self.lab.xhop(&["status", "--json"]).ok();
        let status: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let chains = status["chains"].as_array().expect("chains").clone();
        assert_eq!(chains.len(), 1, "{status}");
        chains[0].clone()
    }

    /// Its state.
    pub fn state(&self) -> String {
        self.status()["state"].as_str().expect("a state").to_owned()
    }

    /// How many packets were sent on, on the NIC and by each member but the last.
    pub fn forwarded(&self) -> Vec<u64> {
        let status = self.status();
        let programs = status["programs"].as_array().expect("programs");
        programs.iter().map(|program| counter(program, "forwarded", "packets")).collect()
    }

    /// What `body` does must go through all members: at least so many packets.
    pub fn goes_through(&self, least: u64, body: impl FnOnce()) {
        let before = self.forwarded();
        body();
        let after = self.forwarded();
        let gone: Vec<u64> =
            after.iter().zip(&before).map(|(after, before)| after - before).collect();
        assert!(gone[0] >= least && gone.iter().all(|n| *n == gone[0]), "{gone:?}, not {least}");
    }

    /// What `body` does must not get into the chain.
    pub fn goes_round(&self, body: impl FnOnce()) {
        let before = self.forwarded();
        body();
        assert_eq!(self.forwarded(), before);
    }

    /// TCP from outside to the last one, there and back; what comes is what was sent, and all sums are right.
    pub fn tcp(&self, address: &str) {
        let errors =
            || ["a", "b", "c", OUTSIDE].map(|at| self.lab.counters(at).get("TcpInCsumErrors"));
        let before = errors();
        let done = self.lab.bulk(OUTSIDE, "c", address, BYTES);
        done.unwrap_or_else(|e| panic!("TCP to {address}: {e}"));
        assert_eq!(errors(), before, "all sums are right");
    }

    /// The same of UDP.
    pub fn udp(&self, address: &str, port: u16) {
        let to = SocketAddr::new(address.parse::<IpAddr>().expect("an address"), port);
        for len in [1, 2, 3, 511, 1400] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let answer = self.lab.udp_ask(OUTSIDE, to, &payload);
            assert_eq!(answer.unwrap_or_else(|e| panic!("{len} bytes to {to}: {e}")), payload);
        }
    }

    /// `down --chain nic0`
    pub fn takes_down(&self) {
        self.lab.xhop(&["down", "--chain", "nic0"]).ok();
    }
}

/// The Ethernet address of the `eth0` there.
pub fn mac(lab: &Lab, at: &str) -> [u8; 6] {
    let link = lab.json(at, &["ip", "-j", "link", "show", "dev", "eth0"]);
    let text = link[0]["address"].as_str().expect("an Ethernet address").replace(':', "");
    hex::decode(text).expect("hex").try_into().expect("six bytes")
}
