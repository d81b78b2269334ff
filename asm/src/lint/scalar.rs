//! Numbers of which the range is known, and which bits may be set.
//!
//! Every result is at least as wide as what any kernel's verifier from 5.10 on knows of it
//! (kernel/bpf/verifier.c, `adjust_scalar_min_max_vals`), so that a bound that is proved here is proved
//! there too (5.10 means 5.10.84 or later, which has 64-bit comparisons tell of 32-bit halves). That is why
//! some exact results are given away.

use super::field::Field;
use crate::insn::{AluOp, Width};

/// All bits of the low half.
const LOW: u64 = u32::MAX as u64;

/// A number in `min..=max`, unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scalar {
    pub(super) min: u64,
    pub(super) max: u64,
    /// The bits that may be set: older kernels draw nothing from the range of the whole for the low half,
    /// so that this is all they know of it.
    bits: u64,
    /// The packet's field that it was read from, unchanged.
    pub(super) field: Option<Field>,
    /// The constant that stood where it was read from on the stack. Kernels know no such thing: it tells what
    /// is done, and proves nothing.
    pub(super) constant: Option<u8>,
}

impl Scalar {
    /// Any number.
    pub(super) const UNKNOWN: Self = Self::up_to(u64::MAX);

    /// One number.
    pub(super) const fn exactly(value: u64) -> Self {
        Self { min: value, max: value, bits: value, field: None, constant: None }
    }

    /// Any number that has no other bits than these.
    const fn up_to(bits: u64) -> Self {
        Self { min: 0, max: bits, bits, field: None, constant: None }
    }

    /// What a load of so many bytes gives.
    pub(super) const fn loaded(bytes: usize) -> Self {
        match bytes {
            8.. => Self::UNKNOWN,
            _ => Self::up_to((1 << (8 * bytes)) - 1),
        }
    }

    /// An immediate, as an operand of this width.
    pub(super) const fn immediate(imm: i32, width: Width) -> Self {
        match width {
            Width::W64 => Self::exactly(imm as i64 as u64),
            Width::W32 => Self::exactly(imm as u32 as u64),
        }
    }

    /// A byte of the stack, where this constant was put if one was.
    pub(super) const fn kept(constant: Option<u8>) -> Self {
        Self { constant, ..Self::loaded(1) }
    }

    /// What it is: the constant, or else any number of its range.
    pub(super) fn truly(self) -> (u64, u64) {
        self.constant.map_or((self.min, self.max), |constant| (constant.into(), constant.into()))
    }

    /// The same, read from this field.
    pub(super) fn of(self, field: Option<Field>) -> Self {
        Self { field, ..self }
    }

    /// The number, if there is only one.
    pub(super) fn known(self) -> Option<u64> {
        (self.min == self.max && self.bits == self.min).then_some(self.min)
    }

    /// Whether all that `self` may be, `other` may be too.
    pub(super) fn within(self, other: Self) -> bool {
        other.min <= self.min && self.max <= other.max && self.bits & !other.bits == 0
    }

    /// What a comparison of all its bits has left of it.
    pub(super) fn bounded(self, min: u64, max: u64) -> Self {
        Self { min, max, bits: self.bits & ones(max), ..self }
    }

    /// The low half.
    fn low_half(self) -> Self {
        match self.known() {
            Some(value) => Self::exactly(value & LOW),
            None if self.bits <= LOW => Self::up_to(self.bits).of(self.field),
            None => Self::up_to(self.bits & LOW),
        }
    }

    /// A copy of `self`, or of its low half.
    pub(super) fn moved(self, width: Width) -> Self {
        match width {
            Width::W64 => self,
            Width::W32 => self.low_half(),
        }
    }

    /// `self op other`
    pub(super) fn operate(self, op: AluOp, other: Self, width: Width) -> Self {
        // Before 5.13 nothing else is known with an operand that is no constant.
        let simple = matches!(op, AluOp::Add | AluOp::Sub | AluOp::And);
        let shift = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
        let bits = if width == Width::W64 { 64 } else { 32 };
        match other.moved(width).known() {
            Some(count) if shift && count >= bits => return Self::UNKNOWN,
            None if !simple => return Self::UNKNOWN,
            _ => {}
        }
        let result = self.moved(width).compute(op, other.moved(width), width);
        result.of(self.field.filter(|field| field.survives(op, other))).moved(width)
    }

    /// Both operands are cut to `width`; the result is still to be.
    fn compute(self, op: AluOp, other: Self, width: Width) -> Self {
        let top: u64 = if width == Width::W64 { 63 } else { 31 };
        let result = match op {
            AluOp::Add => {
                match (self.min.checked_add(other.min), self.max.checked_add(other.max)) {
                    (Some(min), Some(max)) => {
                        Self::counted(min, max, self.bits.saturating_add(other.bits))
                    }
                    _ => Self::UNKNOWN,
                }
            }
            AluOp::Sub => {
                match (self.min.checked_sub(other.max), self.max.checked_sub(other.min)) {
                    (Some(min), Some(max)) => Self::counted(min, max, u64::MAX),
                    _ => Self::UNKNOWN,
                }
            }
            AluOp::Mul if self.max <= LOW && other.max <= LOW => {
                let halves = self.bits <= 0xffff && other.bits <= 0xffff;
                let product = if halves { self.bits * other.bits } else { u64::MAX };
                Self::counted(self.min * other.min, self.max * other.max, product)
            }
            AluOp::And => {
                let bits = self.bits & other.bits;
                Self {
                    min: 0,
                    max: self.max.min(other.max).min(bits),
                    bits,
                    field: None,
                    constant: None,
                }
            }
            AluOp::Or => {
                let bits = self.bits | other.bits;
                Self { min: self.min.max(other.min), max: bits, bits, field: None, constant: None }
            }
            AluOp::Xor => match (self.known(), other.known()) {
                (Some(a), Some(b)) => Self::exactly(a ^ b),
                _ => Self::up_to(self.bits | other.bits),
            },
            AluOp::Lsh if self.max <= 1 << (top - other.max) => Self {
                min: self.min << other.min,
                max: self.max << other.max,
                bits: self.bits << other.max,
                field: None,
                constant: None,
            },
            AluOp::Rsh => Self {
                min: self.min >> other.min,
                max: self.max >> other.max,
                bits: self.bits >> other.max,
                field: None,
                constant: None,
            },
            AluOp::Mov => other,
            _ => Self::UNKNOWN,
        };
        let one = self.known().and(other.known()).is_some() && result != Self::UNKNOWN;
        if one { Self::exactly(result.max) } else { result }
    }

    /// What counting gives, if the halves give up to `low`: more than a half says nothing of its bits.
    fn counted(min: u64, max: u64, low: u64) -> Self {
        let bits = match low {
            ..=LOW => ones(low),
            _ => ones(max) | LOW,
        };
        Self { min, max, bits, field: None, constant: None }
    }
}

/// All bits up to the highest that is set.
fn ones(value: u64) -> u64 {
    value.checked_ilog2().map_or(0, |top| u64::MAX >> (63 - top))
}
