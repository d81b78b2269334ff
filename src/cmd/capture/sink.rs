//! Where packets go: lines for people or programs, or a pcapng file.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;
use xhop_vm::pcap::{Frame, Interface, Writer};
use xhop_vm::wire::Wire;

use super::out::Out;
use super::{Args, HEADERS};
use crate::cmd::warn;
use crate::plan::Member;
use crate::plan::capture::{Packet, Tally};
use crate::{Error, Result};

/// Where packets go.
pub struct Sink<'a> {
    args: &'a Args,
    /// Who was named.
    named: &'a [Member],
    snaplen: u32,
    path: PathBuf,
    form: Form,
    /// Who is captured, or was, in the order of the file's interfaces.
    sources: Vec<Source>,
    /// The time of the first packet.
    first: Option<u64>,
    packets: u64,
}

enum Form {
    Lines(BufWriter<Out>),
    File(Writer<BufWriter<Out>>),
}

struct Source {
    ifindex: u32,
    name: String,
    packets: u64,
}

/// A packet, as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    /// Nanoseconds since 1970.
    time_ns: u64,
    /// Who sent it.
    container: &'a str,
    verdict: &'static str,
    /// Bytes of the frame.
    length: u32,
    summary: String,
}

/// What `--json` prints at the end.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    /// Those that were shown or written.
    packets: u64,
    containers: Vec<Counted<'a>>,
}

#[derive(Serialize)]
struct Counted<'a> {
    name: &'a str,
    seen: u64,
    lost: u64,
}

impl<'a> Sink<'a> {
    /// Of these, with as many bytes of a packet.
    pub fn new(
        args: &'a Args,
        named: &'a [Member],
        (path, out): (PathBuf, BufWriter<Out>),
        snaplen: u32,
    ) -> Result<Self> {
        let form = match args.out {
            None => Form::Lines(out),
            Some(_) => {
                let by = concat!("xhop ", env!("CARGO_PKG_VERSION"));
                Form::File(Writer::new(out, by).map_err(Error::io(&path))?)
            }
        };
        let (sources, first) = (Vec::new(), None);
        Ok(Self { args, named, snaplen, path, form, sources, first, packets: 0 })
    }

    /// Somebody is captured from now on.
    pub fn add(&mut self, member: &Member) -> Result<()> {
        let (ifindex, name) = (member.host.ifindex, member.name.clone());
        if self.sources.iter().any(|known| known.ifindex == ifindex) {
            return Ok(());
        }
        if let Form::File(writer) = &mut self.form {
            let interface = Interface { name: member.host.name.clone(), description: name.clone() };
            writer.interface(&interface, self.snaplen).map_err(Error::io(&self.path))?;
        }
        self.sources.push(Source { ifindex, name, packets: 0 });
        Ok(())
    }

    /// Takes these, as far as they are wanted.
    pub fn take(&mut self, packets: Vec<Packet>) -> Result<()> {
        for packet in packets {
            if !self.is_full() && self.is_wanted(&packet) {
                self.one(&packet).map_err(Error::io(&self.path))?;
                self.packets += 1;
            }
        }
        self.flush()
    }

    /// Whether as many were taken as were asked for.
    pub fn is_full(&self) -> bool {
        self.args.count.is_some_and(|count| self.packets >= count)
    }

    /// Whether nobody reads any more.
    pub fn is_unread(&self) -> bool {
        match &self.form {
            Form::Lines(out) => out.get_ref().unread,
            Form::File(writer) => writer.get_ref().get_ref().unread,
        }
    }

    fn flush(&mut self) -> Result<()> {
        let done = match &mut self.form {
            Form::Lines(out) => out.flush(),
            Form::File(writer) => writer.flush(),
        };
        done.map_err(Error::io(&self.path))
    }

    /// Whether one who was named has sent it, or it is sent to the one.
    fn is_wanted(&self, packet: &Packet) -> bool {
        self.named.iter().any(|named| {
            named.host.ifindex == packet.ifindex
                || self.args.is_of_one() && packet.data.starts_with(&named.mac.0)
        })
    }

    fn one(&mut self, packet: &Packet) -> io::Result<()> {
        let of = |source: &(usize, &mut Source)| source.1.ifindex == packet.ifindex;
        let Some((place, source)) = self.sources.iter_mut().enumerate().find(of) else {
            return Ok(());
        };
        source.packets += 1;
        let (container, verdict) = (source.name.as_str(), packet.verdict.name());
        let Packet { time, length, data, .. } = packet;
        let out = match &mut self.form {
            Form::File(writer) => {
                let frame = Frame { time: *time, original_len: *length, data };
                return writer.packet(place as u32, &frame, verdict);
            }
            Form::Lines(out) => out,
        };
        let summary = match Wire::read(data) {
            Some(wire) => wire.to_string(),
            None => "shorter than an Ethernet header".to_owned(),
        };
        if self.args.json {
            let (time_ns, length) = (*time, *length);
            let version = 1;
            return line(out, &Line { version, time_ns, container, verdict, length, summary });
        }
        let since = time.saturating_sub(*self.first.get_or_insert(*time));
        let (seconds, micros) = (since / 1_000_000_000, since / 1000 % 1_000_000);
        writeln!(
            out,
            "{seconds:4}.{micros:06}  {container:<12}  {verdict:<9}  {length:>5} B  {summary}"
        )
    }

    /// Says what was seen and lost.
    pub fn end(mut self, tallies: &[(&Member, Tally)]) -> Result<()> {
        let done = match &mut self.form {
            Form::File(writer) => statistics(writer, &self.sources, tallies),
            Form::Lines(out) if self.args.json => {
                let containers = tallies.iter().map(|(member, tally)| {
                    let Tally { seen, lost } = *tally;
                    Counted { name: &member.name, seen, lost }
                });
                let containers = containers.collect();
                line(out, &Answer { version: 1, packets: self.packets, containers })
            }
            Form::Lines(_) => Ok(()),
        };
        done.map_err(Error::io(&self.path))?;
        self.flush()?;
        let lost: u64 = tallies.iter().map(|(_, tally)| tally.lost).sum();
        let seen: u64 = tallies.iter().map(|(_, tally)| tally.seen).sum();
        let more = match lost > 0 && self.snaplen > HEADERS {
            true => ": a lower --snaplen leaves room for more",
            false => "",
        };
        let all = if self.args.is_of_one() { " in all" } else { "" };
        let packets = self.packets;
        warn(format_args!("xhop: {packets} packets; {seen} came by{all}, {lost} lost{more}"));
        Ok(())
    }
}

fn statistics(
    writer: &mut Writer<BufWriter<Out>>,
    sources: &[Source],
    tallies: &[(&Member, Tally)],
) -> io::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    for (place, source) in (0..).zip(sources) {
        let of = |(member, _): &&(&Member, Tally)| member.host.ifindex == source.ifindex;
        let Some((_, tally)) = tallies.iter().find(of) else { continue };
        let counts = [tally.seen, tally.lost, source.packets];
        writer.statistics(place, now.as_nanos() as u64, counts)?;
    }
    Ok(())
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
