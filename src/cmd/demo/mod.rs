//! `xhop demo`: the whole experiment, on two throw-away containers.

mod stage;
mod traffic;

use std::time::Duration;

use self::stage::{CLIENT, SERVER, Stage};
use super::rights::Rights;
use super::up::{Join, join};
use super::{say, status};
use crate::Result;
use crate::plan::way::{Asked, ChecksumWay};
use crate::table::{Align, Table, ratio};

/// How long to show it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How long TCP throughput is measured each time.
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

/// What was seen in one way.
struct Seen {
    way: &'static str,
    pings: usize,
    get: Option<String>,
    bad_checksums: u64,
    through_bridge: usize,
    /// In Mbit/s.
    throughput: Option<u64>,
}

const PINGS: u16 = 3;

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::DEMO.take()?;
    let stage = Stage::set()?;
    say(format_args!(
        "Two containers on a bridge, in namespaces of this demo's own:\n\n\
         \x20   client {CLIENT} -- veth-client --+\n\
         \x20                                     br0\n\
         \x20   server {SERVER} -- veth-server --+  (HTTP on port 80)\n"
    ));
    let time = Duration::from_secs(args.seconds);
    let mut all = Vec::new();

    step(1, "Over the bridge, as the kernel does it.");
    all.push(observe(&stage, "bridge", Some(time))?);

    step(
        2,
        "Joined by native XDP, checksums left as the senders leave them: ping works, TCP does not.",
    );
    hop(Asked::Native, Some(ChecksumWay::None))?;
    all.push(observe(&stage, "none", None)?);
    say(format_args!(
        "   The client's stack left the TCP checksum to the device. An skb carries that fact, an\n   \
         xdp_frame can't: the server sees half a checksum, counts it as wrong and drops the segment."
    ));

    step(3, "Joined, checksum offload off in both containers: their stacks sum all they send.");
    hop(Asked::Native, Some(ChecksumWay::OffloadOff))?;
    all.push(observe(&stage, "offload-off", Some(time))?);

    step(4, "Joined, checksums completed by the program: the containers keep their offloads.");
    hop(Asked::Native, Some(ChecksumWay::Complete))?;
    all.push(observe(&stage, "complete", Some(time))?);

    step(5, "Joined by tc: packets stay the skbs that sockets made. This is what `xhop up` does.");
    hop(Asked::Tc, None)?;
    all.push(observe(&stage, "tc", Some(time))?);
    say(format_args!("\n   Counters of the programs (`xhop status`):\n"));
    status::show(&status::collect()?);

    summary(&all);
    Ok(())
}

fn step(number: u8, what: &str) {
    say(format_args!("\n{number}. {what}"));
}

fn hop(datapath: Asked, checksum: Option<ChecksumWay>) -> Result<()> {
    let names = ["netns:client", "netns:server"].iter().map(|name| name.parse());
    let names = names.collect::<Result<Vec<_>>>()?;
    join(&names, Join { datapath, checksum, ..Join::default() }).map(drop)
}

/// Pings, gets, measures, and tells what came of it.
fn observe(stage: &Stage, way: &'static str, time: Option<Duration>) -> Result<Seen> {
    let errors = stage.bad_checksums()?;
    let bridge = stage.counter()?;
    let pings = stage.ping(PINGS)?;
    say(format_args!("   ping          {pings} of {PINGS} answered"));
    let get = stage.get()?;
    say(format_args!("   GET /         {}", get.as_deref().unwrap_or("no answer: timed out")));
    let bad_checksums = stage.bad_checksums()?.saturating_sub(errors);
    say(format_args!("   bad checksums {bad_checksums} counted by the server (TcpInCsumErrors)"));
    let through_bridge = bridge.take()?;
    say(format_args!("   the bridge    saw {through_bridge} IPv4 packets to the server"));
    let throughput = time.map(|time| stage.throughput(time)).transpose()?;
    if let Some(mbit) = throughput {
        say(format_args!("   TCP           {} Gbit/s, one stream", ratio(mbit, 1000)));
    }
    Ok(Seen { way, pings, get, bad_checksums, through_bridge, throughput })
}

fn summary(all: &[Seen]) {
    let base = all.first().and_then(|seen| seen.throughput);
    let mut table = Table::new(&[
        ("WAY", Align::Left),
        ("PING", Align::Right),
        ("GET", Align::Left),
        ("BAD CHECKSUMS", Align::Right),
        ("SEEN BY BRIDGE", Align::Right),
        ("TCP Gbit/s", Align::Right),
        ("TO BRIDGE", Align::Right),
    ]);
    for seen in all {
        let to_bridge = seen.throughput.zip(base).map(|(own, base)| ratio(own, base));
        table.row(vec![
            seen.way.into(),
            format!("{}/{PINGS}", seen.pings),
            seen.get.clone().unwrap_or("timed out".into()),
            seen.bad_checksums.to_string(),
            seen.through_bridge.to_string(),
            seen.throughput.map_or("-".into(), |mbit| ratio(mbit, 1000)),
            to_bridge.unwrap_or("-".into()),
        ]);
    }
    say(format_args!("\nSummary\n"));
    for line in table.to_string().lines() {
        say(format_args!("{line}"));
    }
    say(format_args!(
        "\nNative XDP is for frames that are not yet skbs: what a local socket sends, it cuts into single frames\n\
         and copies, and bulk TCP is slower on it. tc leaves skbs as they are. One run of one stream is an\n\
         impression, not a measurement: `xhop bench` measures."
    ));
}
