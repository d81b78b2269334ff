//! What the kernel is known to make of an instruction of ours, but for its [blinding](super::blinding) (kernel/bpf/verifier.c, `bpf_check`;
//! the maps' `map_gen_lookup`); what it makes of accesses to the context has a file of [its own](super::context).

use xhop_asm::insn::BPF_PSEUDO_MAP_FD;
use xhop_asm::programs::Shipped;
use xhop_asm::{Helper, Hook, Insn, MapDecl, MapIndex, MapKind, Operand, R0, R1, R2, Reg, Slot};

use super::registers::{Holds, Registers, written};
use super::{context, slot};
use crate::sys::kallsyms::Functions;

/// Opcodes (Documentation/bpf/standardization/instruction-set.rst).
const LDDW: u8 = 0x18;
const LDX_U32: u8 = 0x61;
const LDX_U64: u8 = 0x79;
const JA: u8 = 0x05;
const CALL: u8 = 0x85;
const JEQ_K: u8 = 0x15;
const JGE_K: u8 = 0x35;
const ADD64_K: u8 = 0x07;
const ADD64_X: u8 = 0x0f;
const AND32_K: u8 = 0x54;
const LSH64_K: u8 = 0x67;
const MOV64_K: u8 = 0xb7;
const MOV64_X: u8 = 0xbf;
const MOV32_K: u8 = 0xb4;
const MOV32_X: u8 = 0xbc;
const XOR64_X: u8 = 0xaf;
/// `off` of a move that turns a per-CPU offset into an address (include/linux/filter.h).
const BPF_ADDR_PERCPU: i16 = -1;
/// More than the bytes before a hash map's key in its element on any kernel (`struct htab_elem`).
const HTAB_ELEM_MAX: i32 = 128;

/// How an instruction got to what the kernel runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Bit by bit the same, but for the distance of a jump.
    Same,
    /// A field of the context, read or written where the kernel keeps it.
    Context,
    /// A map, by its id.
    Map,
    /// A helper, by its address.
    Call,
    /// The same, and the address is hidden from us.
    Hidden,
    /// A helper's work, without a call or after it.
    Inlined,
    /// Its immediate is hidden in a random number (net.core.bpf_jit_harden).
    Blinded,
}

/// What stands for an instruction: how, and how many slots.
pub type Known = (How, usize);

/// What is known of this kernel and these maps.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// Where the program runs: what its context is.
    pub hook: Hook,
    /// The program's maps, as it declares them.
    pub maps: &'a [MapDecl],
    /// The id that each must have.
    pub map_ids: &'a [u32],
    /// Where the kernel's functions are.
    pub functions: &'a Functions,
    /// Whether the program's constants were hidden in random numbers.
    pub blinded: bool,
}

/// Functions that do a helper's work, by map.
const HASH_LOOKUP: [&str; 2] = ["htab_map_lookup_elem", "bpf_map_lookup_elem"];
const HASH_LOOKUP_INLINED: [&str; 1] = ["__htab_map_lookup_elem"];
const PERCPU_LOOKUP: [&str; 2] = ["percpu_array_map_lookup_elem", "bpf_map_lookup_elem"];
const DEVMAP_LOOKUP: [&str; 2] = ["dev_map_hash_lookup_elem", "bpf_map_lookup_elem"];
const REDIRECT: [&str; 2] = ["dev_hash_map_redirect", "bpf_xdp_redirect_map"];

/// All functions that translated programs of ours may call.
pub fn functions() -> Vec<&'static str> {
    let programs = Shipped::ALL.into_iter().flat_map(Shipped::program);
    let helpers = programs.flat_map(|program| program.helpers());
    let own: Vec<&str> = helpers.filter_map(Helper::name).collect();
    let maps = [&HASH_LOOKUP[..], &HASH_LOOKUP_INLINED, &PERCPU_LOOKUP, &DEVMAP_LOOKUP, &REDIRECT];
    [&own[..], &maps.concat()].concat()
}

impl Kernel<'_> {
    /// What stands at the beginning of `slots` for our instruction; `None` if nothing that we know.
    pub fn known(&self, insn: Insn, registers: &Registers, slots: &[Slot]) -> Option<Known> {
        match insn {
            Insn::LoadMap { dst, map } => self.map_load(dst, map, slots),
            Insn::Load { dst, mem } if registers.get(mem.base.number()) == Some(Holds::Context) => {
                context::read(self.hook, dst, mem, slots).map(|len| (How::Context, len))
            }
            Insn::Store { mem, src: Operand::Reg(src) }
                if registers.get(mem.base.number()) == Some(Holds::Context) =>
            {
                context::writes(mem, src, slots).then_some((How::Context, 1))
            }
            Insn::Call { helper } => {
                let map = match registers.get(R1.number()) {
                    Some(Holds::Map(map)) => self.maps.get(map.get() as usize),
                    _ => None,
                };
                self.call(helper, map, slots)
            }
            other if self.blinded && zeroed(other, slots) => Some((How::Blinded, 1)),
            other => same(other, slots),
        }
    }

    fn map_load(&self, dst: Reg, map: MapIndex, slots: &[Slot]) -> Option<Known> {
        let id = *self.map_ids.get(map.get() as usize)? as i32;
        let load = Slot { code: LDDW, dst: dst.number(), src: BPF_PSEUDO_MAP_FD, off: 0, imm: id };
        if slots.starts_with(&[load, Slot::default()]) {
            return Some((How::Map, 2));
        }
        // The kernel can't tell any more that this constant is the map's address.
        let &[first, second] = slots.first_chunk()?;
        let constant = first == Slot { src: 0, imm: first.imm, ..load }
            && second == Slot { imm: second.imm, ..Slot::default() };
        (self.blinded && constant).then_some((How::Hidden, 2))
    }

    fn call(&self, helper: Helper, map: Option<&MapDecl>, slots: &[Slot]) -> Option<Known> {
        match (helper, map.map(|map| (map.kind, map))) {
            (Helper::MAP_LOOKUP_ELEM, Some((MapKind::Hash, map))) => {
                let inlined = self.function(&HASH_LOOKUP_INLINED, slots);
                match inlined.filter(|_| is_hash_lookup(map, slots)) {
                    Some(_) => Some((How::Inlined, 3)),
                    None => self.function(&HASH_LOOKUP, slots),
                }
            }
            (Helper::MAP_LOOKUP_ELEM, Some((MapKind::PercpuArray, map))) => {
                percpu_lookup(map, slots, self.blinded)
                    .or_else(|| self.function(&PERCPU_LOOKUP, slots))
            }
            (Helper::MAP_LOOKUP_ELEM, Some((MapKind::DevmapHash, _))) => {
                self.function(&DEVMAP_LOOKUP, slots)
            }
            (Helper::REDIRECT_MAP, Some((MapKind::DevmapHash, _))) => {
                self.function(&REDIRECT, slots)
            }
            _ => self.function(&[helper.name()?], slots),
        }
    }

    /// A call of one of these functions.
    fn function(&self, names: &[&str], slots: &[Slot]) -> Option<Known> {
        let call = slots.first()?;
        if *call != (Slot { code: CALL, imm: call.imm, ..Slot::default() }) {
            return None;
        }
        match self.functions.is_one_of(call.imm, names) {
            Some(true) => Some((How::Call, 1)),
            Some(false) => None,
            None => Some((How::Hidden, 1)),
        }
    }
}

/// Jumps go to other distances where something between has grown: those are looked at in the end.
fn same(insn: Insn, slots: &[Slot]) -> Option<Known> {
    let ours = slot::of(insn);
    let jumps = matches!(insn, Insn::Jump { .. } | Insn::Branch { .. });
    let is = |(ours, found): (&Slot, &Slot)| match jumps {
        true => Slot { off: 0, ..*ours } == Slot { off: 0, ..*found },
        false => ours == found,
    };
    let found = slots.get(..ours.len())?;
    ours.iter().zip(found).all(is).then_some((How::Same, ours.len()))
}

/// `htab_map_gen_lookup`: after the call, from the element to its value.
fn is_hash_lookup(map: &MapDecl, slots: &[Slot]) -> bool {
    let Some([_, skip, add]) = slots.first_chunk() else { return false };
    let header = add.imm.wrapping_sub(map.key_size.next_multiple_of(8) as i32);
    *skip == Slot { code: JEQ_K, off: 1, ..Slot::default() }
        && *add == Slot { code: ADD64_K, imm: add.imm, ..Slot::default() }
        && (1..HTAB_ELEM_MAX).contains(&header)
}

/// `percpu_array_map_gen_lookup` (kernels from 6.10), with or without Spectre's mask.
fn percpu_lookup(map: &MapDecl, slots: &[Slot], blinded: bool) -> Option<Known> {
    let (r0, r1, r2) = (R0.number(), R1.number(), R2.number());
    let masked = slots.get(3).is_some_and(|slot| slot.code == AND32_K);
    let pointers = slots.first().map_or(0, |slot| slot.imm);
    let max = map.max_entries;
    let mask = max.checked_next_power_of_two()?.wrapping_sub(1) as i32;
    let slot = |code, dst, src, off, imm| Slot { code, dst, src, off, imm };
    let mut lookup = vec![
        slot(ADD64_K, r1, 0, 0, pointers),
        slot(LDX_U32, r0, r2, 0, 0),
        slot(JGE_K, r0, 0, 5 + i16::from(masked), max as i32),
    ];
    if masked {
        lookup.push(slot(AND32_K, r0, 0, 0, mask));
    }
    lookup.extend([
        slot(LSH64_K, r0, 0, 0, 3),
        slot(ADD64_X, r0, r1, 0, 0),
        slot(LDX_U64, r0, r0, 0, 0),
        slot(MOV64_X, r0, r0, BPF_ADDR_PERCPU, 0),
        slot(JA, 0, 0, 1, 0),
        if blinded { slot(XOR64_X, r0, r0, 0, 0) } else { slot(MOV64_K, r0, 0, 0, 0) },
    ]);
    slots.starts_with(&lookup).then_some((How::Inlined, lookup.len()))
}

/// A 0 is not hidden in anything (`bpf_jit_blind_insn`).
fn zeroed(insn: Insn, slots: &[Slot]) -> bool {
    let zeroes = |ours: Slot| matches!(ours.code, MOV64_K | MOV32_K) && ours.imm == 0;
    let &[ours] = slot::of(insn).as_slice() else { return false };
    let xor = Slot { code: XOR64_X, dst: ours.dst, src: ours.dst, ..Slot::default() };
    zeroes(ours) && slots.first() == Some(&xor)
}

/// Whether the slot clears the upper half of what our instruction has set, for machines that do not do it
/// themselves (`BPF_ZEXT_REG`).
pub fn clears_upper_half(insn: Insn, slot: &Slot) -> bool {
    let zext =
        |dst: Reg| Slot { code: MOV32_X, dst: dst.number(), src: dst.number(), off: 0, imm: 1 };
    written(insn).is_some_and(|dst| *slot == zext(dst))
}
