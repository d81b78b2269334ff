//! The stage: two containers on a bridge, and what can be asked of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::traffic;
use crate::cmd::load::Route;
use crate::sys::netlink::Rtnl;
use crate::sys::netns::Netns;
use crate::sys::socket::{Counter, ping};
use crate::sys::stage;
use crate::{Error, Result};

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);
/// The server's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 3);
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(SERVER), 80);
const BULK: SocketAddr = SocketAddr::new(IpAddr::V4(SERVER), 0);
/// How long an answer may take; a retransmitted SYN would come after one second and fail again.
const PATIENCE: Duration = Duration::from_secs(2);

/// Two containers, a server running in one.
pub struct Stage {
    host: Netns,
    client: Netns,
    server: Netns,
    /// The server's host side.
    ifindex: u32,
}

impl Stage {
    /// Takes this process to namespaces of its own and makes all there. To be called once, first.
    pub fn set() -> Result<Self> {
        stage::enter()?;
        let host = Netns::current()?;
        let rtnl = Rtnl::open_in(&host)?;
        rtnl.add_bridge("br0")?;
        let bridge = index(&rtnl, "br0")?;
        rtnl.set_up(bridge, true)?;
        let client = container(&rtnl, bridge, "client", CLIENT)?;
        let server = container(&rtnl, bridge, "server", SERVER)?;
        wait_for_carrier(&rtnl)?;
        let ifindex = index(&rtnl, "veth-server")?;
        server.run(|| traffic::serve(HTTP))??;
        Ok(Self { host, client, server, ifindex })
    }

    /// How many of `count` echo requests from client to server are answered.
    pub fn ping(&self, count: u16) -> Result<usize> {
        let mut answered = 0;
        for sequence in 1..=count {
            let answer = self.client.run(|| ping(SERVER, sequence, PATIENCE))??;
            answered += usize::from(answer.is_some());
        }
        Ok(answered)
    }

    /// The status line of the server's answer to a GET; `None` if there is none in time.
    pub fn get(&self) -> Result<Option<String>> {
        self.client.run(|| traffic::get(HTTP, PATIENCE))
    }

    /// Mbit/s that one TCP stream carries from client to server.
    pub fn throughput(&self, time: Duration) -> Result<u64> {
        let route = Route { from: &self.client, to: &self.server, listen: BULK, target: BULK };
        Ok(route.streams(1, time)?.mbit())
    }

    /// Segments that the server's stack has dropped for their checksum.
    pub fn bad_checksums(&self) -> Result<u64> {
        self.server.run(traffic::tcp_checksum_errors)?
    }

    /// Counts what the bridge brings to the server.
    pub fn counter(&self) -> Result<Counter> {
        self.host.run(|| Counter::on(self.ifindex))?
    }
}

fn container(host: &Rtnl, bridge: u32, name: &str, address: Ipv4Addr) -> Result<Netns> {
    stage::add_netns(name)?;
    let netns = Netns::open(format!("/run/netns/{name}"))?;
    let veth = format!("veth-{name}");
    host.add_veth(&veth, "eth0", &netns)?;
    let ifindex = index(host, &veth)?;
    host.set_master(ifindex, Some(bridge))?;
    host.set_up(ifindex, true)?;
    let inside = Rtnl::open_in(&netns)?;
    inside.set_up(index(&inside, "lo")?, true)?;
    let eth0 = index(&inside, "eth0")?;
    inside.set_up(eth0, true)?;
    inside.add_addr(eth0, address.into(), 24)?;
    Ok(netns)
}

fn index(rtnl: &Rtnl, name: &str) -> Result<u32> {
    let link = rtnl.link(name)?.ok_or_else(|| Error::InterfaceGone { ifname: name.into() })?;
    Ok(link.ifindex)
}

/// The bridge forwards once its ports have their carrier.
fn wait_for_carrier(rtnl: &Rtnl) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if rtnl.links()?.iter().filter(|link| link.master.is_some()).all(|link| link.carrier) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Error::InterfaceGone { ifname: "veth-server".into() })
}
