//! What became of the packets, as values.

use serde::Serialize;
use xhop_asm::Hook;
use xhop_asm::blocks::count::{self, VERDICTS, value};
use xhop_asm::programs::Shipped;
use xhop_vm::pcap::Frame;
use xhop_vm::wire::Wire;
use xhop_vm::{Outcome, Vm};

/// The longest frame that a veth gives to native XDP: a page of 4 KiB without the room at its head and for
/// `skb_shared_info` at its end (drivers/net/veth.c, `veth_xdp_set`).
pub const LONGEST: u32 = 4096 - 256 - 320;

/// One packet.
#[derive(Serialize)]
pub struct Packet {
    /// From 1 on, in the capture's order.
    pub number: usize,
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Nanoseconds since the capture's first packet; clocks may go back.
    pub offset_ns: i64,
    /// Bytes that were captured and run.
    pub length: usize,
    /// Bytes on the wire.
    pub original_length: u32,
    /// The ifindex that it came in by; 0 if that is nobody's.
    pub ingress: u32,
    /// Who to whom, and what.
    pub summary: String,
    /// An `XDP_*` or `TC_ACT_*` action, or a number that is none.
    pub verdict: String,
    /// The ifindex that it is redirected to.
    pub redirect: Option<u32>,
    /// Bytes that are not as they came: first, and the one after the last.
    pub changed: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<Step>,
}

/// One instruction that was executed.
#[derive(Serialize)]
pub struct Step {
    pub slot: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<&'static str>,
    pub instruction: String,
    pub comment: String,
    /// What it did.
    pub effect: String,
}

/// Packets by what became of them.
#[derive(Serialize, Default)]
pub struct Totals {
    pub packets: usize,
    /// Those that the capture cut.
    pub cut: usize,
    /// Those that are longer than native XDP takes.
    pub long: usize,
    /// Those with changed bytes.
    pub changed: usize,
    pub verdicts: Vec<Total>,
}

#[derive(Serialize)]
pub struct Total {
    pub verdict: &'static str,
    pub packets: usize,
}

/// What the program counted itself, in `stats`.
#[derive(Serialize)]
pub struct Counter {
    pub verdict: &'static str,
    pub packets: u64,
    pub bytes: u64,
}

impl Packet {
    /// Before it is run. `first` is the time of the capture's first packet.
    pub fn new(number: usize, frame: &Frame, first: u64, ingress: u32) -> Self {
        let summary = match Wire::read(frame.data) {
            Some(wire) => wire.to_string(),
            None => "shorter than an Ethernet header".to_owned(),
        };
        Self {
            number,
            time_ns: frame.time,
            offset_ns: frame.time.wrapping_sub(first) as i64,
            length: frame.data.len(),
            original_length: frame.original_len,
            ingress,
            summary,
            verdict: String::new(),
            redirect: None,
            changed: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// After it was run.
    pub fn judge(&mut self, program: Shipped, frame: &Frame, outcome: &Outcome) {
        self.verdict = match action(program, outcome) {
            Some(action) => action.to_owned(),
            None => format!("{:#06x}", outcome.verdict),
        };
        self.redirect = outcome.redirect;
        self.changed = changed(frame.data, &outcome.packet);
    }
}

impl From<&xhop_vm::Step<'_>> for Step {
    fn from(step: &xhop_vm::Step) -> Self {
        Self {
            slot: step.slot,
            labels: step.labels.clone(),
            instruction: step.line.insn.to_string(),
            comment: step.line.comment.to_string(),
            effect: step.effect.clone(),
        }
    }
}

impl Totals {
    pub fn add(&mut self, program: Shipped, frame: &Frame, outcome: &Outcome) {
        self.packets += 1;
        self.cut += usize::from(frame.is_cut());
        // An skb may have any length, and a frame in pieces too.
        let long = outcome.hook == Hook::Xdp && frame.original_len > LONGEST;
        self.long += usize::from(long);
        self.changed += usize::from(frame.data != outcome.packet);
        let verdict = action(program, outcome).unwrap_or("a number");
        match self.verdicts.iter_mut().find(|total| total.verdict == verdict) {
            Some(total) => total.packets += 1,
            None => self.verdicts.push(Total { verdict, packets: 1 }),
        }
    }
}

/// The verdict's name; `None` if it is a number: a checksum, from `measure`.
fn action(program: Shipped, outcome: &Outcome) -> Option<&'static str> {
    match program {
        Shipped::Measure(_) => None,
        _ => outcome.hook.action(outcome.verdict as u32 as i32),
    }
}

/// Where bytes differ, and what one has more than the other.
fn changed(before: &[u8], after: &[u8]) -> Vec<[usize; 2]> {
    let mut ranges: Vec<[usize; 2]> = Vec::new();
    for at in 0..before.len().max(after.len()) {
        if before.get(at) == after.get(at) {
            continue;
        }
        match ranges.last_mut() {
            Some([_, end]) if *end == at => *end += 1,
            _ => ranges.push([at, at + 1]),
        }
    }
    ranges
}

/// All counters, of a program that has some.
pub fn counters(vm: &Vm) -> Vec<Counter> {
    let Ok(stats) = vm.map(count::stats().name) else { return Vec::new() };
    let counter = |verdict: count::Verdict| {
        let entry = stats.get((verdict as u32).to_ne_bytes()).ok()??;
        let word = |at: i16| {
            let bytes = entry.get(at as usize..)?.first_chunk()?;
            Some(u64::from_ne_bytes(*bytes))
        };
        let (packets, bytes) = (word(value::PACKETS)?, word(value::BYTES)?);
        Some(Counter { verdict: verdict.name(), packets, bytes })
    };
    VERDICTS.into_iter().filter_map(counter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_ranges() {
        assert_eq!(changed(&[1, 2, 3], &[1, 2, 3]), [[0; 2]; 0]);
        assert_eq!(changed(&[1, 2, 3, 4], &[0, 2, 0, 0]), [[0, 1], [2, 4]]);
        assert_eq!(changed(&[1, 2], &[1]), [[1, 2]]);
        assert_eq!(changed(&[], &[1, 2]), [[0, 2]]);
    }
}
