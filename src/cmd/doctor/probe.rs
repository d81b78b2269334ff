//! Probes: packets of our own from one container to another, watched at each place that they come by.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::Serialize;
use xhop_vm::packet::checksum;

use super::frame::{payload, probe_of};
use super::taps::Taps;
use crate::container::Attachment;
use crate::sys::netns::Netns;
use crate::sys::{signal, udp};
use crate::{Error, Result};

/// How long a neighbour is looked for first: who has not heard it is asked again after a second.
const NEIGHBOUR: Duration = Duration::from_millis(1200);
/// How long a probe may take then.
const PATIENCE: Duration = Duration::from_millis(250);
/// The place of what is sent to find the neighbour: no probe has it.
const FORERUNNER: u8 = u8::MAX;
/// How many datagrams go down the stack as one packet.
const SEGMENTS: usize = 4;
/// Bytes of the largest of them: several make a packet then, however large the MTU is.
const LARGEST_SEGMENT: usize = 16_000;
/// Bytes that a small probe carries.
const SMALL: usize = 64;
/// Bytes of a UDP or ICMP header.
pub const L4: usize = 8;

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An ICMP echo request, whose sum is made before it is sent.
    Echo,
    /// A small UDP datagram: its sum is left to the device.
    Datagram,
    /// One as large as a packet may be.
    Full,
    /// Several at once, cut up as late as possible (GSO): as TCP sends in bulk.
    Segments,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Echo, Self::Datagram, Self::Full, Self::Segments];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo request",
            Self::Datagram => "UDP",
            Self::Full => "UDP, full size",
            Self::Segments => "UDP, segmented late",
        }
    }
}

/// A probe and how far it got, in datagrams.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Probe {
    /// 4 or 6.
    pub ip: u8,
    /// What it is.
    pub kind: Kind,
    /// Bytes of IP in each datagram.
    pub bytes: usize,
    /// How many the sender's stack took.
    pub sent: usize,
    /// Why it took none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// How the kernel said so.
    #[serde(skip)]
    pub errno: Option<Errno>,
    /// Seen where they leave the sender's interface.
    pub left: usize,
    /// Seen where the host's end hands them to the stack; what XDP redirects is not.
    pub at_host: usize,
    /// Seen where the bridge sends them out to the receiver's veth.
    pub by_bridge: usize,
    /// Seen where they come in at the receiver's interface.
    pub arrived: usize,
    /// Of these with a wrong checksum.
    pub wrong_sums: usize,
    /// Taken by the receiver: its socket has them; of an echo request, the answer has come.
    pub taken: usize,
}

/// The two ends of a way.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    /// The sender.
    pub from: &'a Attachment,
    /// Its namespace.
    pub from_netns: &'a Netns,
    /// That of its host's end.
    pub from_host: &'a Netns,
    /// The receiver.
    pub to: &'a Attachment,
    /// Likewise.
    pub to_netns: &'a Netns,
    /// Likewise.
    pub to_host: &'a Netns,
}

/// Sends all probes of the families that both have, one after the other. Gives how far each got, and where more
/// came by than could be looked at.
pub fn send(route: &Route) -> Result<(Vec<Probe>, Vec<&'static str>)> {
    let run = RandomState::new().hash_one(std::process::id()) as u32;
    let taps = Taps::open(route, run)?;
    let mut probes = Vec::new();
    for [from, to] in shared(&route.from.addresses, &route.to.addresses) {
        let sink = match sink(route, to) {
            Ok(sink) => sink,
            Err(error) => {
                let refused = |kind| Probe::new(kind, to).refused(&error);
                probes.extend(Kind::ALL.map(refused));
                continue;
            }
        };
        let way = Way { route, from, to, sink: &sink, taps: &taps, run, place: FORERUNNER };
        // What is wrong the probes tell.
        let _ = way.send(&mut Probe::new(Kind::Echo, to), NEIGHBOUR);
        for kind in Kind::ALL {
            let mut probe = Probe::new(kind, to);
            let way = Way { place: probes.len() as u8, ..way };
            if let Err(error) = way.send(&mut probe, PATIENCE) {
                probe = probe.refused(&error);
            }
            probes.push(probe);
        }
    }
    taps.count(route, &mut probes)?;
    Ok((probes, taps.blind()))
}

/// Addresses of a family that both have, but for those of the link alone.
pub fn shared(from: &[IpAddr], to: &[IpAddr]) -> Vec<[IpAddr; 2]> {
    let families: [fn(&&IpAddr) -> bool; 2] = [
        |ip| ip.is_ipv4(),
        |ip| match ip {
            IpAddr::V4(_) => false,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        },
    ];
    let pair = |family| Some([*from.iter().find(family)?, *to.iter().find(family)?]);
    families.into_iter().filter_map(pair).collect()
}

/// The socket that takes them.
fn sink(route: &Route, to: IpAddr) -> Result<UdpSocket> {
    let failed = |error| Error::io(format!("UDP at {to}"))(error);
    let socket = route.to_netns.run(|| UdpSocket::bind((to, 0)))?.map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}

impl Probe {
    fn new(kind: Kind, to: IpAddr) -> Self {
        Self {
            ip: if to.is_ipv4() { 4 } else { 6 },
            kind,
            bytes: 0,
            sent: 0,
            refused: None,
            errno: None,
            left: 0,
            at_host: 0,
            by_bridge: 0,
            arrived: 0,
            wrong_sums: 0,
            taken: 0,
        }
    }

    /// It, not sent.
    fn refused(self, error: &Error) -> Self {
        Self { refused: Some(super::answer::why(error)), errno: error.errno(), ..self }
    }

    /// Bytes of its IP header.
    pub fn header(&self) -> usize {
        if self.ip == 4 { 20 } else { 40 }
    }
}

/// What one probe is sent by.
#[derive(Clone, Copy)]
struct Way<'a> {
    route: &'a Route<'a>,
    from: IpAddr,
    to: IpAddr,
    sink: &'a UdpSocket,
    taps: &'a Taps,
    run: u32,
    place: u8,
}

impl Way<'_> {
    /// Sends it, and waits until it is taken.
    fn send(&self, probe: &mut Probe, patience: Duration) -> Result<()> {
        let Self { from, to, .. } = *self;
        let netns = self.route.from_netns;
        if probe.kind == Kind::Echo {
            let socket = netns.run(|| udp::icmp(from, to))??;
            let request = echo(self.to.is_ipv4(), &payload(self.run, self.place, SMALL, 1));
            probe.bytes = probe.header() + request.len();
            put(&socket, &request)?;
            probe.sent = 1;
            return self.wait(probe, &socket, patience);
        }
        let port = self.sink.local_addr().map_err(Error::io("a UDP socket"))?.port();
        let target = SocketAddr::new(self.to, port);
        let socket = netns.run(|| udp::connected(from, target))??;
        let full = udp::path_mtu(&socket)?.saturating_sub(probe.header() + L4);
        let (bytes, count) = match probe.kind {
            Kind::Segments => (full.min(LARGEST_SEGMENT), SEGMENTS),
            Kind::Full => (full, 1),
            Kind::Echo | Kind::Datagram => (SMALL, 1),
        };
        probe.bytes = probe.header() + L4 + bytes;
        if count > 1 {
            udp::segment(&socket, bytes as u16)?;
        }
        put(&socket, &payload(self.run, self.place, bytes, count))?;
        probe.sent = count;
        self.wait(probe, self.sink, patience)
    }

    /// Until all of it is at the socket, or the time is over.
    fn wait(&self, probe: &mut Probe, at: &UdpSocket, patience: Duration) -> Result<()> {
        at.set_nonblocking(true).map_err(Error::io("a socket"))?;
        let start = Instant::now();
        let mut buf = vec![0; 1 << 16];
        while probe.taken < probe.sent && start.elapsed() < patience && !signal::pending() {
            match at.recv(&mut buf) {
                Ok(len) => {
                    let taken = self.is_this(probe, buf.get(..len).unwrap_or_default());
                    probe.taken += usize::from(taken);
                }
                Err(_) => {
                    self.taps.drain()?;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        Ok(())
    }

    /// Whether what a socket has got is of this probe; of an echo request, its answer.
    fn is_this(&self, probe: &Probe, got: &[u8]) -> bool {
        let data = match (probe.kind, self.to) {
            (Kind::Echo, IpAddr::V4(_)) => {
                let header = got.first().map_or(0, |first| usize::from(first & 0xf) * 4);
                got.get(header..).filter(|icmp| icmp.first() == Some(&ECHO_REPLY)).map(after)
            }
            (Kind::Echo, IpAddr::V6(_)) => {
                Some(got).filter(|icmp| icmp.first() == Some(&ECHO_REPLY6)).map(after)
            }
            _ => Some(got),
        };
        data.and_then(|data| probe_of(data, self.run)) == Some(self.place)
    }
}

/// RFC 792 and RFC 4443
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST6: u8 = 128;
const ECHO_REPLY6: u8 = 129;

fn after(icmp: &[u8]) -> &[u8] {
    icmp.get(L4..).unwrap_or_default()
}

/// An echo request with this data. The kernel makes the sum of ICMPv6.
fn echo(v4: bool, data: &[u8]) -> Vec<u8> {
    let mut request =
        vec![if v4 { ECHO_REQUEST } else { ECHO_REQUEST6 }, 0, 0, 0, 0x78, 0x68, 0, 1];
    request.extend(data);
    if v4 {
        let sum = checksum(&request).to_be_bytes();
        request.iter_mut().skip(2).zip(sum).for_each(|(to, from)| *to = from);
    }
    request
}

fn put(socket: &UdpSocket, bytes: &[u8]) -> Result<()> {
    socket.send(bytes).map(drop).map_err(Error::io("send"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Interface, Mac};
    use crate::sys::netlink::{LinkInfo, Rtnl};
    use crate::sys::testing::{in_new_netns, privileged};

    #[test]
    fn addresses_of_both_families() {
        let ips = |list: &[&str]| -> Vec<IpAddr> {
            list.iter().map(|ip| ip.parse().expect("an address")).collect()
        };
        let (a, b) = (ips(&["10.9.0.2", "fd09::2", "fe80::1"]), ips(&["fd09::3", "10.9.0.3"]));
        assert_eq!(shared(&a, &b), [[a[0], b[1]], [a[1], b[0]]]);
        assert_eq!(
            shared(&ips(&["fe80::1"]), &ips(&["fe80::2", "10.9.0.3"])),
            [] as [[IpAddr; 2]; 0]
        );
    }

    /// An address that has gone meanwhile is no reason to tell nothing.
    #[test]
    fn who_has_no_such_address_is_sent_nothing() {
        if !privileged("probe::who_has_no_such_address_is_sent_nothing") {
            return;
        }
        in_new_netns(|| {
            let netns = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&netns).expect("socket");
            rtnl.set_up(1, true).expect("up");
            let lo = Interface { netns: netns.inode(), ifindex: 1, name: "lo".into() };
            let end = Attachment {
                inside: lo.clone(),
                inside_link: LinkInfo::default(),
                mac: Mac([0; 6]),
                addresses: vec![[10, 9, 0, 2].into(), std::net::Ipv6Addr::LOCALHOST.into()],
                host: lo,
                host_link: LinkInfo::default(),
                bridge: None,
            };
            let (from_netns, to_netns, from_host, to_host) = (&netns, &netns, &netns, &netns);
            let route = Route { from: &end, from_netns, from_host, to: &end, to_netns, to_host };
            let (probes, _) = send(&route).expect("probes");
            let (v4, v6): (Vec<_>, Vec<_>) = probes.iter().partition(|probe| probe.ip == 4);
            assert_eq!((v4.len(), v6.len()), (4, 4));
            for probe in v4 {
                assert_eq!((probe.sent, probe.errno), (0, Some(Errno::EADDRNOTAVAIL)));
            }
            assert_eq!((v6[0].sent, v6[1].sent), (1, 1), "{v6:?}");
        });
    }

    #[test]
    fn an_echo_request_sums_up() {
        let request = echo(true, &payload(1, 0, 9, 1));
        assert_eq!(checksum(&request), 0);
        assert_eq!(after(&request).len(), 9);
    }
}
