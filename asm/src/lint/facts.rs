//! What a program does, in a few lines.

use std::fmt;

use super::field::Headers;
use crate::helper::Helper;
use crate::hook::Hook;
use crate::map::MapShape;

/// Ranges that are told apart; where there are more, what lies between them is taken in.
const MAX_RANGES: usize = 256;

/// Bytes of the packet, by the name of the header field that they belong to; `frame` where the path did
/// not find out, `l4` for what follows the IP header.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    /// First byte, from the packet's first.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
    /// `eth.dst`, `tcp.check`.
    pub name: &'static str,
}

/// What is done with a map.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MapUse {
    /// Whether keys are looked up.
    pub looked_up: bool,
    /// Whether packets are redirected by it.
    pub redirects: bool,
    /// Bytes of its values that are read.
    pub read: Vec<(u32, u32)>,
    /// Bytes of its values that are written.
    pub written: Vec<(u32, u32)>,
}

/// A jump back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Loop {
    /// Slot of the jump.
    pub from: usize,
    /// Slot where it lands.
    pub to: usize,
    /// How often at most a run takes it.
    pub rounds: u32,
}

/// What may be in `r0` at exit: ranges, apart from each other, in order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Verdicts(pub Vec<(u64, u64)>);

/// What a program does. Ranges are `start..end` in bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// Where it runs.
    pub hook: Hook,
    /// Packet bytes that are read, in order.
    pub reads: Vec<Span>,
    /// Packet bytes that are written, in order.
    pub writes: Vec<Span>,
    /// Fields of the context that are read, or written.
    pub context: Vec<&'static str>,
    /// What is done with each map, in the order of the program's maps.
    pub maps: Vec<MapUse>,
    /// Helpers that are called.
    pub helpers: Vec<Helper>,
    /// Bytes that a call of `bpf_csum_diff` sums at most. Kernels before 6.13 sum no more than
    /// [`Facts::SUMMED_BY_ALL`], and answer `-EINVAL`.
    pub summed: u32,
    /// Bytes of stack that are used.
    pub stack: u32,
    /// Instructions on the longest path.
    pub longest: u64,
    /// Jumps back, in order.
    pub loops: Vec<Loop>,
    /// What the program returns.
    pub verdicts: Verdicts,
    /// Steps that the walk took.
    pub steps: u64,
}

/// Whether packet bytes are read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Read,
    Write,
}

impl Facts {
    /// Bytes that `bpf_csum_diff` sums on all kernels (`MAX_BPF_STACK`).
    pub const SUMMED_BY_ALL: u32 = 512;

    /// Notes an access to packet bytes that are always the same.
    pub(super) fn packet(&mut self, way: Way, headers: &Headers, start: u32, end: u32) {
        if headers.impossible {
            return;
        }
        for (name, start, end) in headers.pieces(start, end) {
            self.span(way, Span { start, end, name });
        }
    }

    /// Notes an access somewhere in these packet bytes.
    pub(super) fn packet_within(&mut self, way: Way, headers: &Headers, start: u32, end: u32) {
        if headers.impossible {
            return;
        }
        self.span(way, Span { start, end, name: headers.region(start) });
    }

    fn span(&mut self, way: Way, mut new: Span) {
        let spans = match way {
            Way::Read => &mut self.reads,
            Way::Write => &mut self.writes,
        };
        // One piece with all that it touches.
        spans.retain(|old| {
            let apart = old.name != new.name || old.end < new.start || new.end < old.start;
            if !apart {
                (new.start, new.end) = (new.start.min(old.start), new.end.max(old.end));
            }
            apart
        });
        let place = spans.partition_point(|old| *old < new);
        spans.insert(place, new);
        if spans.len() > MAX_RANGES {
            *spans = whole(spans);
        }
    }

    /// What is known of this map.
    pub(super) fn map(&mut self, index: u32) -> &mut MapUse {
        let index = index as usize;
        if self.maps.len() <= index {
            self.maps.resize(index + 1, MapUse::default());
        }
        &mut self.maps[index]
    }

    /// Each fact with its name, for people; `maps` are the program's.
    pub fn lines(&self, maps: &[MapShape]) -> Vec<(&'static str, String)> {
        let uses = maps.iter().zip(&self.maps).map(|(map, used)| format!("{}: {used}", map.name));
        let helper = |helper: &Helper| match (helper.name().unwrap_or("unknown"), self.summed) {
            (name, bytes) if *helper == Helper::CSUM_DIFF && bytes > Self::SUMMED_BY_ALL => {
                format!("{name} ({bytes} bytes: -EINVAL before kernel 6.13)")
            }
            (name, _) => name.to_owned(),
        };
        let helpers = self.helpers.iter().map(helper);
        vec![
            ("reads", list(&self.reads)),
            ("writes", list(&self.writes)),
            ("context", list(&self.context)),
            ("maps", join(uses, "; ")),
            ("helpers", join(helpers, ", ")),
            ("stack", counted(self.stack.into(), "byte")),
            ("longest path", counted(self.longest, "instruction")),
            ("loops", list(&self.loops)),
            ("verdicts", self.verdicts.named(self.hook)),
        ]
    }

    /// Takes out what is said twice, once the walk is over.
    pub(super) fn tidy(&mut self) {
        for spans in [&mut self.reads, &mut self.writes] {
            let wide: Vec<Span> = spans.iter().filter(|span| span.name == "l4").cloned().collect();
            spans.retain(|span| {
                let of_l4 = ["tcp.", "udp.", "icmp."].iter().any(|p| span.name.starts_with(p));
                let in_wide = |w: &Span| w.start <= span.start && span.end <= w.end;
                !(of_l4 && wide.iter().any(in_wide))
            });
        }
        crate::sort(&mut self.loops);
    }
}

/// Notes that `start..end` of something is touched.
pub(super) fn touch(ranges: &mut Vec<(u32, u32)>, start: u32, end: u32) {
    add(ranges, (start, end));
}

/// Adds a range to those in order, as one with all that it touches.
fn add<N: Copy + Ord>(ranges: &mut Vec<(N, N)>, mut new: (N, N)) {
    ranges.retain(|old| {
        let apart = old.1 < new.0 || new.1 < old.0;
        if !apart {
            new = (new.0.min(old.0), new.1.max(old.1));
        }
        apart
    });
    let place = ranges.partition_point(|old| *old < new);
    ranges.insert(place, new);
    if let (true, Some(first), Some(last)) =
        (ranges.len() > MAX_RANGES, ranges.first(), ranges.last())
    {
        *ranges = vec![(first.0, last.1)];
    }
}

/// One span of each name, with all that those of the name touch.
fn whole(spans: &[Span]) -> Vec<Span> {
    let mut wholes: Vec<Span> = Vec::new();
    for span in spans {
        match wholes.iter_mut().find(|whole| whole.name == span.name) {
            Some(whole) => whole.end = whole.end.max(span.end),
            None => wholes.push(span.clone()),
        }
    }
    wholes
}

impl Verdicts {
    pub(super) fn add(&mut self, min: u64, max: u64) {
        add(&mut self.0, (min, max));
    }

    /// With the names that this hook has for them.
    pub fn named(&self, hook: Hook) -> String {
        let name = |(min, max): &(u64, u64)| {
            // The kernel's names are of 32 bits with a sign.
            let action = u32::try_from(*min).ok().and_then(|verdict| hook.action(verdict as i32));
            match (min == max, action) {
                (true, Some(action)) => action.to_owned(),
                (true, None) => min.to_string(),
                _ if (*min, *max) == (0, u32::MAX.into()) => "any number".to_owned(),
                _ => format!("{min}..={max}"),
            }
        };
        join(self.0.iter().map(name), ", ")
    }
}

/// `1 byte`, `2 bytes`
fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn list(items: &[impl fmt::Display]) -> String {
    join(items, ", ")
}

fn join(items: impl IntoIterator<Item = impl fmt::Display>, between: &str) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if texts.is_empty() { "none".into() } else { texts.join(between) }
}

impl fmt::Display for MapUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = |verb, ranges: &[(u32, u32)]| {
            let ranges: Vec<String> = ranges.iter().map(|(a, b)| format!("[{a}..{b}]")).collect();
            (!ranges.is_empty()).then(|| format!("{verb} {}", ranges.join(", ")))
        };
        let what = [
            self.looked_up.then(|| "looked up".to_owned()),
            self.redirects.then(|| "redirects".to_owned()),
            ranges("reads", &self.read),
            ranges("writes", &self.written),
        ];
        f.write_str(&join(what.into_iter().flatten(), ", "))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}..{}]", self.name, self.start, self.end)
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = counted(self.rounds.into(), "time");
        write!(f, "{} back to {}, at most {rounds}", self.from, self.to)
    }
}
