//! What became of the packets, for people and as JSON.

use std::fmt::Arguments;

use serde::Serialize;
use xhop_asm::programs::Shipped;
use xhop_vm::joined::{Container, Found};

use super::super::{print_json, say, warn};
use super::report::{Counter, LONGEST, Packet, Step, Totals};
use crate::table::{Align, Table};
use crate::{Error, Result};

/// How many of those that are no containers are told.
const SOME: usize = 8;

/// How, and where, it is told.
pub struct Show {
    pub json: bool,
    pub stderr: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    program: &'static str,
    containers: Vec<Joined>,
    left_out: Vec<LeftOut>,
    packets: &'a [Packet],
    totals: &'a Totals,
    counters: &'a [Counter],
}

#[derive(Serialize)]
struct Joined {
    ifindex: u32,
    mac: String,
    addresses: Vec<String>,
}

#[derive(Serialize)]
struct LeftOut {
    mac: String,
    why: &'static str,
}

impl Joined {
    fn new(container: &Container) -> Self {
        Self {
            ifindex: container.ifindex,
            mac: container.mac.to_string(),
            addresses: container.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Show {
    fn line(&self, line: Arguments) {
        match self.stderr {
            true => warn(line),
            false => say(line),
        }
    }

    /// What is run, who is joined, and the table's head.
    pub fn head(&self, program: Shipped, who: &Found, asks: bool, stated: bool) {
        if self.json {
            return;
        }
        let name = program.name();
        match (asks, stated) {
            (false, _) => self.line(format_args!("{name}: asks for no containers")),
            (true, true) => self.line(format_args!("{name}: containers, as stated:")),
            (true, false) => self.line(format_args!(
                "{name}: containers, as read off the capture (--container states others):"
            )),
        }
        if asks {
            for joined in who.containers.iter().map(Joined::new) {
                let Joined { ifindex, mac, addresses } = joined;
                self.line(format_args!("{ifindex:>7} {mac} {}", addresses.join(" ")));
            }
            if who.containers.is_empty() {
                self.line(format_args!("   none"));
            }
            for (mac, why) in who.left_out.iter().take(SOME) {
                self.line(format_args!("    not {mac}: {why}"));
            }
            if let Some(more @ 1..) = who.left_out.len().checked_sub(SOME) {
                self.line(format_args!("    nor {more} others"));
            }
        }
        self.line(format_args!(
            "\n{:>7} {:>16} {:>6} {:>4} {:<12} {:>4} {:<11} WHAT",
            "PACKET", "TIME", "LENGTH", "IN", "VERDICT", "TO", "CHANGED"
        ));
    }

    /// A row of the table.
    pub fn packet(&self, packet: &Packet, nanos: bool) {
        let index = |ifindex: Option<u32>| match ifindex {
            None | Some(0) => "-".to_owned(),
            Some(ifindex) => ifindex.to_string(),
        };
        let changed: Vec<String> =
            packet.changed.iter().map(|[from, to]| format!("{from}..{to}")).collect();
        let changed = if changed.is_empty() { "-".to_owned() } else { changed.join(",") };
        let cut = match packet.length < packet.original_length as usize {
            true => format!(" (cut from {})", packet.original_length),
            false => String::new(),
        };
        self.line(format_args!(
            "{:>7} {:>16} {:>6} {:>4} {:<12} {:>4} {changed:<11} {}{cut}",
            packet.number,
            seconds(packet.offset_ns, nanos),
            packet.length,
            index(Some(packet.ingress)),
            packet.verdict,
            index(packet.redirect),
            packet.summary,
        ));
    }

    /// Before the steps of a packet.
    pub fn traced(&self, packet: &Packet) {
        self.line(format_args!("\npacket {}: {}", packet.number, packet.summary));
    }

    /// An instruction that was executed.
    pub fn step(&self, step: &Step) {
        for label in &step.labels {
            self.line(format_args!("{label}:"));
        }
        let Step { slot, instruction, effect, comment, .. } = step;
        self.line(format_args!("{slot:>7}: {instruction:<36} {effect:<36} ; {comment}"));
    }

    /// What stands below the table.
    pub fn totals(&self, totals: &Totals, counters: &[Counter]) {
        let Totals { packets, cut, long, changed, .. } = totals;
        let s = if *packets == 1 { "" } else { "s" };
        self.line(format_args!("\n{packets} packet{s}, {changed} changed"));
        for total in &totals.verdicts {
            self.line(format_args!("{:>7} {}", total.packets, total.verdict));
        }
        if *cut > 0 {
            self.line(format_args!(
                "cut by the capture and run as they are: {cut}; capture with `tcpdump -s0`"
            ));
        }
        if *long > 0 {
            self.line(format_args!(
                "longer than the {LONGEST} bytes that native XDP takes: {long}; joined containers send none: \
                 capture after `ethtool -K eth0 tso off` in them"
            ));
        }
        if counters.is_empty() {
            return;
        }
        let columns = [("STATS", Align::Left), ("PACKETS", Align::Right), ("BYTES", Align::Right)];
        let mut table = Table::new(&columns);
        for counter in counters {
            let Counter { verdict, packets, bytes } = counter;
            table.row(vec![(*verdict).to_owned(), packets.to_string(), bytes.to_string()]);
        }
        self.line(format_args!("\n{}", table.to_string().trim_end()));
    }

    /// All of it at once.
    pub fn json(
        &self,
        program: Shipped,
        who: &Found,
        packets: &[Packet],
        totals: &Totals,
        counters: &[Counter],
    ) -> Result<()> {
        let left_out = who.left_out.iter().map(|(mac, why)| LeftOut { mac: mac.to_string(), why });
        let answer = Answer {
            version: 1,
            program: program.name(),
            containers: who.containers.iter().map(Joined::new).collect(),
            left_out: left_out.collect(),
            packets,
            totals,
            counters,
        };
        if !self.stderr {
            return print_json(&answer);
        }
        let text = serde_json::to_string_pretty(&answer);
        warn(format_args!("{}", text.map_err(|error| Error::Json(error.to_string()))?));
        Ok(())
    }
}

/// Nanoseconds as seconds, with six digits or nine after the point.
fn seconds(nanos: i64, all: bool) -> String {
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    match all {
        true => format!("{sign}{whole}.{rest:09}"),
        false => format!("{sign}{whole}.{:06}", rest / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_of_both_kinds() {
        assert_eq!(seconds(1_000_002_003, false), "1.000002");
        assert_eq!(seconds(1_000_002_003, true), "1.000002003");
        assert_eq!(seconds(-1_500_000_000, false), "-1.500000");
    }
}
