//! `xhop vm`: a program on a capture, in userspace. Needs no root and no kernel.

mod capture;
mod report;
mod show;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use xhop_asm::programs::Shipped;
use xhop_vm::joined::{self, Container, Found};
use xhop_vm::pcap::{Capture, Frame};
use xhop_vm::wire::{Mac, Wire};
use xhop_vm::{Outcome, Vm};

use super::rights::Rights;
use super::{program, unread};
use crate::container;
use crate::{Error, Result};
use report::{Packet, Step, Totals};
use show::Show;

/// What to run, and on what.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Its name, as `xhop programs` lists it.
    #[arg(value_parser = program)]
    program: Shipped,
    /// The capture: pcap or pcapng, of Ethernet. `-` is standard input.
    #[arg(long, value_name = "IN")]
    pcap: PathBuf,
    /// Write the packets as the program left them, all and in order, whatever its verdict, to a pcap file
    /// that can be laid beside IN. `-` is standard output; all else is then told on standard error.
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Show each instruction that is executed, what for, and what it does.
    ///
    /// A second engine does that; `rbpf` runs the same packet, and where they differ it is an error.
    #[arg(long)]
    trace: bool,
    /// Run this packet alone, counted from 1 as in the table.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    packet: Option<u32>,
    /// Who is joined (can be repeated). Without it, it is read off the capture: each unicast Ethernet address
    /// with the IP addresses that go with it, as source or destination of untagged packets or sender
    /// of ARP; ifindexes count from 1. Who has several IPv4, or several IPv6 addresses but for
    /// link-local ones, may be a router and is none; a single address behind a router can't be told.
    #[arg(long = "container", value_name = "IFINDEX,MAC,ADDR...", value_parser = container)]
    containers: Vec<Container>,
    /// Where packets come in whose Ethernet source is no container's. Others come in where it is.
    #[arg(long = "in", value_name = "IFINDEX", default_value_t = 0)]
    ingress: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn container(text: &str) -> std::result::Result<Container, String> {
    let mut parts = text.split(',');
    let mut part = |what: &str| parts.next().ok_or_else(|| format!("no {what} in it"));
    let ifindex = part("IFINDEX")?.parse().ok().filter(|ifindex| *ifindex > 0);
    let ifindex = ifindex.ok_or("IFINDEX must be a number above 0")?;
    let mac = Mac(container::Mac::try_from(part("MAC")?.to_owned())?.0);
    if !mac.is_unicast() {
        return Err(format!("{mac} is no interface's own address"));
    }
    let parse = |ip: &str| ip.parse().map_err(|_| format!("`{ip}` is not an IP address"));
    let addresses = parts.map(parse).collect::<std::result::Result<Vec<IpAddr>, _>>()?;
    match addresses.is_empty() {
        true => Err("no ADDR in it".into()),
        false => Ok(Container { ifindex, mac, addresses }),
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::VM.take()?;
    if let Some(out) = &args.out {
        capture::check_out(out, &args.pcap)?;
    }
    let file = capture::read_file(&args.pcap)?;
    let capture = Capture::read(&file).map_err(|error| capture::unfit(&args.pcap, error))?;
    let selected = selected(&args, &capture)?;
    let vm = Vm::new(&args.program.program().map_err(Error::Assemble)?).map_err(Error::Vm)?;
    let who = join(&vm, &args, &capture)?;
    let mut ingress = BTreeMap::<Mac, u32>::new();
    ingress.extend(who.containers.iter().map(|container| (container.mac, container.ifindex)));

    let show = Show { json: args.json, stderr: args.out.as_deref() == Some("-".as_ref()) };
    show.head(args.program, &who, joined::asks(&vm), !args.containers.is_empty());
    let first = capture.frames.first().map_or(0, |frame| frame.time);
    let (mut packets, mut left, mut totals) = (Vec::new(), Vec::new(), Totals::default());
    for (number, frame) in selected {
        let source = Wire::read(frame.data).and_then(|wire| ingress.get(&wire.src).copied());
        let at = source.unwrap_or(args.ingress);
        let mut packet = Packet::new(number, frame, first, at);
        let outcome = run_one(&vm, &args, frame, &mut packet, &show)?;
        packet.judge(args.program, frame, &outcome);
        totals.add(args.program, frame, &outcome);
        match args.json {
            true => packets.push(packet),
            false => show.packet(&packet, capture.header.nanos),
        }
        match args.out {
            Some(_) => left.push((*frame, outcome.packet)),
            None if unread() => return Ok(()),
            None => {}
        }
    }
    if let Some(out) = &args.out {
        capture::write_file(out, &capture.header, &left)?;
    }
    let counters = report::counters(&vm);
    match args.json {
        true => show.json(args.program, &who, &packets, &totals, &counters),
        false => {
            show.totals(&totals, &counters);
            Ok(())
        }
    }
}

/// Joins the containers that are stated or, where none is, those of the capture.
fn join(vm: &Vm, args: &Args, capture: &Capture) -> Result<Found> {
    let who = match args.containers.is_empty() {
        true => joined::found(capture.frames.iter().map(|frame| frame.data)),
        false => Found { containers: args.containers.clone(), left_out: Vec::new() },
    };
    told_apart(&args.containers)?;
    let mut owners = BTreeMap::<IpAddr, Mac>::new();
    for container in &who.containers {
        for address in &container.addresses {
            if let Some(other) = owners.insert(*address, container.mac) {
                let (one, other) = (other.to_string(), container.mac.to_string());
                return Err(Error::SharedAddress { address: *address, one, other });
            }
        }
        container.join(vm).map_err(|error| {
            let why = format!("{error}: state with --container who matters");
            capture::unfit(&args.pcap, why)
        })?;
    }
    Ok(who)
}

/// Refuses two containers on one interface, or with one Ethernet address.
fn told_apart(containers: &[Container]) -> Result<()> {
    for (at, one) in containers.iter().enumerate() {
        for other in containers.iter().skip(at + 1) {
            let what = match (one.ifindex == other.ifindex, one.mac == other.mac) {
                (true, _) => format!("ifindex {}", one.ifindex),
                (_, true) => one.mac.to_string(),
                _ => continue,
            };
            return Err(Error::ContainerTwice { what });
        }
    }
    Ok(())
}

/// The packets that are to be run, with their numbers.
fn selected<'a>(
    args: &Args,
    capture: &'a Capture,
) -> Result<impl Iterator<Item = (usize, &'a Frame<'a>)>> {
    let packets = capture.frames.len();
    let (skip, take) = match args.packet.map(|n| n as usize) {
        None => (0, packets),
        Some(n) if n <= packets => (n - 1, 1),
        Some(n) => {
            let why = format!("it has {packets} packets, and none is number {n}: see --packet");
            return Err(capture::unfit(&args.pcap, why));
        }
    };
    Ok((1..).zip(&capture.frames).skip(skip).take(take))
}

fn run_one(
    vm: &Vm,
    args: &Args,
    frame: &Frame,
    packet: &mut Packet,
    show: &Show,
) -> Result<Outcome> {
    let failed = |number| move |error| Error::Packet { number, error };
    if !args.trace {
        return vm.run(frame.data, packet.ingress).map_err(failed(packet.number));
    }
    if !args.json {
        show.traced(packet);
    }
    let (number, ingress) = (packet.number, packet.ingress);
    vm.trace(frame.data, ingress, &mut |step| match args.json {
        true => packet.trace.push(Step::from(&step)),
        false => show.step(&Step::from(&step)),
    })
    .map_err(failed(number))
}
