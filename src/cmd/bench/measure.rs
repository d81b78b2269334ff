//! What is measured.

use std::time::Duration;

use super::statistics::{median, quantile, sorted};
use crate::cmd::load::Route;
use crate::sys::cpu::Times;
use crate::sys::signal;
use crate::{Error, Result};

/// A figure of the table.
pub struct Metric {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Whether less of it is better.
    pub less_is_better: bool,
    /// The unit of its samples.
    pub unit: &'static str,
    /// The unit that people are shown, and how many of the other one it is.
    pub shown: (&'static str, u64),
}

/// One of each, in its unit.
pub type Sample = [u64; METRICS.len()];

/// All figures, in the order of a [`Sample`].
pub const METRICS: [Metric; 7] = [
    more("tcp-1-stream", "TCP, 1 stream", "Mbit/s", ("Gbit/s", 1000)),
    more("tcp-4-streams", "TCP, 4 streams", "Mbit/s", ("Gbit/s", 1000)),
    less("tcp-ping-pong-p50", "TCP ping-pong p50", "ns", ("us", 1000)),
    less("tcp-ping-pong-p99", "TCP ping-pong p99", "ns", ("us", 1000)),
    more("tcp-connections", "TCP connections", "1/s", ("k/s", 1000)),
    more("udp-64-bytes", "UDP 64 B", "1/s", ("k/s", 1000)),
    less("cpu", "CPU for 1 stream", "us/GB", ("s/GB", 1_000_000)),
];

/// How many measurements it takes to get them: two come by the way.
pub const MEASUREMENTS: u32 = METRICS.len() as u32 - 2;

const fn more(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    shown: (&'static str, u64),
) -> Metric {
    Metric { name, title, less_is_better: false, unit, shown }
}

const fn less(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    shown: (&'static str, u64),
) -> Metric {
    Metric { less_is_better: true, ..more(name, title, unit, shown) }
}

/// Measures all, each for `time`; tells before each which metric it is for. A signal ends it.
pub fn measure(route: &Route, time: Duration, mut tell: impl FnMut(usize)) -> Result<Sample> {
    let mut next = |metric| {
        tell(metric);
        refuse_interrupted()
    };
    next(0)?;
    let before = Times::read()?;
    let one = route.streams(1, time)?;
    let busy = Times::read()?.since(&before).busy;
    next(1)?;
    let four = route.streams(4, time)?;
    next(2)?;
    let times = sorted(route.ping_pong(time)?);
    next(4)?;
    let connections = route.connections(time)?;
    next(5)?;
    let datagrams = route.datagrams(time)?;
    refuse_interrupted()?;
    Ok([
        one.mbit(),
        four.mbit(),
        median(&times),
        quantile(&times, 99, 100),
        connections.a_second(),
        datagrams.a_second(),
        a_gigabyte(busy, one.count),
    ])
}

/// What a signal has cut short is no measurement.
fn refuse_interrupted() -> Result<()> {
    match signal::pending() {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

/// Microseconds for 10^9 bytes.
fn a_gigabyte(busy: Duration, bytes: u64) -> u64 {
    (busy.as_micros() as u64).saturating_mul(1_000_000) / (bytes / 1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_for_a_gigabyte() {
        assert_eq!(a_gigabyte(Duration::from_secs(2), 4_000_000_000), 500_000);
        assert_eq!(a_gigabyte(Duration::from_millis(10), 1_000_000), 10_000_000);
        assert_eq!(a_gigabyte(Duration::ZERO, 0), 0);
    }

    #[test]
    fn names_differ() {
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..at].iter().all(|other| other.name != metric.name), "{}", metric.name);
        }
    }
}
