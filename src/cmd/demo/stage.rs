//! The stage: two containers on a bridge, and what can be asked of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::traffic;
use crate::Result;
use crate::cmd::load::Route;
use crate::cmd::scene::{bridge, container, index, wait_for_carrier};
use crate::sys::netlink::Rtnl;
use crate::sys::netns::Netns;
use crate::sys::socket::{Counter, ping};
use crate::sys::stage;

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
        let bridge = bridge(&rtnl, "br0")?;
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
