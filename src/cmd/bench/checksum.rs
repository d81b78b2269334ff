//! `xhop bench --checksum`: what summing a segment costs.

use serde::Serialize;
use xhop_asm::programs::{Method, Shipped};

use super::statistics::{median, sorted};
use crate::cmd::{print_json, say};
use crate::sys::bpf::{Prog, TestRun};
use crate::table::{Align, Table, ratio};
use crate::{Error, Result};

/// Lengths of the TCP segments that are summed, in bytes.
const SEGMENTS: [usize; 7] = [20, 64, 128, 256, 512, 1024, 1460];
/// Bytes that a measurement sums at most: it takes milliseconds, so that single interrupts do not count.
const WORK: usize = 40_000_000;
const METHODS: [Method; 5] =
    [Method::Empty, Method::Complete, Method::ReportLoop, Method::CsumDiff, Method::OneCall];

/// Medians for one length, in ns a packet; the empty program's cost is taken off.
#[derive(Serialize)]
struct Row {
    bytes: usize,
    complete_ns: u64,
    report_loop_ns: u64,
    csum_diff_ns: u64,
    /// Of the one length that is summed so, where the kernel does it.
    one_call_ns: Option<u64>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    unit: &'static str,
    rounds: u32,
    checksum: &'a [Row],
}

/// Measures each routine `rounds` times, in turn, and shows the medians.
pub fn run(rounds: u32, json: bool) -> Result<()> {
    let load = |method| Prog::load(Shipped::Measure(method), &[]);
    let programs = METHODS.into_iter().map(load).collect::<Result<Vec<_>>>()?;
    let measure = |bytes| row(&programs, bytes, rounds);
    let rows = SEGMENTS.into_iter().map(measure).collect::<Result<Vec<_>>>()?;
    if json {
        return print_json(&Answer { version: 1, unit: "ns", rounds, checksum: &rows });
    }
    let right = Align::Right;
    let mut table = Table::new(&[
        ("SEGMENT", right),
        ("COMPLETE", right),
        ("REPORT'S LOOP", right),
        ("RATIO", right),
        ("BPF_CSUM_DIFF", right),
        ("IN ONE CALL", right),
    ]);
    for row in rows {
        table.row(vec![
            format!("{} B", row.bytes),
            format!("{} ns", row.complete_ns),
            format!("{} ns", row.report_loop_ns),
            // The kernel gives whole nanoseconds: below one there is no ratio.
            format!("1/{}", ratio(row.report_loop_ns, row.complete_ns.max(1))),
            format!("{} ns", row.csum_diff_ns),
            row.one_call_ns.map_or("-".into(), |ns| format!("{ns} ns")),
        ]);
    }
    for line in table.to_string().lines() {
        say(format_args!("{line}"));
    }
    say(format_args!(
        "\nIn one call is the limit: the kernel's own code, from kernel 6.13. \
         Medians of {} rounds in turn, less the empty program's: only the ratio means anything elsewhere.",
        rounds
    ));
    Ok(())
}

fn row(programs: &[Prog], bytes: usize, rounds: u32) -> Result<Row> {
    let repeat = (WORK / bytes.max(200)) as u32;
    let mut times = [const { Vec::new() }; METHODS.len()];
    for _ in 0..rounds {
        for ((program, method), times) in programs.iter().zip(METHODS).zip(&mut times) {
            times.extend(time(program, method, bytes, repeat)?.map(u64::from));
        }
    }
    let medians = times.map(|times| (!times.is_empty()).then(|| median(&sorted(times))));
    let [empty, complete, report_loop, csum_diff, one_call] = medians;
    let less_empty = |time: u64| time.saturating_sub(empty.unwrap_or(0));
    let ns = |time: Option<u64>| time.map_or(0, less_empty);
    Ok(Row {
        bytes,
        complete_ns: ns(complete),
        report_loop_ns: ns(report_loop),
        csum_diff_ns: ns(csum_diff),
        one_call_ns: one_call.map(less_empty),
    })
}

/// Nanoseconds a run; `None` if it can't be summed so. A routine that is fast and wrong is an error.
fn time(program: &Prog, method: Method, bytes: usize, repeat: u32) -> Result<Option<u32>> {
    if method == Method::OneCall && bytes != usize::from(Method::ONE_CALL) {
        return Ok(None);
    }
    let (frame, check) = frame(bytes, method);
    let result = program.test_run(&TestRun { data_in: &frame, repeat, ..TestRun::default() })?;
    let expected = if method == Method::Empty { 0 } else { u32::from(check) };
    match result.retval {
        got if got == expected => Ok(Some(result.duration_ns)),
        got if method == Method::OneCall && got == Method::REFUSED as u32 => Ok(None),
        got => Err(Error::WrongSum { bytes, expected, got }),
    }
}

/// A TCP segment of `bytes` in an IPv4 frame as the method wants it, and its checksum as a native number.
/// Its field holds the pseudo-header's sum, as a sending stack leaves it; the report's program sets it
/// to zero before it sums.
fn frame(bytes: usize, method: Method) -> (Vec<u8>, u16) {
    const CHECK: usize = 14 + 20 + 16;
    let len = (bytes as u16).to_be_bytes();
    let total = (bytes as u16 + 20).to_be_bytes();
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, 6, 0, 0]);
    let addresses = [172, 17, 0, 2, 172, 17, 0, 3];
    frame.extend(addresses);
    frame.extend((0..bytes).map(|i| (i * 7 + 3) as u8));
    frame[14 + 20 + 12] = 5 << 4;
    frame[CHECK..CHECK + 2].fill(0);
    let pseudo = sum(&[&addresses[..], &[0, 6], &len].concat());
    let check = !sum(&[&pseudo.to_be_bytes(), &frame[14 + 20..]].concat());
    if method != Method::ReportLoop {
        frame[CHECK..CHECK + 2].copy_from_slice(&pseudo.to_be_bytes());
    }
    (frame, u16::from_ne_bytes(check.to_be_bytes()))
}

/// One's complement sum of big-endian words (RFC 1071).
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
