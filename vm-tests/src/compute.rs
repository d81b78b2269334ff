//! What instructions compute, by the kernel's rules
//! (Documentation/bpf/standardization/instruction-set.rst).

use xhop_asm::{AluOp, ByteOrder, Cond, Size, Width};

/// Two-operand arithmetic but for `=`; `None` for what is not known.
pub(crate) fn alu(op: AluOp, width: Width, a: u64, b: u64) -> Option<u64> {
    let wide = width == Width::W64;
    let cut = |bits: u64| if wide { bits } else { u64::from(bits as u32) };
    let signed = if wide { a as i64 } else { i64::from(a as i32) };
    let (a, b, shift) = (cut(a), cut(b), b & if wide { 63 } else { 31 });
    Some(cut(match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Lsh => a << shift,
        AluOp::Rsh => a >> shift,
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Xor => a ^ b,
        AluOp::Arsh => (signed >> shift) as u64,
        _ => return None,
    }))
}

pub(crate) fn holds(cond: Cond, width: Width, a: u64, b: u64) -> bool {
    let (a, b, signed_a, signed_b) = match width {
        Width::W64 => (a, b, a as i64, b as i64),
        Width::W32 => (a & 0xffff_ffff, b & 0xffff_ffff, (a as i32).into(), (b as i32).into()),
    };
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Sgt => signed_a > signed_b,
        Cond::Sge => signed_a >= signed_b,
        Cond::Slt => signed_a < signed_b,
        Cond::Sle => signed_a <= signed_b,
        Cond::Set => a & b != 0,
    }
}

/// From the machine's order to `order`, or back.
pub(crate) fn turned(order: ByteOrder, bits: u8, value: u64) -> Option<u64> {
    let same = order == ByteOrder::NATIVE;
    let swap = |value: u64, swapped: u64| if same { value } else { swapped };
    Some(match bits {
        16 => swap(u64::from(value as u16), (value as u16).swap_bytes().into()),
        32 => swap(u64::from(value as u32), (value as u32).swap_bytes().into()),
        64 => swap(value, value.swap_bytes()),
        _ => return None,
    })
}

/// The value of the first bytes, zero-extended.
pub(crate) fn from_memory(bytes: [u8; 8], size: Size) -> u64 {
    let [a, b, c, d, ..] = bytes;
    match size {
        Size::U8 => a.into(),
        Size::U16 => u16::from_ne_bytes([a, b]).into(),
        Size::U32 => u32::from_ne_bytes([a, b, c, d]).into(),
        Size::U64 => u64::from_ne_bytes(bytes),
    }
}

/// The bytes of a value's low part; more than `size` are not to be used.
pub(crate) fn to_memory(bits: u64, size: Size) -> [u8; 8] {
    let mut bytes = [0; 8];
    let mut put = |part: &[u8]| bytes.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
    match size {
        Size::U8 => put(&[bits as u8]),
        Size::U16 => put(&(bits as u16).to_ne_bytes()),
        Size::U32 => put(&(bits as u32).to_ne_bytes()),
        Size::U64 => put(&bits.to_ne_bytes()),
    }
    bytes
}
