//! One instruction's effect on a state.

use super::facts::Facts;
use super::field::Field;
use super::finding::{Checked, Rule, broken};
use super::scalar::Scalar;
use super::state::State;
use super::value::{PacketAddr, Value};
use crate::hook::Hook;
use crate::insn::{AluOp, ByteOrder, Insn, Width};
use crate::map::MapShape;
use crate::reg::{Operand, R0, Reg};

/// Addresses are not moved further than this from where they were.
const MAX_OFF: i64 = 0xffff;

/// How many maps a program may have (`MAX_USED_MAPS`).
const MAX_MAPS: usize = 64;

/// Steps through instructions and notes what they do.
pub(super) struct Machine<'a> {
    pub(super) maps: &'a [MapShape],
    pub(super) facts: Facts,
    last_id: u32,
}

impl<'a> Machine<'a> {
    pub(super) fn new(hook: Hook, maps: &'a [MapShape]) -> Self {
        Self { maps, facts: Facts { hook, ..Facts::default() }, last_id: 0 }
    }

    /// A number that nothing had before; there are fewer steps than numbers.
    pub(super) fn new_id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    /// An instruction that goes on to the next.
    pub(super) fn step(&mut self, state: &mut State, insn: &Insn) -> Checked<()> {
        match insn {
            Insn::Alu { width, op, dst, src } => {
                let value = self.alu(state, *width, *op, *dst, *src)?;
                state.set(*dst, value);
            }
            Insn::Neg { dst, .. } => {
                number(state, *dst)?;
                state.set(*dst, Value::UNKNOWN);
            }
            Insn::Endian { order, bits, dst } => {
                let field = number(state, *dst)?.field;
                let field = field.filter(|f| u32::from(*bits) == 8 * f.len && !f.swapped);
                let swapped = *order == ByteOrder::Big;
                let field = field.map(|field| Field { swapped, ..field });
                state.set(*dst, Value::Scalar(Scalar::UNKNOWN.of(field)));
            }
            Insn::Load { dst, mem } => {
                let value = self.load(state, *mem)?;
                state.set(*dst, value);
            }
            Insn::Store { mem, src } => {
                let value = state.operand(*src, Width::W64)?;
                if matches!(src, Operand::Imm(_)) && state.get(mem.base)? == Value::Ctx {
                    let what = "writes a constant to the context: old kernels take registers alone";
                    return broken(Rule::Context, what);
                }
                self.store(state, *mem, value)?;
            }
            Insn::LoadImm64 { dst, imm } => state.set(*dst, Value::Scalar(Scalar::exactly(*imm))),
            Insn::LoadMap { dst, map } => {
                let count = self.maps.len();
                if map.get() as usize >= count.min(MAX_MAPS) {
                    let what = format!(
                        "map {} of {count} is not in the list, or beyond the {MAX_MAPS} that kernels take",
                        map.get()
                    );
                    return broken(Rule::Map, what);
                }
                self.facts.map(map.get());
                state.set(*dst, Value::Map(map.get()));
            }
            Insn::Call { helper } => self.call(state, *helper)?,
            // The walk follows these.
            Insn::Jump { .. } | Insn::Branch { .. } | Insn::Exit => {}
            // `Code::read` has refused it.
            _ => return broken(Rule::Subset, format!("{insn}: not modelled")),
        }
        Ok(())
    }

    /// The end of a path.
    pub(super) fn exit(&mut self, state: &State) -> Checked<()> {
        match state.get(R0)? {
            Value::Scalar(verdict) => {
                // The kernel looks at the low half only.
                let low = u64::from(u32::MAX);
                let (min, max) = match verdict.known() {
                    Some(value) => (value & low, value & low),
                    None if verdict.max <= low => (verdict.min, verdict.max),
                    None => (0, low),
                };
                self.facts.verdicts.add(min, max);
                Ok(())
            }
            other => broken(Rule::PointerLeak, format!("returns {}", other.kind())),
        }
    }

    fn alu(
        &mut self,
        state: &State,
        width: Width,
        op: AluOp,
        dst: Reg,
        src: Operand,
    ) -> Checked<Value> {
        let right = state.operand(src, width)?;
        if op == AluOp::Mov {
            return match right {
                Value::Scalar(scalar) => Ok(Value::Scalar(scalar.moved(width))),
                _ if width == Width::W64 => Ok(right),
                _ => broken(Rule::PointerArithmetic, format!("cuts {} in half", right.kind())),
            };
        }
        constant(op, width, src)?;
        let left = state.get(dst)?;
        match (left, right) {
            (Value::Scalar(a), Value::Scalar(b)) => Ok(Value::Scalar(a.operate(op, b, width))),
            (at, Value::Scalar(by)) if width == Width::W64 && op == AluOp::Add => {
                self.moved(at, by)
            }
            (Value::Scalar(by), at) if width == Width::W64 && op == AluOp::Add => {
                self.moved(at, by)
            }
            (Value::Stack(_), Value::Scalar(_)) if op == AluOp::Sub => broken(
                Rule::PointerArithmetic,
                "subtracts from an address on the stack, which no kernel takes: add a negative number",
            ),
            (at, Value::Scalar(by)) if width == Width::W64 && op == AluOp::Sub => {
                match by.known() {
                    Some(by) => self.moved(at, Scalar::exactly(by.wrapping_neg())),
                    None => broken(
                        Rule::PointerArithmetic,
                        "subtracts an unknown number from an address",
                    ),
                }
            }
            (Value::PacketEnd | Value::Packet(_), Value::Packet(_))
                if width == Width::W64 && op == AluOp::Sub =>
            {
                Ok(Value::UNKNOWN)
            }
            (Value::Scalar(_), other) | (other, _) => broken(
                Rule::PointerArithmetic,
                format!("`{op}` on {}: only a number can be added or subtracted", other.kind()),
            ),
        }
    }

    /// An address plus a number.
    fn moved(&mut self, at: Value, by: Scalar) -> Checked<Value> {
        let within = |off: i64| match i32::try_from(off) {
            Ok(near) if off.abs() <= MAX_OFF => Ok(near),
            _ => broken(Rule::PointerArithmetic, format!("moves an address by {off} bytes")),
        };
        match (at, by.known().map(|by| by as i64)) {
            (Value::Stack(off), Some(by)) => {
                Ok(Value::Stack(within(by.saturating_add(off.into()))?))
            }
            (Value::Looked { map, off }, Some(by)) => {
                Ok(Value::Looked { map, off: within(by.saturating_add(off.into()))? })
            }
            (Value::Packet(addr), Some(by)) => {
                let off = within(by.saturating_add(addr.off.into()))?;
                Ok(Value::Packet(PacketAddr { off, ..addr }))
            }
            (Value::Packet(addr), None) => {
                let bound = by.max.saturating_add(addr.bound.into());
                if bound > MAX_OFF as u64 {
                    let what =
                        "adds a number that may be large to a packet address: bound it first";
                    return broken(Rule::PointerArithmetic, what);
                }
                let (min, max) = by.truly();
                let (min, max) = (addr.min + min as u32, addr.max + max as u32);
                let (id, bound) = (self.new_id(), bound as u32);
                Ok(Value::Packet(PacketAddr { off: addr.off, id, min, max, bound, checked: 0 }))
            }
            (Value::Stack(_) | Value::Looked { .. }, None) => {
                broken(Rule::PointerArithmetic, format!("adds an unknown number to {}", at.kind()))
            }
            (Value::LookedOrNull { .. }, _) => broken(
                Rule::NullCheck,
                "moves an address that may be NULL: compare it with 0 first",
            ),
            _ => broken(Rule::PointerArithmetic, format!("moves {}", at.kind())),
        }
    }
}

/// What the kernel refuses of constants.
fn constant(op: AluOp, width: Width, src: Operand) -> Checked<()> {
    let bits = if width == Width::W64 { 64 } else { 32 };
    match (op, src) {
        (AluOp::Div | AluOp::Mod, Operand::Imm(0)) => broken(Rule::Constant, "divides by zero"),
        (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Operand::Imm(n)) if !(0..bits).contains(&n) => {
            broken(Rule::Constant, format!("shifts {bits} bits by {n}"))
        }
        _ => Ok(()),
    }
}

fn number(state: &State, reg: Reg) -> Checked<Scalar> {
    match state.get(reg)? {
        Value::Scalar(scalar) => Ok(scalar),
        other => broken(Rule::PointerArithmetic, format!("{reg} is {}", other.kind())),
    }
}
