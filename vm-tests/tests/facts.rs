//! What the lint says of programs holds of each run: random programs, and all that is shipped.

mod bridge;
#[path = "../../tests/generate/mod.rs"]
mod generate;

use std::collections::BTreeMap;

use bridge::{A_VETH, JOINED};
use generate::{Dice, KEYS, packet, text};
use xhop_asm::lint::{Facts, Span, lint_program};
use xhop_asm::programs::Shipped;
use xhop_asm::{AnyReg, FP, Helper, Hook, Insn, Mem, Program, Size};
use xhop_vm::joined::Container;
use xhop_vm::packet::catalogue;
use xhop_vm::wire::Mac;
use xhop_vm::{Step, Vm};

/// Random programs that the lint must have let through.
const PROGRAMS: usize = 1000;
/// Packets that each is run on.
const PACKETS: usize = 8;

/// A run, as far as its steps have told; it fails where they do what the facts do not have.
struct Watch<'a> {
    program: &'a Program,
    facts: &'a Facts,
    /// What registers hold, as the steps name it: `pkt+14`.
    registers: [String; 11],
    /// What was stored at `fp-8` and the like: to the steps it is a number when it comes back.
    stack: BTreeMap<String, String>,
    steps: u64,
    last: Option<usize>,
    rounds: BTreeMap<(usize, usize), u32>,
    accesses: usize,
}

impl<'a> Watch<'a> {
    fn new(program: &'a Program, facts: &'a Facts) -> Self {
        let mut registers: [String; 11] = Default::default();
        (registers[1], registers[10]) = ("ctx".into(), "fp".into());
        Self {
            program,
            facts,
            registers,
            stack: BTreeMap::new(),
            steps: 0,
            last: None,
            rounds: BTreeMap::new(),
            accesses: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        self.steps += 1;
        if let Some(last) = self.last.replace(step.slot).filter(|last| step.slot <= *last) {
            *self.rounds.entry((last, step.slot)).or_default() += 1;
        }
        match step.line.insn {
            Insn::Load { mem, .. } => self.access(mem, false),
            Insn::Store { mem, .. } => self.access(mem, true),
            Insn::Call { helper } => self.call(helper),
            _ => {}
        }
        let Some((place, value)) = step.effect.split_once(" = ") else { return };
        let register = place.strip_prefix('r').and_then(|number| number.parse::<usize>().ok());
        let back = match step.line.insn {
            Insn::Load { mem, .. } if (mem.base, mem.size) == (FP.into(), Size::U64) => {
                self.stack.get(&format!("fp{}", mem.off))
            }
            _ => None,
        };
        let value = back.map_or(value, |stored| stored).to_owned();
        match register.and_then(|number| self.registers.get_mut(number)) {
            Some(register) => *register = value,
            None => drop(self.stack.insert(place.to_owned(), value)),
        }
    }

    fn access(&mut self, mem: Mem, write: bool) {
        self.touch(mem.base, mem.off.into(), mem.size.bytes() as i64, write);
    }

    fn call(&mut self, helper: Helper) {
        assert!(self.facts.helpers.contains(&helper), "{helper} is not among the helpers");
        let reg = |n| AnyReg::new(n).expect("a register");
        let number = |n: usize| {
            let text = self.registers[n].trim_start_matches("0x");
            i64::from_str_radix(text, 16).unwrap_or(0)
        };
        match helper {
            Helper::MAP_LOOKUP_ELEM => self.touch(reg(2), 0, 4, false),
            Helper::CSUM_DIFF => {
                for (from, len) in [(1, number(2)), (3, number(4))] {
                    if len > 0 {
                        self.touch(reg(from), 0, len, false);
                    }
                }
            }
            _ => {}
        }
    }

    /// Bytes at a register's place plus `off`.
    fn touch(&mut self, base: AnyReg, off: i64, len: i64, write: bool) {
        let place = self.registers[usize::from(base.number())].clone();
        let at = place.rfind(['+', '-']).unwrap_or(place.len());
        let (room, by) = place.split_at(at);
        let start = by.parse::<i64>().unwrap_or(0) + off;
        let end = start + len;
        let facts = self.facts;
        let ranges = |spans: &[Span]| spans.iter().map(|s| (s.start, s.end)).collect::<Vec<_>>();
        let known = match room {
            "pkt" => within(start, end, &ranges(if write { &facts.writes } else { &facts.reads })),
            "fp" => end <= 0 && -start <= i64::from(facts.stack),
            "ctx" if write => len == 4 && facts.context.contains(&written(start)),
            "ctx" => len == 4 && facts.context.contains(&field(facts.hook, start)),
            _ => self.map(room).is_some_and(|at| {
                let used = &facts.maps[at];
                within(start, end, if write { &used.written } else { &used.read })
            }),
        };
        let verb = if write { "writes" } else { "reads" };
        assert!(known, "{verb} bytes {start}..{end} of {room}");
        self.accesses += 1;
    }

    /// The map whose value this is: `stats[00000000]`.
    fn map(&self, room: &str) -> Option<usize> {
        let name = room.split('[').next()?;
        self.program.maps().iter().position(|map| map.name == name)
    }

    fn ended(&self, verdict: u64) {
        let facts = self.facts;
        assert!(self.steps <= facts.longest, "{} steps, not {}", self.steps, facts.longest);
        let may = &facts.verdicts.0;
        assert!(may.iter().any(|(min, max)| (min..=max).contains(&&verdict)), "returns {verdict}");
        for ((from, to), rounds) in &self.rounds {
            let bound = facts.loops.iter().find(|one| (one.from, one.to) == (*from, *to));
            let bound = bound.map_or(0, |one| one.rounds);
            assert!(*rounds <= bound, "{from} back to {to}: {rounds} times, not {bound}");
        }
    }
}

/// Whether ranges have all bytes of `start..end` between them.
fn within(start: i64, end: i64, ranges: &[(u32, u32)]) -> bool {
    (start..end).all(|at| ranges.iter().any(|(a, b)| (i64::from(*a)..i64::from(*b)).contains(&at)))
}

fn written(off: i64) -> &'static str {
    match off {
        8 => "mark (written)",
        32 => "priority (written)",
        _ => "none",
    }
}

fn field(hook: Hook, off: i64) -> &'static str {
    match (hook, off) {
        (Hook::Tc, 0) => "len",
        (Hook::Tc, 20) => "vlan_present",
        (Hook::Tc, 40) => "ifindex",
        (Hook::Tc, 76) => "data",
        (Hook::Tc, 80) => "data_end",
        (Hook::Xdp | Hook::XdpFrags, 0) => "data",
        (Hook::Xdp | Hook::XdpFrags, 4) => "data_end",
        (Hook::Xdp | Hook::XdpFrags, 12) => "ingress_ifindex",
        (Hook::Xdp | Hook::XdpFrags, 16) => "rx_queue_index",
        _ => "none",
    }
}

/// Runs a program on a packet, and gives how many accesses were looked at.
fn watch(vm: &Vm, program: &Program, facts: &Facts, packet: &[u8], name: &str) -> usize {
    let mut watch = Watch::new(program, facts);
    let outcome = vm.trace(packet, A_VETH, &mut |step| watch.step(&step));
    watch.ended(outcome.unwrap_or_else(|error| panic!("{name}: {error}")).verdict);
    watch.accesses
}

#[test]
fn of_random_programs() {
    let first = std::env::var("XHOP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let (mut accepted, mut accesses) = (0, 0);
    for seed in first.. {
        let program = generate::program(seed);
        let report = lint_program(&program);
        if !report.findings.is_empty() {
            continue;
        }
        let vm = Vm::new(&program).expect("loads");
        let maps = vm.maps();
        for key in 0..KEYS {
            maps[0].insert(key.to_ne_bytes(), [key as u8; 16]).expect("fits");
        }
        maps[2].insert(1_u32.to_ne_bytes(), 1_u32.to_ne_bytes()).expect("fits");
        let mut dice = Dice::new(!seed);
        let name = format!("seed {seed}\n{}{:?}", text(&program), report.facts);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let packets = (0..PACKETS).map(|_| packet(&mut dice));
            packets
                .map(|packet| watch(&vm, &program, &report.facts, &packet, "random"))
                .sum::<usize>()
        }));
        accesses += failed.unwrap_or_else(|_| panic!("{name}"));
        accepted += 1;
        if accepted == PROGRAMS {
            break;
        }
    }
    assert!(accesses > 10 * PROGRAMS, "{accesses} accesses");
}

#[test]
fn of_all_that_is_shipped() {
    for shipped in Shipped::ALL {
        let program = shipped.program().expect("assembles");
        let facts = lint_program(&program).facts;
        let vm = Vm::new(&program).expect("loads");
        for (host, ifindex) in JOINED {
            let addresses = vec![host.v4.into(), host.v6.into()];
            Container { ifindex, mac: Mac(host.mac), addresses }.join(&vm).expect("fits");
        }
        for case in catalogue() {
            watch(&vm, &program, &facts, &case.frame, &case.name);
        }
    }
}
