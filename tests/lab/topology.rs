//! Bridges and containers, made with iproute2.

use std::fs;
use std::time::Duration;

use super::{HOST, Lab, Where, wait_until};

/// For what normally takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Settings for all IPv6 interfaces of a namespace, made before any exists: usable addresses at
/// once, and silence soon, so that counters are still when a test is.
const QUIET: &[(&str, &str)] = &[
    ("accept_dad", "0"),
    ("router_solicitations", "0"),
    ("mldv2_unsolicited_report_interval", "1"),
];

/// A bridge in some namespace.
#[derive(Debug)]
pub struct Bridge<'l> {
    pub(super) lab: &'l Lab,
    /// The namespace that holds the bridge and its ports.
    pub at: Where,
    /// The bridge's name.
    pub name: String,
}

/// A named namespace with an `eth0`, whose other end is a port of a bridge.
#[derive(Clone, Debug)]
pub struct Container {
    /// The namespace's name.
    pub name: String,
    /// The host side of its veth: `veth-NAME`.
    pub veth: String,
    /// IPv4 address without prefix length.
    pub v4: String,
    /// IPv6 address without prefix length.
    pub v6: String,
}

/// Two containers on a bridge: what most tests start from.
#[derive(Debug)]
pub struct Pair<'l> {
    /// The bridge, `br0`.
    pub bridge: Bridge<'l>,
    /// `netns:a`, 10.9.0.2 and fd09::2.
    pub a: Container,
    /// `netns:b`, 10.9.0.3 and fd09::3.
    pub b: Container,
}

impl Lab {
    /// Makes two containers on a bridge in the namespace [`HOST`].
    pub fn pair(&self) -> Pair<'_> {
        self.pair_at(HOST)
    }

    /// Makes two containers on a bridge in `at`.
    pub fn pair_at(&self, at: impl Into<Where>) -> Pair<'_> {
        let bridge = self.bridge_at(at, "br0");
        let a = bridge.container("a", "10.9.0.2/24", "fd09::2/64");
        let b = bridge.container("b", "10.9.0.3/24", "fd09::3/64");
        Pair { bridge, a, b }
    }

    /// Makes the namespace `name` with its loopback up.
    pub fn netns(&self, name: &str) {
        self.ok_in(Where::Own, &["ip", "netns", "add", name]);
        self.quiet(name);
    }

    /// Makes a bridge in the namespace [`HOST`], which is not the one that xhop runs in.
    pub fn bridge(&self, name: &str) -> Bridge<'_> {
        self.bridge_at(HOST, name)
    }

    /// Makes a bridge in `at`, and that namespace if need be. `Where::Own` is as on a real host.
    pub fn bridge_at(&self, at: impl Into<Where>, name: &str) -> Bridge<'_> {
        let at = at.into();
        match &at {
            Where::Named(host) if !self.has_netns(host) => self.netns(host),
            Where::Named(_) => {}
            Where::Own => self.quiet(&at),
        }
        self.ok_in(&at, &["ip", "link", "add", name, "type", "bridge"]);
        self.ok_in(&at, &["ip", "link", "set", name, "up"]);
        Bridge { lab: self, at, name: name.to_owned() }
    }

    /// A bridge in `at` that somebody else has made.
    pub fn found_bridge(&self, at: impl Into<Where>, name: &str) -> Bridge<'_> {
        Bridge { lab: self, at: at.into(), name: name.to_owned() }
    }

    /// Removes a container: its namespace, and with it both ends of its veth.
    pub fn remove(&self, container: Container) {
        self.ok_in(Where::Own, &["ip", "netns", "del", &container.name]);
    }

    /// Removes a container and waits until its veth is gone from [`HOST`]; the kernel is late.
    pub fn end(&self, container: Container) {
        let veth = container.veth.clone();
        self.remove(container);
        wait_until(PATIENCE, "the veth goes with its container", || {
            !self.run_in(HOST, &["ip", "link", "show", "dev", &veth]).status.success()
        });
    }

    fn has_netns(&self, name: &str) -> bool {
        fs::exists(format!("/run/netns/{name}")).unwrap_or(false)
    }

    /// Loopback up, and no more packets than those that a test sends.
    fn quiet(&self, at: impl Into<Where>) {
        let at = at.into();
        self.in_netns(&at, || {
            for (setting, value) in QUIET {
                for scope in ["all", "default"] {
                    // Without IPv6 in the kernel there is nothing to quiet.
                    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/{setting}"), value);
                }
            }
        });
        self.ok_in(&at, &["ip", "link", "set", "lo", "up"]);
    }
}

impl Bridge<'_> {
    /// Gives the bridge an address ("10.9.0.1/24"): containers made later route through it.
    pub fn address(&self, cidr: &str) {
        self.lab.ok_in(&self.at, &["ip", "addr", "add", cidr, "dev", &self.name, "nodad"]);
    }

    /// Makes the container `name` (at most 10 characters) and joins it to the bridge; waits until
    /// it can talk. Addresses with prefix length: "10.9.0.2/24", "fd09::2/64".
    pub fn container(&self, name: &str, v4: &str, v6: &str) -> Container {
        let lab = self.lab;
        let veth = format!("veth-{name}");
        lab.netns(name);
        // Both are made in the container, for it has a name even where the host has none.
        lab.ok_in(name, &["ip", "link", "add", "eth0", "type", "veth", "peer", "name", &veth]);
        self.adopt(name, &veth);
        for cidr in [v4, v6] {
            lab.ok_in(name, &["ip", "addr", "add", cidr, "dev", "eth0", "nodad"]);
        }
        lab.ok_in(name, &["ip", "link", "set", "eth0", "up"]);
        wait_until(PATIENCE, &format!("container {name} is up"), || {
            lab.is_up(name, "eth0") && lab.is_up(&self.at, &veth) && lab.addresses_usable(name)
        });
        for gateway in self.addresses() {
            lab.ok_in(name, &["ip", "route", "add", "default", "via", &gateway]);
        }
        Container { name: name.to_owned(), veth, v4: bare(v4), v6: bare(v6) }
    }

    /// Moves `veth` from the container to the bridge's namespace, and makes it a port.
    fn adopt(&self, container: &str, veth: &str) {
        let lab = self.lab;
        match &self.at {
            Where::Named(host) => {
                lab.ok_in(container, &["ip", "link", "set", veth, "netns", host]);
            }
            Where::Own => {
                // A namespace without a name is given by a process in it.
                let resident = lab.spawn_in(Where::Own, &["sleep", "60"]);
                let pid = resident.pid().to_string();
                lab.ok_in(container, &["ip", "link", "set", veth, "netns", &pid]);
            }
        }
        lab.ok_in(&self.at, &["ip", "link", "set", veth, "master", &self.name, "up"]);
    }

    /// The bridge's own addresses, without prefix length; not the link-local one.
    fn addresses(&self) -> Vec<String> {
        let show = ["ip", "-o", "addr", "show", "dev", &self.name, "scope", "global"];
        let listed = self.lab.ok_in(&self.at, &show);
        listed.lines().filter_map(|line| line.split_whitespace().nth(3)).map(bare).collect()
    }
}

impl Lab {
    fn is_up(&self, at: impl Into<Where>, link: &str) -> bool {
        self.ok_in(at, &["ip", "-o", "link", "show", "dev", link]).contains("state UP")
    }

    fn addresses_usable(&self, at: &str) -> bool {
        self.ok_in(at, &["ip", "-6", "addr", "show", "tentative"]).is_empty()
    }
}

/// An address without its prefix length.
fn bare(cidr: &str) -> String {
    cidr.split('/').next().unwrap_or(cidr).to_owned()
}
