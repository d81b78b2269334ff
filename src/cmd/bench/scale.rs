//! `xhop bench --scale`: what more and more joined containers cost.
//!
//! All are in namespaces of this process alone, and there from the beginning: only how many are joined
//! differs. What is timed is this very binary, from its start to its end.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use super::statistics::{median, sorted};
use crate::cmd::load::Route;
use crate::cmd::{print_json, say};
use crate::plan::{MemberPins, Segment, record};
use crate::sys::bpf::{Link, Map, Prog};
use crate::sys::netlink::Rtnl;
use crate::sys::netns::{self, Netns};
use crate::sys::{child, stage};
use crate::table::{Align, Table, ratio};
use crate::{Error, Result};

/// How many are joined. A bridge has at most 1023 ports.
const JOINED: [u32; 4] = [2, 10, 100, 1000];
/// How long packets are counted each time.
const TIME: Duration = Duration::from_millis(500);
/// How long carriers may take.
const SETTLE: Duration = Duration::from_secs(1);

/// One measurement. Times in microseconds, memory in KiB.
#[derive(Serialize, Clone, Copy, Default)]
struct Sample {
    up_all_us: u64,
    up_one_us: u64,
    down_one_us: u64,
    down_all_us: u64,
    status_us: u64,
    up_all_rss_kib: u64,
    up_one_rss_kib: u64,
    maps_kib: u64,
    programs_kib: u64,
    packets_a_second: u64,
}

/// All for one number of joined containers.
#[derive(Serialize)]
struct Row {
    containers: u32,
    samples: Vec<Sample>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    rounds: u32,
    scale: &'a [Row],
}

/// Measures `rounds` times each number up to `most`, in turn, and shows the medians.
pub fn run(rounds: u32, most: u32, json: bool) -> Result<()> {
    let sizes = JOINED.into_iter().filter(|joined| *joined <= most);
    let mut rows: Vec<Row> =
        sizes.map(|containers| Row { containers, samples: Vec::new() }).collect();
    // One more than are joined at most.
    let last = rows.last().map_or(0, |row| row.containers) + 1;
    let host = Host::make(last)?;
    for _ in 0..rounds {
        for row in &mut rows {
            row.samples.push(host.measure(row.containers)?);
        }
    }
    if json {
        return print_json(&Answer { version: 1, rounds, scale: &rows });
    }
    show(&rows, rounds);
    Ok(())
}

fn show(rows: &[Row], rounds: u32) {
    let titles = [
        "JOINED",
        "UP ALL",
        "UP ONE MORE",
        "DOWN ONE",
        "DOWN ALL",
        "STATUS",
        "RSS OF UP",
        "ONE MORE",
        "MAPS",
        "PROGRAMS",
        "UDP 64 B",
    ];
    let mut table = Table::new(&titles.map(|title| (title, Align::Right)));
    for row in rows {
        let middle = |of: fn(&Sample) -> u64| median(&sorted(row.samples.iter().map(of).collect()));
        let millis = |of| format!("{} ms", ratio(middle(of), 1000));
        let memory = |of| format!("{} MiB", ratio(middle(of), 1024));
        table.row(vec![
            row.containers.to_string(),
            millis(|s| s.up_all_us),
            millis(|s| s.up_one_us),
            millis(|s| s.down_one_us),
            millis(|s| s.down_all_us),
            millis(|s| s.status_us),
            memory(|s| s.up_all_rss_kib),
            memory(|s| s.up_one_rss_kib),
            memory(|s| s.maps_kib),
            memory(|s| s.programs_kib),
            format!("{} k/s", ratio(middle(|s| s.packets_a_second), 1000)),
        ]);
    }
    for line in table.to_string().lines() {
        say(format_args!("{line}"));
    }
    say(format_args!(
        "\nMedians of {rounds} rounds in turn. RSS is the most memory that `up` had at once; packets go between two\n\
         of the joined containers."
    ));
}

/// Containers on a bridge.
struct Host {
    containers: Vec<Netns>,
}

impl Host {
    /// Takes this process to namespaces of its own and makes all there.
    fn make(count: u32) -> Result<Self> {
        netns::allow_descriptors();
        stage::enter()?;
        let own = Netns::current()?;
        let rtnl = Rtnl::open_in(&own)?;
        rtnl.add_bridge("br0")?;
        let bridge = index(&rtnl, "br0")?;
        rtnl.set_up(bridge, true)?;
        let make = |number| container(&rtnl, bridge, number);
        let containers = (0..count).map(make).collect::<Result<Vec<_>>>()?;
        std::thread::sleep(SETTLE);
        Ok(Self { containers })
    }

    /// Joins so many, and one more, and takes all out again.
    fn measure(&self, joined: u32) -> Result<Sample> {
        let names: Vec<String> = (0..joined).map(name).collect();
        let all: Vec<&str> = ["up"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let more = name(joined);
        let up_all = xhop(&all)?;
        let up_one = xhop(&["up", &more])?;
        let status = xhop(&["status"])?;
        let (maps_kib, programs_kib) = memory()?;
        let packets_a_second = self.packets()?;
        let down_one = xhop(&["down", &more])?;
        let down_all = xhop(&["down", "--all"])?;
        let micros = |ended: &child::Ended| ended.time.as_micros() as u64;
        Ok(Sample {
            up_all_us: micros(&up_all),
            up_one_us: micros(&up_one),
            down_one_us: micros(&down_one),
            down_all_us: micros(&down_all),
            status_us: micros(&status),
            up_all_rss_kib: up_all.max_rss,
            up_one_rss_kib: up_one.max_rss,
            maps_kib,
            programs_kib,
            packets_a_second,
        })
    }

    /// UDP datagrams that arrive from the first at the second.
    fn packets(&self) -> Result<u64> {
        let [from, to, ..] = self.containers.as_slice() else { return Err(Error::NamespaceGone) };
        let at = SocketAddr::new(IpAddr::V4(address(1)), 0);
        Ok(Route { from, to, listen: at, target: at }.datagrams(TIME)?.a_second())
    }
}

/// Runs this binary, without a word.
fn xhop(args: &[&str]) -> Result<child::Ended> {
    let ended = child::run(args)?;
    let what = args.first().copied().unwrap_or_default();
    match ended.ok {
        true => Ok(ended),
        false => Err(Error::io(format!("xhop {what}"))(std::io::Error::other("it failed"))),
    }
}

/// What the kernel has charged for all maps and for all programs of members, in KiB.
fn memory() -> Result<(u64, u64)> {
    let (mut maps, mut programs) = (0, 0);
    let mut seen: Vec<Segment> = Vec::new();
    for member in record::all()? {
        let pins = MemberPins::of(&member.segment, &member.host);
        maps += pins.open_stats()?.memory()?;
        let link = Link::open_pinned(&pins.forward())?;
        programs += Prog::by_id(link.info()?.prog_id)?.memory()?;
        if !seen.contains(&member.segment) {
            for decl in Segment::maps() {
                maps += Map::open_pinned(&pins.map(&decl))?.memory()?;
            }
            seen.push(member.segment);
        }
    }
    Ok((maps / 1024, programs / 1024))
}

fn name(number: u32) -> String {
    format!("netns:c{number}")
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 88, 0, 2)) + number)
}

fn container(host: &Rtnl, bridge: u32, number: u32) -> Result<Netns> {
    let name = format!("c{number}");
    stage::add_netns(&name)?;
    let netns = Netns::open(format!("/run/netns/{name}"))?;
    // An address that is not yet sure to be its own would come later, and change what is joined.
    let _ = netns.run(|| fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"))?;
    let veth = format!("veth{number}");
    host.add_veth(&veth, "eth0", &netns)?;
    let ifindex = index(host, &veth)?;
    host.set_master(ifindex, Some(bridge))?;
    host.set_up(ifindex, true)?;
    let inside = Rtnl::open_in(&netns)?;
    let eth0 = index(&inside, "eth0")?;
    inside.set_up(eth0, true)?;
    inside.add_addr(eth0, address(number).into(), 16)?;
    Ok(netns)
}

fn index(rtnl: &Rtnl, name: &str) -> Result<u32> {
    let link = rtnl.link(name)?.ok_or_else(|| Error::InterfaceGone { ifname: name.into() })?;
    Ok(link.ifindex)
}
