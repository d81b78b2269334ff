//! `xhop capture`: what comes by the programs of joined containers.

mod out;
mod sink;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use xhop_asm::blocks::capture::SNAPLEN_MAX;

use self::out::Opened;
use self::sink::Sink;
use super::rights::Rights;
use super::{down, lock, lock_now, warn};
use crate::container::{Name, Namespaces};
use crate::plan::capture::Capture;
use crate::plan::{Ground, Member, record};
use crate::sys::signal::PutOff;
use crate::{Error, Result};

/// How often it is looked who is captured still, and who has come, in milliseconds.
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

impl Args {
    /// Whether what others send to it is wanted too.
    fn is_of_one(&self) -> bool {
        self.containers.len() == 1
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::CAPTURE.take()?;
    // A pipe is opened when somebody reads, which may be never.
    let out = Opened::open(args.out.as_deref())?;
    let put_off = PutOff::begin()?;
    let done = capture(&args, out, &put_off);
    // Whatever became of it, it has ended.
    put_off.heed();
    done
}

fn capture(args: &Args, out: Opened, put_off: &PutOff) -> Result<()> {
    let ended = put_off.descriptor()?;
    let (mut capture, named) = match begin(args) {
        Ok(begun) => begun,
        Err(error) => {
            out.leave();
            return Err(error);
        }
    };
    let sink = Sink::new(args, &named, out.begin(ended), capture.snaplen());
    let done = sink.and_then(|sink| follow(args, &named, sink, &mut capture, put_off));
    let _lock = lock(false)?;
    let namespaces = Namespaces::find()?;
    // The programs are put back whatever went wrong.
    let ended = capture.end(Ground::new(&namespaces));
    let mut sink = done?;
    // What came until they were.
    sink.take(capture.take()?)?;
    sink.end(&capture.tallies()?)?;
    ended
}

/// Lets the programs tell; gives who was named.
fn begin(args: &Args) -> Result<(Capture, Vec<Member>)> {
    let _lock = lock(false)?;
    let namespaces = Namespaces::find()?;
    let ground = Ground::new(&namespaces);
    let all = record::all()?;
    let named = down::named(&args.containers, &all, &namespaces)?;
    let snaplen = args.snaplen.unwrap_or(if args.out.is_some() { SNAPLEN_MAX } else { HEADERS });
    let mut capture = Capture::begin(named.clone(), snaplen, ground)?;
    for other in all.into_iter().filter(|other| is_beside(other, args, &named)) {
        add(&mut capture, other, ground);
    }
    Ok((capture, named))
}

/// Whether it may send to the one who was named.
fn is_beside(other: &Member, args: &Args, named: &[Member]) -> bool {
    args.is_of_one()
        && !named.contains(other)
        && named.iter().any(|named| named.segment == other.segment)
}

/// Nobody who was not named keeps others from being captured.
fn add(capture: &mut Capture, other: Member, ground: Ground) {
    if let Err(error) = capture.add(other, ground) {
        warn(format_args!("xhop: warning: what it sends is not captured: {error}"));
    }
}

/// Until it is to end.
fn follow<'a>(
    args: &Args,
    named: &[Member],
    mut sink: Sink<'a>,
    capture: &mut Capture,
    put_off: &PutOff,
) -> Result<Sink<'a>> {
    let ended = put_off.descriptor()?;
    capture.members().try_for_each(|member| sink.add(member))?;
    let mut names: Vec<_> = named.iter().map(|member| member.name.as_str()).collect();
    names.dedup();
    let what = if args.is_of_one() { "sends and is sent" } else { "send" };
    warn(format_args!("xhop: captures what {} {what}: Ctrl-C ends it", names.join(", ")));
    let mut looked = Instant::now();
    loop {
        let mut fds = [capture.as_fd(), ended.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::from(LOOK)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys("poll", "this process")(errno)),
        }
        let over = fds[1].any().unwrap_or(true);
        sink.take(capture.take()?)?;
        if over || sink.is_full() || sink.is_unread() {
            return Ok(sink);
        }
        if looked.elapsed() >= Duration::from_millis(LOOK.into()) {
            looked = Instant::now();
            if !look(args, named, capture)? {
                warn(format_args!("xhop: nobody who was named is joined as he was: it ends"));
                return Ok(sink);
            }
            capture.members().try_for_each(|member| sink.add(member))?;
        }
    }
}

/// Who has come is captured too, of one alone. Whether anybody who was named is still there.
fn look(args: &Args, named: &[Member], capture: &mut Capture) -> Result<bool> {
    let namespaces = Namespaces::find()?;
    let ground = Ground::new(&namespaces);
    let still: Vec<Member> = capture.still(ground).into_iter().cloned().collect();
    if !named.iter().any(|named| still.iter().any(|member| member.host == named.host)) {
        return Ok(false);
    }
    let known: Vec<u32> = capture.tried().chain(still.iter().map(|m| m.host.ifindex)).collect();
    let is_new = |place: &record::Place| {
        args.is_of_one()
            && named.iter().any(|named| place.is_on(&named.segment))
            && !known.contains(&place.host)
    };
    // Where somebody is joining just now, there is another time.
    let new: Vec<_> = record::places()?.into_iter().filter(is_new).collect();
    if new.is_empty() {
        return Ok(true);
    }
    if let Some(_lock) = lock_now()? {
        for place in new {
            if let Ok(member) = place.read() {
                add(capture, member, ground);
            }
        }
    }
    Ok(true)
}
