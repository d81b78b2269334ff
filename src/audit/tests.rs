//! Mapping back, against kernels that were made up: what each is known to do is recognised, and any other
//! bit is not.

use xhop_asm::blocks::count;
use xhop_asm::programs::{Checksum, Shipped};
use xhop_asm::tc::sk_buff;
use xhop_asm::xdp::xdp_md;
use xhop_asm::{ByteOrder, Helper, Hook, Insn, MapKind, Program, Slot};

use super::known::Kernel;
use super::slot;
use super::translated::{Mapped, map_back};
use crate::sys::bpf::Translated;
use crate::sys::kallsyms::Functions;

const IDS: [u32; 5] = [101, 102, 103, 104, 105];
const INLINED: i32 = 0x1000;
const CALLED: i32 = 0x2000;
const REDIRECT: i32 = 0x3000;
const DEVMAP: i32 = 0x4000;
const TYPE: i32 = 0x5000;
const PEER: i32 = 0x6000;
const LEVEL: i32 = 0x7000;
/// Where a made-up skb has its device, and the end of what lies there; kernels agree.
const DEV: i16 = 16;
const DATA_END: i16 = 80;

/// How a made-up kernel translates.
#[derive(Clone, Copy, Default, Debug)]
struct Ways {
    inlines: bool,
    masks: bool,
    clears: bool,
    /// With this scratch register.
    blinds: Option<u8>,
    hides: bool,
    /// Keeps whether there is a VLAN tag in this bit, as before 6.2.
    tag_bit: Option<u8>,
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

    /// What this kernel makes of an instruction; `context` says whose context it reads, `map` is that which it
    /// looks up in, with the size of its keys.
    fn make(self, insn: Insn, context: Option<Hook>, map: Option<(MapKind, u32)>) -> Vec<Slot> {
        let [ours, ..] = slot::of(insn)[..] else { panic!("no instruction") };
        match insn {
            Insn::LoadMap { map, .. } => {
                let id = IDS[map.get() as usize] as i32;
                vec![raw(0x18, ours.dst, 1, 0, id), Slot::default()]
            }
            Insn::Load { mem, .. } if context == Some(Hook::Tc) => self.skb(ours, mem.off),
            Insn::Load { mem, .. } if context.is_some() => match mem.off {
                xdp_md::DATA => vec![raw(0x79, ours.dst, ours.src, 0, 0)],
                xdp_md::DATA_END => vec![raw(0x79, ours.dst, ours.src, 8, 0)],
                _ => vec![
                    raw(0x79, ours.dst, ours.src, 32, 0),
                    raw(0x79, ours.dst, ours.dst, 0, 0),
                    raw(0x61, ours.dst, ours.dst, 224, 0),
                ],
            },
            // `__sk_buff` is not `sk_buff`.
            Insn::Store { mem, .. } if ours.dst == 1 => {
                vec![raw(0x63, 1, ours.src, 160 + mem.off, 0)]
            }
            Insn::Call { helper: Helper::MAP_LOOKUP_ELEM } => match (map, self.inlines) {
                (Some((MapKind::DevmapHash, _)), _) => vec![self.call(DEVMAP)],
                (_, false) => vec![self.call(CALLED)],
                (Some((MapKind::Hash, key)), true) => {
                    let add = 48 + key.next_multiple_of(8) as i32;
                    vec![self.call(INLINED), raw(0x15, 0, 0, 1, 0), raw(0x07, 0, 0, 0, add)]
                }
                (_, true) => self.percpu(),
            },
            Insn::Call { helper: Helper::SKB_CHANGE_TYPE } => vec![self.call(TYPE)],
            Insn::Call { helper: Helper::REDIRECT_PEER } => vec![self.call(PEER)],
            Insn::Call { helper: Helper::CSUM_LEVEL } => vec![self.call(LEVEL)],
            Insn::Call { .. } => vec![self.call(REDIRECT)],
            other => slot::of(other),
        }
    }

    /// A field of `struct __sk_buff`.
    fn skb(self, ours: Slot, field: i16) -> Vec<Slot> {
        let dst = ours.dst;
        let read = |code, off| raw(code, dst, ours.src, off, 0);
        match field {
            sk_buff::IFINDEX => vec![read(0x79, DEV), raw(0x61, dst, dst, 224, 0)],
            sk_buff::DATA => vec![read(0x79, 200)],
            sk_buff::DATA_END => vec![read(0x79, DATA_END)],
            sk_buff::LEN => vec![read(0x61, 112)],
            sk_buff::VLAN_PRESENT => {
                let mut steps = match self.tag_bit {
                    None if self.clears => {
                        vec![read(0x61, 152), raw(0x15, dst, 0, 2, 0), raw(0xb4, dst, 0, 0, 1)]
                    }
                    None => vec![read(0x61, 152), raw(0x15, dst, 0, 1, 0), raw(0xb4, dst, 0, 0, 1)],
                    Some(_) => vec![read(0x71, 145)],
                };
                steps.extend(
                    self.tag_bit.filter(|bit| *bit > 0).map(|bit| raw(0x74, dst, 0, 0, bit.into())),
                );
                steps.extend(self.tag_bit.filter(|bit| *bit < 7).map(|_| raw(0x54, dst, 0, 0, 1)));
                let zext = raw(0xbc, dst, dst, 0, 1);
                let jumps = |slot: &Slot| slot.code == 0x15;
                let cleared =
                    |slot: Slot| [Some(slot), Some(zext).filter(|_| self.clears && !jumps(&slot))];
                steps.into_iter().flat_map(cleared).flatten().collect()
            }
            other => panic!("no program reads {other}"),
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
            // XDP reads it at the beginning alone, tc again where it has it from the stack; both by r1.
            let hook = program.hook();
            let reads = matches!(line.insn, Insn::Load { .. })
                && slot::of(line.insn)[0].src == 1
                && (hook == Hook::Tc || number < 3);
            let target = match line.insn {
                Insn::Jump { off } | Insn::Branch { off, .. } => at.checked_add_signed(off.into()),
                _ => None,
            };
            let map = map.map(|map| (map.kind, map.key_size));
            let slots = self.make(line.insn, reads.then_some(hook), map);
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
        ffffffff81003000 t dev_hash_map_redirect.llvm.7\nffffffff81004000 t dev_map_hash_lookup_elem\n\
        ffffffff81005000 t bpf_skb_change_type\nffffffff81006000 T bpf_redirect_peer\n\
        ffffffff81007000 T bpf_csum_level\n";
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
    let (hook, maps) = (program.hook(), program.maps());
    let kernel = Kernel { hook, maps, map_ids: &IDS, functions, blinded: false };
    map_back(program, &Translated { insns: bytes(slots), line_starts: line_starts.into() }, kernel)
}

fn all_ways() -> impl Iterator<Item = Ways> {
    (0..192).map(|bits| Ways {
        inlines: bits & 1 != 0,
        masks: bits & 2 != 0,
        clears: bits & 4 != 0,
        hides: bits & 8 != 0,
        blinds: [None, Some(11), Some(12)][bits / 16 % 3],
        tag_bit: [None, Some(0), Some(4), Some(7)][bits / 48],
    })
}

const PROGRAMS: [Shipped; 11] = [
    Shipped::Pass,
    Shipped::Forward(Checksum::Keep),
    Shipped::Forward(Checksum::Complete),
    Shipped::ForwardFrags,
    Shipped::Peer,
    Shipped::Trust,
    Shipped::ChainIn,
    Shipped::Next,
    Shipped::NextBack,
    Shipped::BackIn,
    Shipped::Bounce,
];

#[test]
fn every_known_way_is_mapped_back() {
    for shipped in PROGRAMS {
        let program = shipped.program().expect("assembles");
        let on_skb = program.hook() == Hook::Tc;
        for ways in all_ways().filter(|ways| on_skb || ways.tag_bit.is_none()) {
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
fn may_differ(hook: Hook, slots: &[Slot], at: usize, bit: usize) -> bool {
    let slot = slots[at];
    let call =
        |at: Option<usize>| at.and_then(|at| slots.get(at)).map(|slot| slot.code) == Some(0x85);
    let in_element = slot.code == 0x07 && call(at.checked_sub(2));
    let in_array = slot.code == 0x07 && slot.imm == 312;
    let by_context = |at: usize| matches!(slots[at].code, 0x61 | 0x79) && slots[at].src == 1;
    let in_context = match hook {
        Hook::Tc => {
            let device = at > 0 && by_context(at - 1) && slots[at - 1].off == DEV;
            let read = by_context(at) && ![DEV, DATA_END].contains(&slot.off);
            let written = slot.code == 0x63 && slot.dst == 1;
            (read || device || written) && (16..32).contains(&bit)
        }
        Hook::Xdp | Hook::XdpFrags => at < 3,
    };
    bit >= 16 && (in_element || in_array || in_context)
}

#[test]
fn one_changed_bit_is_a_difference() {
    changed_bits(&[Shipped::Pass, Shipped::Forward(Checksum::Keep)]);
}

#[test]
fn one_changed_bit_is_a_difference_on_an_skb() {
    changed_bits(&[Shipped::Peer]);
}

/// The longest has nothing that the others have not, and would take long.
fn changed_bits(programs: &[Shipped]) {
    let ways = Ways { inlines: true, clears: true, ..Ways::default() };
    for shipped in programs {
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
                if may_differ(program.hook(), &slots, at, bit) {
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

/// A field of an skb is read where its kind of field is, and the bit of the tag as kernels do it.
#[test]
fn what_reads_no_field_of_an_skb_is_a_difference() {
    let program = Shipped::Peer.program().expect("assembles");
    let odd_ones = |ways: Ways, from: Slot, to: &[Slot]| {
        let (mut slots, _) = ways.translate(&program);
        let at = slots.iter().position(|slot| *slot == from).expect("made");
        slots.splice(at..=at, to.iter().copied());
        assert_ne!(map(&program, &slots, &[]).differences, [], "{to:?}");
    };
    let now = Ways::default();
    // In front of `cb`, in it, or beyond the end. Of what is no pointer it is not told how long those are.
    for off in [0, 87, 600] {
        odd_ones(now, raw(0x79, 6, 1, 200, 0), &[raw(0x79, 6, 1, off, 0)]);
    }
    for off in [0, 71, 600] {
        odd_ones(now, raw(0x61, 7, 1, 112, 0), &[raw(0x61, 7, 1, off, 0)]);
    }
    for off in [72, 88] {
        odd_ones(now, raw(0x79, 7, 1, DATA_END, 0), &[raw(0x79, 7, 1, off, 0)]);
    }
    odd_ones(now, raw(0x15, 2, 0, 1, 0), &[raw(0x15, 2, 0, 2, 0)]);
    odd_ones(now, raw(0x15, 2, 0, 1, 0), &[]);
    odd_ones(now, raw(0xb4, 2, 0, 0, 1), &[raw(0xb4, 2, 0, 0, 0)]);
    let before = Ways { tag_bit: Some(4), ..now };
    for odd in [raw(0x74, 2, 0, 0, 8), raw(0x74, 3, 0, 0, 4)] {
        odd_ones(before, raw(0x74, 2, 0, 0, 4), &[odd]);
    }
    odd_ones(before, raw(0x54, 2, 0, 0, 1), &[raw(0x54, 2, 0, 0, 3)]);
    odd_ones(before, raw(0x54, 2, 0, 0, 1), &[]);
    // Another helper than ours.
    odd_ones(now, raw(0x85, 0, 0, 0, PEER), &[raw(0x85, 0, 0, 0, LEVEL)]);
    odd_ones(now, raw(0x85, 0, 0, 0, DEVMAP), &[raw(0x85, 0, 0, 0, CALLED)]);
}
