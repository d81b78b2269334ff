//! Conditional jumps: where they lead, and what is known there.

use super::finding::{Checked, Rule, broken};
use super::scalar::Scalar;
use super::state::State;
use super::value::{PacketAddr, Value};
use crate::insn::Width;
use crate::reg::{AnyReg, Cond, Operand, Reg, Test};

/// The longest packet that offsets are tracked in (`MAX_PACKET_OFF`).
const MAX_PACKET_OFF: u32 = 0xffff;

/// Where a conditional jump leads.
pub(super) enum Ways {
    /// It is always taken.
    Taken,
    /// It never is.
    Not,
    /// It may be, or not.
    Either { taken: Box<State>, not: Box<State> },
}

/// Compares; what was before holds on after it.
pub(super) fn branch(state: &State, width: Width, test: Test) -> Checked<Ways> {
    let left = state.get(test.dst)?;
    let right = state.operand(test.src, width)?;
    match (left, right) {
        (Value::Scalar(a), Value::Scalar(b)) => Ok(numbers(state, width, test, a, b)),
        (Value::LookedOrNull { map, id }, _)
            if width == Width::W64 && test.src == Operand::Imm(0) =>
        {
            match test.cond {
                Cond::Eq => Ok(null_check(state, map, id, true)),
                Cond::Ne => Ok(null_check(state, map, id, false)),
                _ => compared(left),
            }
        }
        (Value::Packet(addr), Value::PacketEnd) if width == Width::W64 => {
            with_end(state, test.dst, addr, test.cond)
        }
        (Value::PacketEnd, Value::Packet(addr)) if width == Width::W64 => match test.src {
            Operand::Reg(reg) => with_end(state, reg, addr, mirrored(test.cond)),
            Operand::Imm(_) => compared(left),
        },
        (Value::Scalar(_), other) | (other, _) => compared(other),
    }
}

fn compared(value: Value) -> Checked<Ways> {
    broken(
        Rule::PointerLeak,
        format!("compares {}: only packet addresses with data_end", value.kind()),
    )
}

fn either(taken: State, not: State) -> Ways {
    Ways::Either { taken: Box::new(taken), not: Box::new(not) }
}

fn both(state: &State) -> Ways {
    either(state.clone(), state.clone())
}

/// What a lookup gave is compared with NULL.
fn null_check(state: &State, map: u32, id: u32, taken_is_null: bool) -> Ways {
    let becomes = |value: Value| {
        let mut state = state.clone();
        for place in state.values_mut() {
            if matches!(place, Value::LookedOrNull { id: other, .. } if *other == id) {
                *place = value;
            }
        }
        state
    };
    let null = becomes(Value::Scalar(Scalar::exactly(0)));
    let value = becomes(Value::Looked { map, off: 0 });
    match taken_is_null {
        true => either(null, value),
        false => either(value, null),
    }
}

/// A packet address is compared with `data_end`: on one way it is known not to be beyond it. On the other its
/// register is of no more use: since 5.11 kernels give access to nothing by it (`mark_pkt_end`), and take it
/// to be beyond the end even after it was moved back.
fn with_end(state: &State, reg: AnyReg, addr: PacketAddr, cond: Cond) -> Checked<Ways> {
    let (mut inside, mut beyond) = (state.clone(), state.clone());
    if let (Cond::Gt | Cond::Le, Ok(len)) = (cond, u32::try_from(addr.off)) {
        if len + addr.bound <= MAX_PACKET_OFF {
            inside.is_inside(addr.id, len);
        }
    }
    if let Some(reg) = Reg::new(reg.number()) {
        beyond.set(reg, Value::Void);
    }
    match cond {
        Cond::Le | Cond::Lt => Ok(either(inside, beyond)),
        Cond::Gt | Cond::Ge => Ok(either(beyond, inside)),
        _ => compared(Value::Packet(addr)),
    }
}

/// The same question with its sides exchanged.
fn mirrored(cond: Cond) -> Cond {
    match cond {
        Cond::Gt => Cond::Lt,
        Cond::Ge => Cond::Le,
        Cond::Lt => Cond::Gt,
        Cond::Le => Cond::Ge,
        other => other,
    }
}

fn numbers(state: &State, width: Width, test: Test, a: Scalar, b: Scalar) -> Ways {
    let (low_a, low_b) = (a.moved(width), b.moved(width));
    // The kernel looks at ranges only where the right side is one number.
    let Some(value) = low_b.known() else { return both(state) };
    match decided(test.cond, low_a, value, width) {
        Some(true) => Ways::Taken,
        Some(false) => Ways::Not,
        // On 32 bits of more nothing is learnt.
        None if low_a != a => both(state),
        None => {
            let (mut taken, mut not) = (state.clone(), state.clone());
            learn(&mut taken, test, a, test.cond, value);
            if let Some(cond) = opposite(test.cond) {
                learn(&mut not, test, a, cond, value);
            }
            either(taken, not)
        }
    }
}

/// Whether the answer is known.
fn decided(cond: Cond, a: Scalar, value: u64, width: Width) -> Option<bool> {
    let signed = |n: u64| if width == Width::W64 { n as i64 } else { (n as u32 as i32).into() };
    let exact = a.known();
    match cond {
        Cond::Eq => exact.map(|a| a == value),
        Cond::Ne => exact.map(|a| a != value),
        Cond::Set => exact.map(|a| a & value != 0),
        Cond::Sgt => exact.map(|a| signed(a) > signed(value)),
        Cond::Sge => exact.map(|a| signed(a) >= signed(value)),
        Cond::Slt => exact.map(|a| signed(a) < signed(value)),
        Cond::Sle => exact.map(|a| signed(a) <= signed(value)),
        Cond::Gt => by_range(a.min > value, a.max <= value),
        Cond::Ge => by_range(a.min >= value, a.max < value),
        Cond::Lt => by_range(a.max < value, a.min >= value),
        Cond::Le => by_range(a.max <= value, a.min > value),
    }
}

fn by_range(always: bool, never: bool) -> Option<bool> {
    match (always, never) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

fn opposite(cond: Cond) -> Option<Cond> {
    match cond {
        Cond::Eq => Some(Cond::Ne),
        Cond::Ne => Some(Cond::Eq),
        Cond::Gt => Some(Cond::Le),
        Cond::Ge => Some(Cond::Lt),
        Cond::Lt => Some(Cond::Ge),
        Cond::Le => Some(Cond::Gt),
        _ => None,
    }
}

/// The left side's range where the comparison holds. It can: `decided` has said so.
fn learn(state: &mut State, test: Test, a: Scalar, cond: Cond, value: u64) {
    if let (Cond::Eq | Cond::Ne, Some(field)) = (cond, a.field) {
        state.headers.learn(field, value, cond == Cond::Eq);
    }
    let (min, max) = match cond {
        Cond::Eq => {
            return state.set_number(test.dst, Scalar::exactly(value).of(a.field));
        }
        Cond::Gt => (a.min.max(value.saturating_add(1)), a.max),
        Cond::Ge => (a.min.max(value), a.max),
        Cond::Lt => (a.min, a.max.min(value.saturating_sub(1))),
        Cond::Le => (a.min, a.max.min(value)),
        _ => return,
    };
    state.set_number(test.dst, a.bounded(min, max));
}
