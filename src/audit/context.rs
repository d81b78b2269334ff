//! Reads of the context, and writes: the fields that a program names are none in the kernel, which reads its own structures
//! (net/core/filter.c, `xdp_convert_ctx_access`, `bpf_convert_ctx_access`, `tc_cls_act_convert_ctx_access`).

use xhop_asm::tc::sk_buff;
use xhop_asm::xdp::xdp_md;
use xhop_asm::{AnyReg, Hook, Mem, Reg, Size, Slot};

/// Opcodes (Documentation/bpf/standardization/instruction-set.rst).
const LDX_U32: u8 = 0x61;
const STX_U32: u8 = 0x63;
const LDX_U8: u8 = 0x71;
const LDX_U64: u8 = 0x79;
const JEQ_K: u8 = 0x15;
const AND32_K: u8 = 0x54;
const RSH32_K: u8 = 0x74;
const MOV32_K: u8 = 0xb4;
const MOV32_X: u8 = 0xbc;
/// Bytes of `cb` in `struct sk_buff`.
const CB: i16 = 48;
/// Where it begins if pointers are short.
const CB_MIN: i16 = 24;
/// More than the bytes of `struct sk_buff` on any kernel.
const SK_BUFF_MAX: i16 = 512;

/// How many slots at the beginning of `slots` read this field; `None` if they do not.
pub fn read(hook: Hook, dst: Reg, mem: Mem, slots: &[Slot]) -> Option<usize> {
    let to = To { dst: dst.number(), base: mem.base.number() };
    match hook {
        Hook::Xdp | Hook::XdpFrags => xdp(to, mem.off, slots),
        Hook::Tc => skb(to, mem.off, slots),
    }
}

/// Whether the first of `slots` writes this register to this field: of `struct sk_buff`, at a place that has
/// moved about.
pub fn writes(field: Mem, src: AnyReg, slots: &[Slot]) -> bool {
    let ours = |slot: &Slot| Slot {
        code: STX_U32,
        dst: field.base.number(),
        src: src.number(),
        off: slot.off,
        imm: 0,
    };
    let field = sk_buff::WRITABLE.contains(&field.off) && field.size == Size::U32;
    field && slots.first().is_some_and(|slot| *slot == ours(slot) && behind(CB_MIN, slot))
}

/// The register that gets the value, and the one that holds the context.
#[derive(Clone, Copy)]
struct To {
    dst: u8,
    base: u8,
}

impl To {
    fn load(self, code: u8, off: i16) -> Slot {
        Slot { code, dst: self.dst, src: self.base, off, imm: 0 }
    }

    /// From the structure that was loaded before.
    fn load_on(self, code: u8, off: i16) -> Slot {
        Slot { src: self.dst, ..self.load(code, off) }
    }

    fn with(self, code: u8, off: i16, imm: i32) -> Slot {
        Slot { code, dst: self.dst, src: 0, off, imm }
    }
}

/// The bytes of a pointer, if this loads one.
fn pointer(slot: &Slot) -> Option<i16> {
    match slot.code {
        LDX_U64 => Some(8),
        LDX_U32 => Some(4),
        _ => None,
    }
}

/// A field of `struct xdp_md`: of `struct xdp_buff`, directly or by pointers in it.
fn xdp(to: To, field: i16, slots: &[Slot]) -> Option<usize> {
    let first = slots.first()?;
    let pointer = pointer(first)?;
    // `data`, `data_end` and `data_meta` begin the structure; what else there is has moved about.
    let direct = match field {
        xdp_md::DATA => Some(0),
        xdp_md::DATA_END => Some(pointer),
        xdp_md::DATA_META => Some(2 * pointer),
        _ => None,
    };
    if let Some(off) = direct {
        return (*first == to.load(first.code, off)).then_some(1);
    }
    let pointers = match field {
        xdp_md::INGRESS_IFINDEX | xdp_md::EGRESS_IFINDEX => 2,
        xdp_md::RX_QUEUE_INDEX => 1,
        _ => return None,
    };
    let chain = slots.get(..pointers + 1)?;
    let fits = chain.iter().enumerate().all(|(at, slot)| {
        let code = if at == pointers { LDX_U32 } else { first.code };
        *slot == if at == 0 { to.load(code, slot.off) } else { to.load_on(code, slot.off) }
    });
    fits.then_some(chain.len())
}

/// A field of `struct __sk_buff` that our programs read: of `struct sk_buff`. That begins with two pointers
/// and `dev`; a pointer and a time stamp more, and `cb` follows, in which `data_end` is
/// (`struct bpf_skb_data_end`). What is behind has moved about.
fn skb(to: To, field: i16, slots: &[Slot]) -> Option<usize> {
    let first = slots.first()?;
    if field == sk_buff::VLAN_PRESENT {
        return vlan(to, slots);
    }
    let pointer = pointer(first)?;
    let cb = 4 * pointer + 8;
    let fits = match field {
        sk_buff::IFINDEX => {
            let second = slots.get(1)?;
            return (*first == to.load(first.code, 2 * pointer)
                && *second == to.load_on(LDX_U32, second.off))
            .then_some(2);
        }
        sk_buff::LEN => first.code == LDX_U32 && behind(cb, first),
        sk_buff::DATA => behind(cb, first),
        // Behind what qdiscs have there, and `data_meta`. Where pointers are short, qdiscs had more before 5.16.
        sk_buff::DATA_END => [28, 32].into_iter().any(|qdiscs| {
            let meta = (qdiscs + pointer - 1) / pointer * pointer;
            first.off == cb + meta + pointer
        }),
        _ => return None,
    };
    (fits && *first == to.load(first.code, first.off)).then_some(1)
}

/// Whether this reads behind `cb`, which begins there.
fn behind(cb: i16, slot: &Slot) -> bool {
    (cb + CB..SK_BUFF_MAX).contains(&slot.off)
}

/// Whether there is a tag: from 6.2 on whether the tag is not 0, before that a bit in a byte. Machines that do
/// not clear upper halves themselves do it after each step (`BPF_ZEXT_REG`).
fn vlan(to: To, slots: &[Slot]) -> Option<usize> {
    let first = slots.first()?;
    let mut taken = 1;
    let zext = Slot { code: MOV32_X, dst: to.dst, src: to.dst, off: 0, imm: 1 };
    let cleared = |at: usize| usize::from(slots.get(at) == Some(&zext));
    match *first == to.load(first.code, first.off) && behind(CB_MIN, first) {
        true if first.code == LDX_U32 => {
            taken += cleared(taken);
            let skip = 1 + cleared(taken + 2) as i16;
            let is_set = [to.with(JEQ_K, skip, 0), to.with(MOV32_K, 0, 1)];
            slots.get(taken..)?.starts_with(&is_set).then_some(taken + 2)
        }
        true if first.code == LDX_U8 => {
            taken += cleared(taken);
            let shift = slots.get(taken)?;
            let bit = if shift.code == RSH32_K { shift.imm } else { 0 };
            if bit != 0 {
                let fits = *shift == to.with(RSH32_K, 0, bit) && (1..8).contains(&bit);
                taken = fits.then_some(taken + 1)?;
            }
            if bit == 7 {
                return Some(taken);
            }
            taken += if bit != 0 { cleared(taken) } else { 0 };
            (*slots.get(taken)? == to.with(AND32_K, 0, 1)).then_some(taken + 1)
        }
        _ => None,
    }
}
