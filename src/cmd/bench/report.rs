//! What the samples say: a table for people, JSON with all of them for programs.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::measure::{METRICS, Metric, Sample};
use super::pair::Pair;
use super::statistics::{Summary, bar, percent};
use super::ways::WAYS;
use crate::Result;
use crate::cmd::{print_json, say};
use crate::table::{Align, Table, ratio};

/// Percent of the machine's time that others may use, before it is said.
pub const QUIET: u64 = 5;

/// What was measured, and how.
pub struct Results<'a> {
    /// Between whom.
    pub pair: &'a Pair,
    /// How often.
    pub rounds: u32,
    /// How long each time.
    pub time: Duration,
    /// How much of its time the machine was busy before, in percent.
    pub busy_before: u64,
    /// For each way, by round.
    pub samples: [Vec<Sample>; WAYS.len()],
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    from: &'a str,
    to: &'a str,
    address: IpAddr,
    bridge: &'a str,
    br_netfilter: bool,
    rounds: u32,
    milliseconds: u64,
    busy_percent_before: u64,
    tests: Vec<Test>,
}

#[derive(Serialize)]
struct Test {
    test: &'static str,
    #[serde(skip)]
    title: &'static str,
    unit: &'static str,
    less_is_better: bool,
    ways: Vec<Cell>,
}

/// One metric of one way.
#[derive(Serialize)]
struct Cell {
    way: &'static str,
    median: u64,
    percent_of_plain: u64,
    spread_percent: u64,
    unclear: bool,
    samples: Vec<u64>,
}

impl Results<'_> {
    /// Prints them.
    pub fn show(&self, json: bool) -> Result<()> {
        let tests: Vec<Test> = (0..METRICS.len()).filter_map(|at| self.test(at)).collect();
        match json {
            true => self.print(tests),
            false => {
                self.tell(&tests);
                Ok(())
            }
        }
    }

    fn test(&self, at: usize) -> Option<Test> {
        let Metric { name, title, unit, less_is_better, .. } = *METRICS.get(at)?;
        let of = |samples: &Vec<Sample>| -> Vec<u64> {
            samples.iter().filter_map(|sample| sample.get(at).copied()).collect()
        };
        let plain = Summary::of(self.samples.first().map(of)?);
        let cell = |(way, samples): (usize, &Vec<Sample>)| {
            let samples = of(samples);
            let summary = Summary::of(samples.clone());
            Cell {
                way: WAYS.get(way).map_or("", |way| way.name),
                median: summary.median,
                percent_of_plain: percent(summary.median, plain.median),
                spread_percent: summary.spread(),
                unclear: way > 0 && summary.unclear(&plain),
                samples,
            }
        };
        let ways = self.samples.iter().enumerate().map(cell).collect();
        Some(Test { test: name, title, unit, less_is_better, ways })
    }

    fn print(&self, tests: Vec<Test>) -> Result<()> {
        let [from, to] = self.pair.names();
        print_json(&Answer {
            version: 1,
            from,
            to,
            address: self.pair.address,
            bridge: self.pair.bridge(),
            br_netfilter: self.pair.br_netfilter,
            rounds: self.rounds,
            milliseconds: self.time.as_millis() as u64,
            busy_percent_before: self.busy_before,
            tests,
        })
    }

    fn tell(&self, tests: &[Test]) {
        let ([from, to], bridge) = (self.pair.names(), self.pair.bridge());
        let (address, rounds) = (self.pair.address, self.rounds);
        let iptables = if self.pair.br_netfilter { "on: it goes through iptables" } else { "off" };
        say(format_args!("{from} to {to} ({address}); medians, rounds: {rounds}"));
        say(format_args!("plain: bridge {bridge}, br_netfilter {iptables}\n"));
        for line in table(tests).to_string().lines() {
            say(format_args!("{line}"));
        }
        say(format_args!(
            "Below each figure its ratio to the plain path's, which is a bar of ten. CPU: the time that the \
             machine's\nprocessors were not idle, whatever kept them busy, for 10^9 bytes."
        ));
        if tests.iter().flat_map(|test| &test.ways).any(|cell| cell.unclear) {
            say(format_args!(
                "~ can't be told from the plain path's: the middle halves of their samples overlap, or there \
                 are too few."
            ));
        }
        if self.busy_before > QUIET {
            say(format_args!(
                "The machine was {} % busy before: ratios are those of such a machine, and CPU has the others' \
                 time in it.",
                self.busy_before
            ));
        }
        let cells = tests.iter().flat_map(|test| test.ways.iter().map(move |way| (test, way)));
        if let Some((test, cell)) = cells.max_by_key(|(_, cell)| cell.spread_percent) {
            say(format_args!(
                "Widest spread: {}, {}: the middle half of the samples is {} % of the median wide.",
                test.title, cell.way, cell.spread_percent
            ));
        }
    }
}

fn table(tests: &[Test]) -> Table {
    let left = |heading| (heading, Align::Left);
    let columns: Vec<_> = ["TEST"].into_iter().chain(WAYS.map(|way| way.name)).map(left).collect();
    let mut table = Table::new(&columns);
    for (test, metric) in tests.iter().zip(&METRICS) {
        let better = if metric.less_is_better { "less is better" } else { "more is better" };
        let plain = test.ways.first().map_or(0, |plain| plain.median);
        let cells = test.ways.iter().map(|way| cell(way, metric, plain));
        table.row([format!("{}\n  {better}\n ", metric.title)].into_iter().chain(cells).collect());
    }
    table
}

/// The figure; below it the ratio, and a bar for it.
fn cell(cell: &Cell, metric: &Metric, plain: u64) -> String {
    let (unit, many) = metric.shown;
    let mark = if cell.unclear { '~' } else { ' ' };
    let (figure, times) = (ratio(cell.median, many), ratio(cell.percent_of_plain, 100));
    format!("{figure:>7} {unit}\n{times:>7}{mark}{}", bar(cell.median, plain))
}
