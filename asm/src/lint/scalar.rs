//! Numbers of which only the range is known.
//!
//! Every result is at least as wide as what any kernel's verifier from 5.10 on knows of it
//! (kernel/bpf/verifier.c, `adjust_scalar_min_max_vals`), so that a bound that is proved here is proved
//! there too. That is why some exact results are given away.

use super::field::Field;
use crate::insn::{AluOp, Width};

/// A number in `min..=max`, unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scalar {
    pub(super) min: u64,
    pub(super) max: u64,
    /// The packet's field that it was read from, unchanged.
    pub(super) field: Option<Field>,
}

impl Scalar {
    /// Any number.
    pub(super) const UNKNOWN: Self = Self::range(0, u64::MAX);

    /// One number.
    pub(super) const fn exactly(value: u64) -> Self {
        Self::range(value, value)
    }

    /// Any of these.
    pub(super) const fn range(min: u64, max: u64) -> Self {
        Self { min, max, field: None }
    }

    /// What a load of so many bytes gives.
    pub(super) const fn loaded(bytes: usize) -> Self {
        match bytes {
            8.. => Self::UNKNOWN,
            _ => Self::range(0, (1 << (8 * bytes)) - 1),
        }
    }

    /// An immediate, as an operand of this width.
    pub(super) const fn immediate(imm: i32, width: Width) -> Self {
        match width {
            Width::W64 => Self::exactly(imm as i64 as u64),
            Width::W32 => Self::exactly(imm as u32 as u64),
        }
    }

    /// The number, if there is only one.
    pub(super) fn known(self) -> Option<u64> {
        (self.min == self.max).then_some(self.min)
    }

    /// Whether all that `self` may be, `other` may be too.
    pub(super) fn within(self, other: Self) -> bool {
        other.min <= self.min && self.max <= other.max
    }

    /// The low half.
    fn low_half(self) -> Self {
        const MAX: u64 = u32::MAX as u64;
        match (self.known(), self.max) {
            (Some(value), _) => Self::exactly(value & MAX),
            (None, ..=MAX) => self,
            (None, _) => Self::range(0, MAX),
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
        Self { field: self.field.filter(|field| field.survives(op, other)), ..result }.moved(width)
    }

    fn compute(self, op: AluOp, other: Self, width: Width) -> Self {
        let top: u64 = if width == Width::W64 { 63 } else { 31 };
        let limits = |min: Option<u64>, max: Option<u64>| match (min, max) {
            (Some(min), Some(max)) => Self::range(min, max),
            _ => Self::UNKNOWN,
        };
        // All bits up to the highest that is set in either.
        let ones = |a: u64, b: u64| (a | b).checked_ilog2().map_or(0, |top| u64::MAX >> (63 - top));
        match op {
            AluOp::Add => limits(self.min.checked_add(other.min), self.max.checked_add(other.max)),
            AluOp::Sub => limits(self.min.checked_sub(other.max), self.max.checked_sub(other.min)),
            AluOp::Mul if self.max <= u32::MAX.into() && other.max <= u32::MAX.into() => {
                Self::range(self.min * other.min, self.max * other.max)
            }
            AluOp::And => match (self.known(), other.known()) {
                (Some(a), Some(b)) => Self::exactly(a & b),
                (_, Some(mask)) => Self::range(0, self.max.min(ones(self.max, 0) & mask)),
                _ => Self::range(0, self.max.min(other.max)),
            },
            AluOp::Or => match (self.known(), other.known()) {
                (Some(a), Some(b)) => Self::exactly(a | b),
                _ => Self::range(self.min.max(other.min), ones(self.max, other.max)),
            },
            AluOp::Xor => match (self.known(), other.known()) {
                (Some(a), Some(b)) => Self::exactly(a ^ b),
                _ => Self::range(0, ones(self.max, other.max)),
            },
            AluOp::Lsh if self.max <= 1 << (top - other.max) => {
                Self::range(self.min << other.min, self.max << other.max)
            }
            AluOp::Rsh => Self::range(self.min >> other.min, self.max >> other.max),
            AluOp::Mov => other,
            _ => Self::UNKNOWN,
        }
    }
}
