//! `xhop capture`: what comes by the programs of joined containers.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use xhop_asm::blocks::capture::SNAPLEN_MAX;
use xhop_vm::pcap::{Frame, Interface, Writer};
use xhop_vm::wire::Wire;

use super::rights::Rights;
use super::{down, lock, put, say, unread, warn};
use crate::container::{Name, Namespaces};
use crate::plan::capture::{Capture, Packet, Tally};
use crate::plan::{Ground, Member, record};
use crate::sys::signal::PutOff;
use crate::{Error, Result};

/// How often it is looked whether anybody is captured still, in milliseconds.
const LOOK: u16 = 1000;
/// What a line a packet needs of it: all headers.
const HEADERS: u32 = 128;

/// What to capture.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The containers: what they send. Of one alone also what others that are joined send to it.
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<Name>,
    /// Write a pcapng file instead of a line a packet. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// End after so many packets.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Bytes of a packet that are captured, at most 32000 [default: 128; with --out: 32000].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(14..=i64::from(SNAPLEN_MAX)))]
    snaplen: Option<u32>,
    /// Print a JSON object a line: each packet, and at the end what was seen and lost.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::CAPTURE.take()?;
    let put_off = PutOff::begin()?;
    let out = args.out.as_deref().map(open).transpose()?;
    let (mut capture, named) = begin(&args)?;
    let done = follow(&args, &named, out, &mut capture, &put_off);
    let _lock = lock(false)?;
    let namespaces = Namespaces::find()?;
    // The programs are put back whatever went wrong.
    let ended = capture.end(Ground::new(&namespaces));
    let mut sink = done?;
    ended?;
    // What came until they were.
    sink.take(&mut capture)?;
    sink.end(&capture.tallies()?)?;
    put_off.heed();
    Ok(())
}

/// Lets the programs tell; gives who was named.
fn begin(args: &Args) -> Result<(Capture, Vec<Member>)> {
    let _lock = lock(false)?;
    let namespaces = Namespaces::find()?;
    let all = record::all()?;
    let named = down::named(&args.containers, &all, &namespaces)?;
    let with = |member: &Member| named.iter().any(|named| named.segment == member.segment);
    let members = match args.containers.len() {
        1 => all.into_iter().filter(with).collect(),
        _ => named.clone(),
    };
    let snaplen = args.snaplen.unwrap_or(if args.out.is_some() { SNAPLEN_MAX } else { HEADERS });
    Ok((Capture::begin(members, snaplen, Ground::new(&namespaces))?, named))
}

/// Until it is to end.
fn follow<'a>(
    args: &'a Args,
    named: &'a [Member],
    out: Option<Box<dyn Write>>,
    capture: &mut Capture,
    put_off: &PutOff,
) -> Result<Sink<'a>> {
    let ended = put_off.descriptor()?;
    let mut sink = Sink::open(args, named, out, capture)?;
    let mut looked = Instant::now();
    loop {
        let mut fds = [capture.as_fd(), ended.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::from(LOOK)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys("poll", "this process")(errno)),
        }
        let over = fds[1].any().unwrap_or(true);
        sink.take(capture)?;
        if over || sink.is_full() || unread() {
            return Ok(sink);
        }
        if looked.elapsed() >= Duration::from_millis(LOOK.into()) {
            looked = Instant::now();
            if capture.still().is_empty() {
                warn(format_args!("xhop: nobody who was captured is joined as he was: it ends"));
                return Ok(sink);
            }
        }
    }
}

/// Where packets go.
struct Sink<'a> {
    args: &'a Args,
    /// Who was named.
    named: &'a [Member],
    /// Who is captured, in the order of the file's interfaces: the host's end, and the name.
    captured: Vec<(u32, String)>,
    file: Option<(&'a Path, Writer<Box<dyn Write>>)>,
    /// The time of the first packet.
    first: Option<u64>,
    packets: u64,
}

/// A packet, as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
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
    fn open(
        args: &'a Args,
        named: &'a [Member],
        out: Option<Box<dyn Write>>,
        capture: &Capture,
    ) -> Result<Self> {
        let members = capture.still();
        let interface = |member: &&Member| Interface {
            name: member.host.name.clone(),
            description: member.name.clone(),
        };
        let interfaces: Vec<_> = members.iter().map(interface).collect();
        let file = args.out.as_deref().zip(out).map(|(path, out)| {
            let by = concat!("xhop ", env!("CARGO_PKG_VERSION"));
            let writer = Writer::new(out, by, &interfaces, capture.snaplen());
            writer.map(|writer| (path, writer)).map_err(Error::io(path))
        });
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        warn(format_args!("xhop: captures what {} send: Ctrl-C ends it", names.join(", ")));
        let captured = members.iter().map(|member| (member.host.ifindex, member.name.clone()));
        let captured = captured.collect();
        Ok(Self { args, named, captured, file: file.transpose()?, first: None, packets: 0 })
    }

    /// Takes what there is.
    fn take(&mut self, capture: &mut Capture) -> Result<()> {
        for packet in capture.take() {
            if !self.is_full() && self.is_wanted(&packet) {
                self.one(&packet)?;
                self.packets += 1;
            }
        }
        match &mut self.file {
            Some((path, writer)) => writer.flush().map_err(Error::io(*path)),
            None => Ok(()),
        }
    }

    fn is_full(&self) -> bool {
        self.args.count.is_some_and(|count| self.packets >= count)
    }

    /// Whether one who was named has sent it, or it is sent to the one.
    fn is_wanted(&self, packet: &Packet) -> bool {
        self.named.iter().any(|named| {
            named.host.ifindex == packet.ifindex
                || self.named.len() == 1 && packet.data.starts_with(&named.mac.0)
        })
    }

    fn one(&mut self, packet: &Packet) -> Result<()> {
        let place = self.captured.iter().position(|(ifindex, _)| *ifindex == packet.ifindex);
        let place = place.unwrap_or_default();
        if let Some((path, writer)) = &mut self.file {
            let Packet { time, length: original_len, .. } = *packet;
            let frame = Frame { time, original_len, data: &packet.data };
            let written = writer.packet(place as u32, &frame, packet.verdict.name());
            return written.map_err(Error::io(*path));
        }
        let container = self.captured.get(place).map_or("?", |(_, name)| name);
        let summary = match Wire::read(&packet.data) {
            Some(wire) => wire.to_string(),
            None => "shorter than an Ethernet header".to_owned(),
        };
        let (verdict, length) = (packet.verdict.name(), packet.length);
        if self.args.json {
            let time_ns = packet.time;
            return line(&Line { time_ns, container, verdict, length, summary });
        }
        let since = packet.time.saturating_sub(*self.first.get_or_insert(packet.time));
        let (seconds, micros) = (since / 1_000_000_000, since / 1000 % 1_000_000);
        say(format_args!(
            "{seconds:4}.{micros:06}  {container:<12}  {verdict:<9}  {length:>5} B  {summary}"
        ));
        Ok(())
    }

    /// Says what was seen and lost.
    fn end(&mut self, tallies: &[(&Member, Tally)]) -> Result<()> {
        if let Some((path, writer)) = &mut self.file {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            for (place, (_, tally)) in (0..).zip(tallies) {
                let now = now.as_nanos() as u64;
                writer
                    .statistics(place, now, [tally.seen, tally.lost])
                    .map_err(Error::io(*path))?;
            }
            writer.flush().map_err(Error::io(*path))?;
        }
        let lost: u64 = tallies.iter().map(|(_, tally)| tally.lost).sum();
        let seen: u64 = tallies.iter().map(|(_, tally)| tally.seen).sum();
        if self.args.json {
            let counted = tallies.iter().map(|(member, tally)| {
                let Tally { seen, lost } = *tally;
                Counted { name: &member.name, seen, lost }
            });
            let containers = counted.collect();
            return line(&Answer { version: 1, packets: self.packets, containers });
        }
        let more = match lost {
            0 => "",
            _ => ": a lower --snaplen leaves room for more",
        };
        let packets = self.packets;
        warn(format_args!("xhop: {packets} packets of {seen} that came by; {lost} lost{more}"));
        Ok(())
    }
}

/// Standard output, whose reader may have seen enough.
struct Piped;

impl Write for Piped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nobody else is to read what others have sent.
fn open(path: &Path) -> Result<Box<dyn Write>> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    match (path.as_os_str() == "-", io::stdout().is_terminal()) {
        (true, true) => Err(Error::Terminal { format: "pcapng" }),
        (true, false) => Ok(Box::new(BufWriter::new(Piped))),
        (false, _) => {
            let file = options.open(path).map_err(Error::io(path))?;
            Ok(Box::new(BufWriter::new(file)))
        }
    }
}

fn line(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|error| Error::Json(error.to_string()))?;
    put(format!("{text}\n").as_bytes());
    Ok(())
}
