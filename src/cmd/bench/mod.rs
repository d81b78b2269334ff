//! `xhop bench`: the path between two containers in each way, and what the programs cost.

mod checksum;
mod frames;
mod measure;
mod pair;
mod report;
mod scale;
mod statistics;
mod ways;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use self::measure::{MEASUREMENTS, METRICS, Sample};
use self::pair::Pair;
use self::report::Results;
use self::statistics::percent;
use self::ways::{WAYS, order};
use super::lock;
use super::rights::Rights;
use crate::container::Name;
use crate::sys::cpu::Times;
use crate::sys::signal;
use crate::table::ratio;
use crate::{Error, Result};

/// An even number: in each two, each way comes as early in one as late in the other. That each is at each place
/// as often as any other takes twice as many as there are ways.
const ROUNDS: u32 = 6;
/// `--checksum` takes milliseconds.
const CHECKSUM_ROUNDS: u32 = 15;
/// `--frames`: as often for each of its five ways.
const FRAMES_ROUNDS: u32 = 10;
/// `--scale` takes half a minute for each.
const SCALE_ROUNDS: u32 = 3;
/// What it takes besides the measurements, for each way and round.
const CHANGE: Duration = Duration::from_millis(300);

/// How long it is looked whether the machine is quiet.
const LOOK: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "xhop bench [OPTIONS] <A> <B>\n       xhop bench --checksum [OPTIONS]\n       \
xhop bench --frames [OPTIONS]\n       xhop bench --scale [OPTIONS]"
)]
pub struct Args {
    /// The container that sends.
    #[arg(value_name = "A", required_unless_present_any = ["checksum", "frames", "scale"], conflicts_with_all = ["checksum", "frames", "scale"])]
    from: Option<Name>,
    /// The one that it sends to; they must not be joined.
    #[arg(value_name = "B", required_unless_present_any = ["checksum", "frames", "scale"], conflicts_with_all = ["checksum", "frames", "scale"])]
    to: Option<Name>,
    /// Time the checksum routines: ours, the two-byte loop of the report that this tool began with, and the kernel's.
    ///
    /// They run in the kernel on packets that they are given, without any network (BPF_PROG_TEST_RUN).
    #[arg(long)]
    checksum: bool,
    /// Count small frames that are born as XDP, as from a NIC: how many a second get to another container.
    ///
    /// The kernel makes them (BPF_PROG_TEST_RUN, kernels from 5.18), of 64 bytes, and what arrives is counted.
    /// In two throw-away containers, which vanish when it ends.
    #[arg(long, conflicts_with = "checksum")]
    frames: bool,
    /// Time `up` and `down` among more and more joined containers; tell memory, and packets between two.
    ///
    /// The containers are made in namespaces of its own, and vanish when it ends.
    #[arg(long, conflicts_with_all = ["checksum", "frames", "seconds", "force"])]
    scale: bool,
    /// Join no more than so many.
    #[arg(long, default_value_t = 1000, requires = "scale", value_parser = clap::value_parser!(u32).range(2..=1000))]
    containers: u32,
    /// How often each is measured, in turn; medians are shown [default: 6, with --checksum 15, with --frames 10,
    /// with --scale 3].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// How long each measurement takes.
    #[arg(long, default_value = "1", value_parser = seconds, conflicts_with_all = ["checksum", "frames"])]
    seconds: Duration,
    /// Join them as `up --force` does.
    #[arg(long, conflicts_with_all = ["checksum", "frames"])]
    force: bool,
    /// Print JSON, with every sample.
    #[arg(long)]
    json: bool,
}

/// "2" or "0.25".
fn seconds(text: &str) -> std::result::Result<Duration, &'static str> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Three digits after the point make it milliseconds.
    let millis = format!("{whole}{part:0<3}").parse::<u64>();
    match millis {
        Ok(millis @ 50..=60_000) if digits(whole) && digits(part) && part.len() <= 3 => {
            Ok(Duration::from_millis(millis))
        }
        _ => Err("from 0.05 to 60"),
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    if args.frames {
        Rights::FRAMES.take()?;
        return frames::run(args.rounds.unwrap_or(FRAMES_ROUNDS), args.json);
    }
    if args.scale {
        Rights::BENCH.take()?;
        return scale::run(args.rounds.unwrap_or(SCALE_ROUNDS), args.containers, args.json);
    }
    let (Some(from), Some(to)) = (args.from, args.to) else {
        Rights::CHECKSUM.take()?;
        return checksum::run(args.rounds.unwrap_or(CHECKSUM_ROUNDS), args.json);
    };
    Rights::BENCH.take()?;
    // Until all is over: who changed anything meanwhile would change what is measured.
    let lock = lock(false)?;
    let pair = Pair::find([from, to], args.force)?;
    let rounds = args.rounds.unwrap_or(ROUNDS);
    let mut progress = Progress::begin(rounds, args.seconds);
    let busy_before = busy()?;
    let signals = signal::PutOff::begin()?;
    let measured = measure(&pair, rounds, args.seconds, &mut progress);
    let restored = pair.take_out();
    progress.clear();
    let measured = match (measured, restored) {
        (Err(error), Err(left)) => {
            let undo = "take the two out".into();
            Err(Error::HalfDone { error: Box::new(error), undo, left: Box::new(left) })
        }
        (measured, restored) => restored.and(measured),
    };
    if let (true, Err(error)) = (signal::pending(), &measured) {
        let _ = writeln!(std::io::stderr(), "xhop: {error}");
    }
    // What is pending ends the process here.
    drop(signals);
    drop(lock);
    let (time, samples) = (args.seconds, measured?);
    Results { pair: &pair, rounds, time, busy_before, samples }.show(args.json)
}

/// How much of its time the machine is busy with other things, in percent.
fn busy() -> Result<u64> {
    let before = Times::read()?;
    std::thread::sleep(LOOK);
    let Times { busy, all } = Times::read()?.since(&before);
    Ok(percent(busy.as_millis() as u64, all.as_millis() as u64))
}

/// The samples of each way, by round.
fn measure(
    pair: &Pair,
    rounds: u32,
    time: Duration,
    progress: &mut Progress,
) -> Result<[Vec<Sample>; WAYS.len()]> {
    let mut samples = [const { Vec::new() }; WAYS.len()];
    for round in 0..rounds {
        for at in order(round) {
            let (Some(way), Some(samples)) = (WAYS.get(at), samples.get_mut(at)) else { continue };
            let tell = |what| progress.tell(round, way.name, what);
            samples.push(pair.measured(way, time, tell)?);
        }
    }
    Ok(samples)
}

/// What is told while it goes on, to who is at a terminal.
struct Progress {
    terminal: bool,
    rounds: u32,
}

impl Progress {
    /// Says how long it will take.
    fn begin(rounds: u32, time: Duration) -> Self {
        let each = time.saturating_mul(MEASUREMENTS).saturating_add(CHANGE);
        let whole = each.saturating_mul(rounds.saturating_mul(WAYS.len() as u32)) + LOOK;
        let _ = writeln!(
            std::io::stderr(),
            "takes {} s (rounds: {rounds}, ways: {}, {MEASUREMENTS} measurements of {} s each); other xhop \
             commands wait until it is through",
            whole.as_secs().max(1),
            WAYS.len(),
            ratio(time.as_millis() as u64, 1000),
        );
        Self { terminal: std::io::stderr().is_terminal(), rounds }
    }

    fn tell(&mut self, round: u32, way: &str, metric: usize) {
        if self.terminal {
            let what = METRICS.get(metric).map_or("", |metric| metric.title);
            let line = format!("\r\x1b[Kround {} of {}: {way}: {what}", round + 1, self.rounds);
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn clear(&mut self) {
        if self.terminal {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        let millis = |text| seconds(text).map(|time| time.as_millis());
        assert_eq!(
            ["1", "0.25", "2.5", "0.05", "60"].map(millis),
            [1000, 250, 2500, 50, 60_000].map(Ok)
        );
        for bad in ["", ".", "1.", ".5", "0", "0.049", "60.001", "-1", "+1", "1e3", "1.2345", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
