//! `xhop bench --frames`: how many frames that are born as XDP get from one container to another.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use xhop_asm::blocks::count::{Verdict, value};
use xhop_asm::blocks::{Family, count, endpoint};
use xhop_asm::programs::{Checksum, Shipped};

use super::busy;
use super::checksum::sum;
use super::report::QUIET;
use super::statistics::{Summary, percent};
use crate::cmd::scene::{bridge, container, index, wait_for_carrier};
use crate::cmd::{print_json, say};
use crate::sys::bpf::{Link, Map, Prog, XdpMode};
use crate::sys::netlink::Rtnl;
use crate::sys::netns::Netns;
use crate::sys::{cpu, kernel, socket, stage};
use crate::table::{Align, Table, ratio};
use crate::{Error, Result};

const SENDER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 3);
/// Bytes of a frame, as Linux counts them: without its check sequence.
const FRAME: usize = 64;
/// Frames that are made before the clock is looked at.
const BURST: u32 = 1 << 15;
/// What a sample takes at least.
const TIME: Duration = Duration::from_millis(300);
/// How long the last frames may be on their way.
const TAIL: Duration = Duration::from_millis(2);
/// Whether what crosses a bridge goes through iptables; in every namespace a setting of its own.
const FILTERED: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// A way for a frame.
struct Way {
    name: &'static str,
    /// The program that meets it where it is born.
    program: Shipped,
    br_netfilter: bool,
}

/// The plain bridge first: the others are compared with it. Last the ceiling: what is made and goes nowhere.
const WAYS: [Way; 5] = [
    Way { name: "bridge", program: Shipped::Pass, br_netfilter: false },
    Way { name: "bridge, br_netfilter", program: Shipped::Pass, br_netfilter: true },
    Way {
        name: "native/complete",
        program: Shipped::Forward(Checksum::Complete),
        br_netfilter: false,
    },
    Way {
        name: "native/offload-off",
        program: Shipped::Forward(Checksum::Keep),
        br_netfilter: false,
    },
    Way { name: "made, dropped there", program: Shipped::Count, br_netfilter: false },
];

/// Of one way, in frames a second.
#[derive(Serialize)]
struct Row {
    way: &'static str,
    median: u64,
    percent_of_bridge: u64,
    spread_percent: u64,
    /// Of those that were made.
    arrived_percent: u64,
    samples: Vec<u64>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    unit: &'static str,
    frame_bytes: usize,
    rounds: u32,
    busy_percent_before: u64,
    ways: &'a [Row],
}

/// Measures each way `rounds` times, in turn, and shows the medians.
pub fn run(rounds: u32, json: bool) -> Result<()> {
    if kernel::release()? < (5, 18) {
        return Err(Error::NoLiveFrames);
    }
    let busy_before = busy()?;
    let scene = Scene::set()?;
    // Only where there is a br_netfilter.
    let ways: Vec<&Way> =
        WAYS.iter().filter(|way| !way.br_netfilter || Path::new(FILTERED).exists()).collect();
    let mut all: Vec<_> = ways.iter().map(|_| (Vec::new(), 0, 0)).collect();
    for round in 0..rounds as usize {
        for turn in 0..ways.len() {
            // Each second round backwards, and each pair of them begins with another.
            let at = (round / 2 + turn) % ways.len();
            let at = if round % 2 == 1 { ways.len() - 1 - at } else { at };
            let (Some(way), Some((samples, made, arrived))) = (ways.get(at), all.get_mut(at))
            else {
                continue;
            };
            let sample = scene.sample(way)?;
            samples.push(sample.a_second());
            *made += sample.made;
            *arrived += sample.arrived;
        }
    }
    let rows = rows(&ways, all);
    if json {
        return print_json(&Answer {
            version: 1,
            unit: "1/s",
            frame_bytes: FRAME,
            rounds,
            busy_percent_before: busy_before,
            ways: &rows,
        });
    }
    tell(&rows, rounds, busy_before);
    Ok(())
}

fn rows(ways: &[&Way], all: Vec<(Vec<u64>, u64, u64)>) -> Vec<Row> {
    let mut bridge = None;
    let row = |(way, (samples, made, arrived)): (&&Way, (Vec<u64>, u64, u64))| {
        let summary = Summary::of(samples.clone());
        let bridge = *bridge.get_or_insert(summary.median);
        Row {
            way: way.name,
            median: summary.median,
            percent_of_bridge: percent(summary.median, bridge),
            spread_percent: summary.spread(),
            arrived_percent: percent(arrived, made),
            samples,
        }
    };
    ways.iter().zip(all).map(row).collect()
}

fn tell(rows: &[Row], rounds: u32, busy_before: u64) {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("WAY", Align::Left),
        ("FRAMES", right),
        ("RATIO", right),
        ("SPREAD", right),
        ("ARRIVED", right),
    ]);
    for row in rows {
        table.row(vec![
            row.way.into(),
            format!("{} M/s", ratio(row.median, 1_000_000)),
            ratio(row.percent_of_bridge, 100),
            format!("{} %", row.spread_percent),
            format!("{} %", row.arrived_percent),
        ]);
    }
    for line in table.to_string().lines() {
        say(format_args!("{line}"));
    }
    say(format_args!(
        "\nFrames of {FRAME} bytes, made on one processor, counted where they arrive; medians of {rounds} rounds \
         in turn. The last way is the ceiling.\nSpread: the width of the middle half of the samples, in percent of the median."
    ));
    if rows.len() < WAYS.len() {
        say(format_args!("No br_netfilter: load the module to see it."));
    }
    if busy_before > QUIET {
        say(format_args!("The machine was {busy_before} % busy before."));
    }
}

/// Frames that were made, and what became of them.
struct Sample {
    made: u64,
    arrived: u64,
    time: Duration,
}

impl Sample {
    fn a_second(&self) -> u64 {
        self.arrived.saturating_mul(1_000_000) / (self.time.as_micros() as u64).max(1)
    }
}

/// Two containers on a bridge, the receiver's eth0 with `count`.
struct Scene {
    receiver: Netns,
    /// The sender's host side: where the frames are born.
    ingress: u32,
    frame: Vec<u8>,
    endpoints: [Map; 2],
    ports: Map,
    stats: Map,
    /// Held while `count` is attached.
    _link: Link,
}

impl Scene {
    /// Takes this process to namespaces of its own and makes all there. To be called once, first.
    fn set() -> Result<Self> {
        stage::enter()?;
        let rtnl = Rtnl::open_in(&Netns::current()?)?;
        let bridge = bridge(&rtnl, "br0")?;
        let sender = container(&rtnl, bridge, "sender", SENDER)?;
        let receiver = container(&rtnl, bridge, "receiver", RECEIVER)?;
        wait_for_carrier(&rtnl)?;
        let (ingress, port) = (index(&rtnl, "veth-sender")?, index(&rtnl, "veth-receiver")?);
        let (_, from) = eth0(&sender)?;
        let (inside, to) = eth0(&receiver)?;
        let endpoints =
            [Family::V4, Family::V6].map(|family| Map::create(&endpoint::endpoints(family)));
        let [v4, v6] = endpoints;
        let (v4, v6, ports) = (v4?, v6?, Map::create(&endpoint::ports())?);
        for (address, ifindex, mac) in [(SENDER, ingress, from), (RECEIVER, port, to)] {
            v4.update(&address.octets(), &endpoint::value::encode(ifindex, mac))?;
            ports.update(&ifindex.to_ne_bytes(), &ifindex.to_ne_bytes())?;
        }
        let stats = Map::create(&count::stats())?;
        let count = Prog::load(Shipped::Count, &[&stats])?;
        let link = receiver.run(|| Link::create_xdp(&count, inside, XdpMode::Native))??;
        let frame = frame(from, to);
        Ok(Self { receiver, ingress, frame, endpoints: [v4, v6], ports, stats, _link: link })
    }

    fn load(&self, shipped: Shipped) -> Result<Prog> {
        let own = Map::create(&count::stats())?;
        // What `count` meets where it is born is all that there is to arrive.
        let stats = if shipped == Shipped::Count { &self.stats } else { &own };
        let program = shipped.program().map_err(Error::Assemble)?;
        let [v4, v6] = &self.endpoints;
        let named = |name: &str| match name {
            "endpoints4" => v4,
            "endpoints6" => v6,
            "ports" => &self.ports,
            _ => stats,
        };
        Prog::load(shipped, &program.maps().iter().map(|decl| named(decl.name)).collect::<Vec<_>>())
    }

    fn sample(&self, way: &Way) -> Result<Sample> {
        if Path::new(FILTERED).exists() {
            let on = if way.br_netfilter { "1" } else { "0" };
            std::fs::write(FILTERED, on).map_err(Error::io(FILTERED))?;
        }
        // Attached, as in life. A run of a program that is attached nowhere waits for RCU twice, longer than
        // its frames take (kernel/bpf/dispatcher.c); and frames can be born only where there is a program.
        let prog = self.load(way.program)?;
        let _link = Link::create_xdp(&prog, self.ingress, XdpMode::Native)?;
        // The bridge learns, again and again, where the receiver is. The answer is dropped.
        self.receiver.run(|| socket::ping(SENDER, 1, TAIL))??;
        let made = || -> Result<(u64, Duration)> {
            let (start, mut made) = (Instant::now(), 0);
            while start.elapsed() < TIME {
                prog.inject(&self.frame, self.ingress, BURST)?;
                made += u64::from(BURST);
            }
            Ok((made, start.elapsed()))
        };
        let before = self.arrived()?;
        let [one, _] = cpu::two();
        let (made, time) = cpu::on(one, made).map_err(Error::io("sched_setaffinity"))??;
        std::thread::sleep(TAIL);
        Ok(Sample { made, arrived: self.arrived()?.saturating_sub(before), time })
    }

    /// What `count` has counted.
    fn arrived(&self) -> Result<u64> {
        let cpus = self.stats.lookup_percpu(&(Verdict::Forwarded as u32).to_ne_bytes())?;
        let packets = |cpu: &Vec<u8>| {
            let at = cpu.get(value::PACKETS as usize..)?;
            Some(u64::from_ne_bytes(*at.first_chunk()?))
        };
        Ok(cpus.iter().flatten().filter_map(packets).sum())
    }
}

/// The number and the Ethernet address of a container's interface.
fn eth0(container: &Netns) -> Result<(u32, [u8; 6])> {
    let link = Rtnl::open_in(container)?.link("eth0")?;
    let found = link.and_then(|link| Some((link.ifindex, link.mac?)));
    found.ok_or_else(|| Error::InterfaceGone { ifname: "eth0".into() })
}

/// A TCP segment whose checksum is whole, as from a NIC.
fn frame(from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
    const TCP: usize = 14 + 20;
    let (mut frame, len) = ([&to[..], &from, &[8, 0]].concat(), FRAME - TCP);
    frame.extend([0x45, 0, 0, (FRAME - 14) as u8, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(SENDER.octets().into_iter().chain(RECEIVER.octets()));
    let header = !sum(&frame[14..]);
    frame[24..26].copy_from_slice(&header.to_be_bytes());
    // Ports 40000 > 9, an acknowledgement; and some payload.
    frame.extend([0x9c, 0x40, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(FRAME, 0x5a);
    let check = !sum(&[&frame[26..34], &[0, 6, 0, len as u8], &frame[TCP..]].concat());
    frame[50..52].copy_from_slice(&check.to_be_bytes());
    frame
}
