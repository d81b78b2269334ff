//! Mapping back, against kernels that were made up: what each is known to do is recognised, and any other
//! bit is not.

use xhop_asm::blocks::count;
use xhop_asm::programs::{Checksum, Shipped};
use xhop_asm::xdp::xdp_md;
use xhop_asm::{ByteOrder, Helper, Insn, Program, Slot};

use super::known::Kernel;
use super::slot;
use super::translated::{Mapped, map_back};
use crate::sys::bpf::Translated;
use crate::sys::kallsyms::Functions;

const IDS: [u32; 4] = [101, 102, 103, 104];
const INLINED: i32 = 0x1000;
const CALLED: i32 = 0x2000;
const REDIRECT: i32 = 0x3000;

/// How a made-up kernel translates.
#[derive(Clone, Copy, Default, Debug)]
struct Ways {
    inlines: bool,
    masks: bool,
    clears: bool,
    /// With this scratch register.
    blinds: Option<u8>,
    hides: bool,
}

/// A slot, and where its jump lands if it is one of ours: a slot of our program.
type Made = (Slot, Option<usize>);

fn raw(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Slot {
    Slot { code, dst, src, off, imm }
}

impl Ways {
    fn call(self, imm: i32) -> Slot {
        raw(0x85, 0, 0, 0, if self.hides { 0 } else { imm })
    }

    /// What this kernel makes of an instruction; `context` says that it reads the context, `key` is the key's
    /// size where it looks up in a hash map.
    fn make(self, insn: Insn, context: bool, key: Option<u32>) -> Vec<Slot> {
        let [ours, ..] = slot::of(insn)[..] else { panic!("no instruction") };
        match insn {
            Insn::LoadMap { map, .. } => {
                let id = IDS[map.get() as usize] as i32;
                vec![raw(0x18, ours.dst, 1, 0, id), Slot::default()]
            }
            Insn::Load { mem, .. } if context => match mem.off {
                xdp_md::DATA => vec![raw(0x79, ours.dst, ours.src, 0, 0)],
                xdp_md::DATA_END => vec![raw(0x79, ours.dst, ours.src, 8, 0)],
                _ => vec![
                    raw(0x79, ours.dst, ours.src, 32, 0),
                    raw(0x79, ours.dst, ours.dst, 0, 0),
                    raw(0x61, ours.dst, ours.dst, 224, 0),
                ],
            },
            Insn::Call { helper: Helper::MAP_LOOKUP_ELEM } => match (key, self.inlines) {
                (_, false) => vec![self.call(CALLED)],
                (Some(key), true) => {
                    let add = 48 + key.next_multiple_of(8) as i32;
                    vec![self.call(INLINED), raw(0x15, 0, 0, 1, 0), raw(0x07, 0, 0, 0, add)]
                }
                (None, true) => self.percpu(),
            },
            Insn::Call { .. } => vec![self.call(REDIRECT)],
            other => slot::of(other),
        }
    }

    fn percpu(self) -> Vec<Slot> {
        let mut made = vec![
            raw(0x07, 1, 0, 0, 312),
            raw(0x61, 0, 2, 0, 0),
            raw(0x35, 0, 0, if self.masks { 6 } else { 5 }, count::stats().max_entries as i32),
        ];
        made.extend(self.masks.then(|| raw(0x54, 0, 0, 0, 3)));
        made.extend([
            raw(0x67, 0, 0, 0, 3),
            raw(0x0f, 0, 1, 0, 0),
            raw(0x79, 0, 0, 0, 0),
            raw(0xbf, 0, 0, -1, 0),
            raw(0x05, 0, 0, 1, 0),
            raw(0xb7, 0, 0, 0, 0),
        ]);
        made
    }

    fn translate(self, program: &Program) -> (Vec<Slot>, Vec<u32>) {
        let (mut made, mut starts, mut at) = (Vec::<Made>::new(), Vec::new(), 0);
        let mut start_of = vec![0; program.slots() + 1];
        let mut map = None;
        for (number, line) in program.lines().iter().enumerate() {
            starts.push(made.len() as u32);
            start_of[at] = made.len();
            at += line.insn.slots();
            if let Insn::LoadMap { map: index, .. } = line.insn {
                map = program.maps().get(index.get() as usize);
            }
            let key = map.filter(|map| **map != count::stats()).map(|map| map.key_size);
            // Only the beginning reads it, by r1.
            let reads =
                |insn: Insn| matches!(insn, Insn::Load { .. }) && slot::of(insn)[0].src == 1;
            let target = match line.insn {
                Insn::Jump { off } | Insn::Branch { off, .. } => at.checked_add_signed(off.into()),
                _ => None,
            };
            let slots = self.make(line.insn, number < 3 && reads(line.insn), key);
            let last = slots.len() - 1;
            made.extend(
                slots.into_iter().enumerate().map(|(n, s)| (s, target.filter(|_| n == last))),
            );
            if let (true, Insn::Endian { dst, .. }) = (self.clears, line.insn) {
                made.push((raw(0xbc, dst.number(), dst.number(), 0, 1), None));
            }
        }
        let land = |(at, (slot, target)): (usize, Made)| match target {
            Some(target) => Slot { off: (start_of[target] as i64 - at as i64 - 1) as i16, ..slot },
            None => slot,
        };
        let made = made.into_iter().enumerate().map(land).collect();
        match self.blinds {
            Some(ax) => blind(made, starts, self.clears, ax),
            None => (made, starts),
        }
    }
}

/// As the kernel does it (kernel/bpf/core.c, `bpf_jit_blind_constants`): each constant on its own, then all
/// jumps anew. Addresses of maps are constants by then.
fn blind(plain: Vec<Slot>, starts: Vec<u32>, clears: bool, ax: u8) -> (Vec<Slot>, Vec<u32>) {
    const RANDOM: i32 = 0x5a5a_a5a5;
    let hide = |imm: i32, mov, xor| [raw(mov, ax, 0, 0, RANDOM ^ imm), raw(xor, ax, 0, 0, RANDOM)];
    let (mut made, mut begins) = (Vec::<Slot>::new(), Vec::new());
    let mut slots = plain.iter();
    while let Some(slot) = slots.next() {
        begins.push(made.len());
        let user = |code| Slot { code, src: ax, imm: 0, ..*slot };
        match (slot.code, slot.code & 7) {
            (0x18, _) => {
                slots.next();
                begins.push(made.len());
                made.extend(hide(-30_000, 0xb7, 0xa7));
                made.extend([raw(0x67, ax, 0, 0, 32), raw(0xbf, slot.dst, ax, 0, 0)]);
                made.extend(hide(0x1000 + slot.imm, 0xb4, 0xa4));
                made.extend(clears.then_some(raw(0xbc, ax, ax, 0, 1)));
                made.push(raw(0x4f, slot.dst, ax, 0, 0));
            }
            (0xb7 | 0xb4, _) if slot.imm == 0 => made.push(raw(0xaf, slot.dst, slot.dst, 0, 0)),
            // Neither are constants: `exit`, calls, `goto`, byte swaps, `neg`.
            (0x95 | 0x85 | 0x05 | 0xd4 | 0xdc | 0xd7 | 0x84 | 0x87, _) => made.push(*slot),
            (code, 4 | 6) if code & 8 == 0 => {
                made.extend(hide(slot.imm, 0xb4, 0xa4));
                made.push(user(code | 8));
            }
            (code, 5 | 7) if code & 8 == 0 => {
                made.extend(hide(slot.imm, 0xb7, 0xa7));
                made.push(user(code | 8));
            }
            (code, 2) => {
                made.extend(hide(slot.imm, 0xb7, 0xa7));
                made.push(user(code | 1));
            }
            _ => made.push(*slot),
        }
    }
    begins.push(made.len());
    for (at, slot) in plain.iter().enumerate() {
        if matches!(slot.code & 7, 5 | 6) && !matches!(slot.code, 0x85 | 0x95) {
            let last = begins[at + 1] - 1;
            let target = begins[(at as i64 + 1 + i64::from(slot.off)) as usize];
            made[last].off = (target as i64 - last as i64 - 1) as i16;
        }
    }
    (made, starts.into_iter().map(|start| begins[start as usize] as u32).collect())
}

fn bytes(slots: &[Slot]) -> Vec<u8> {
    slots.iter().flat_map(|slot| slot.to_bytes(ByteOrder::NATIVE)).collect()
}

fn functions() -> Functions {
    let text = "ffffffff81000000 T __bpf_call_base\nffffffff81001000 t __htab_map_lookup_elem\n\
        ffffffff81002000 t htab_map_lookup_elem\nffffffff81002000 t percpu_array_map_lookup_elem\n\
        ffffffff81003000 t dev_hash_map_redirect.llvm.7\n";
    Functions::parse(text, &super::known::functions())
}

fn map(program: &Program, slots: &[Slot], line_starts: &[u32]) -> Mapped {
    map_with(&functions(), program, slots, line_starts)
}

fn map_with(
    functions: &Functions,
    program: &Program,
    slots: &[Slot],
    line_starts: &[u32],
) -> Mapped {
    let kernel = Kernel { maps: program.maps(), map_ids: &IDS, functions, blinded: false };
    map_back(program, &Translated { insns: bytes(slots), line_starts: line_starts.into() }, kernel)
}

fn all_ways() -> impl Iterator<Item = Ways> {
    (0..48).map(|bits| Ways {
        inlines: bits & 1 != 0,
        masks: bits & 2 != 0,
        clears: bits & 4 != 0,
        hides: bits & 8 != 0,
        blinds: [None, Some(11), Some(12)][bits / 16],
    })
}

const PROGRAMS: [Shipped; 3] =
    [Shipped::Pass, Shipped::Forward(Checksum::Keep), Shipped::Forward(Checksum::Complete)];

#[test]
fn every_known_way_is_mapped_back() {
    for shipped in PROGRAMS {
        let program = shipped.program().expect("assembles");
        for ways in all_ways() {
            let (slots, starts) = ways.translate(&program);
            let functions = if ways.hides { Functions::default() } else { functions() };
            for lines in [&starts[..], &[]] {
                let mapped = map_with(&functions, &program, &slots, lines);
                assert_eq!(mapped.differences, [], "{}, {ways:?}", shipped.name());
                let kinds = [
                    mapped.same,
                    mapped.context,
                    mapped.maps,
                    mapped.calls,
                    mapped.hidden,
                    mapped.inlined,
                    mapped.blinded,
                ];
                assert_eq!(kinds.iter().sum::<usize>(), program.lines().len());
            }
        }
    }
}

/// What may be otherwise on another kernel: where it keeps things.
fn may_differ(slots: &[Slot], at: usize) -> bool {
    let call =
        |at: Option<usize>| at.and_then(|at| slots.get(at)).map(|slot| slot.code) == Some(0x85);
    let in_element = slots[at].code == 0x07 && call(at.checked_sub(2));
    let in_array = slots[at].code == 0x07 && slots[at].imm == 312;
    in_element || in_array || at < 3
}

#[test]
fn one_changed_bit_is_a_difference() {
    let ways = Ways { inlines: true, clears: true, ..Ways::default() };
    // The longest has nothing that the others have not, and would take long.
    for shipped in [Shipped::Pass, Shipped::Forward(Checksum::Keep)] {
        let program = shipped.program().expect("assembles");
        let (slots, starts) = ways.translate(&program);
        for at in 0..slots.len() {
            for bit in 0..64 {
                let mut odd = slots.clone();
                match bit {
                    0..8 => odd[at].code ^= 1 << bit,
                    8..12 => odd[at].dst ^= 1 << (bit - 8),
                    12..16 => odd[at].src ^= 1 << (bit - 12),
                    16..32 => odd[at].off ^= 1 << (bit - 16),
                    _ => odd[at].imm ^= 1 << (bit - 32),
                }
                if bit >= 16 && may_differ(&slots, at) {
                    continue;
                }
                let mapped = map(&program, &odd, &starts);
                assert_ne!(mapped.differences, [], "{}: slot {at}, bit {bit}", shipped.name());
            }
        }
    }
}

#[test]
fn a_difference_is_named_and_the_rest_goes_on() {
    let program = Shipped::Forward(Checksum::Keep).program().expect("assembles");
    let (slots, starts) = Ways::default().translate(&program);
    // One taken out, one put in, one of another length in its place: the rest is found again.
    for (len, put) in [(1, 0), (0, 1), (1, 2)] {
        let mut odd = slots.clone();
        odd.splice(40..40 + len, vec![raw(0xb7, 3, 0, 0, 77); put]);
        let differences = map(&program, &odd, &[]).differences;
        assert_eq!(differences.len(), 1, "{len}, {put}: {differences:#?}");
        assert_eq!(differences[0].at, 40);
    }
    // Cut short, or gone on.
    let [cut, long] = [&slots[..slots.len() - 1], &[&slots[..], &[raw(0x95, 0, 0, 0, 0)]].concat()]
        .map(|slots| map(&program, slots, &[]).differences);
    assert_eq!(cut[0].kernels, "nothing");
    assert_eq!((long[0].ours.as_str(), long[0].at), ("nothing", slots.len()));
    // A constant that is another under its blinding.
    let (slots, _) = Ways { blinds: Some(11), ..Ways::default() }.translate(&program);
    let hidden = (2..slots.len() - 2).filter(|at| {
        let code = |at: usize| slots[at].code;
        let hides = matches!((code(*at), code(at + 1)), (0xb7, 0xa7) | (0xb4, 0xa4));
        // The two halves of a map's address are before and after a shift.
        hides && slots[*at].dst == 11 && code(at + 2) != 0x67 && code(at - 2) != 0x67
    });
    let hidden: Vec<usize> = hidden.collect();
    assert!(hidden.len() > 20, "{hidden:?}");
    for at in hidden {
        let mut odd = slots.clone();
        odd[at].imm ^= 1;
        assert_eq!(map(&program, &odd, &[]).differences[0].at, at);
    }
    // Line information that tells of other places.
    let (slots, _) = Ways::default().translate(&program);
    let mut odd = starts.clone();
    odd[20] += 1;
    assert_eq!(map(&program, &slots, &odd).differences.len(), 1);
    assert_eq!(map(&program, &[], &[]).differences[0].insn, 0);
}
