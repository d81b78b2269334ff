//! A state of the machine, and when one covers another.

use super::code::Code;
use super::field::Headers;
use super::finding::{Checked, Rule, broken};
use super::scalar::Scalar;
use super::value::Value;
use crate::insn::Width;
use crate::reg::{AnyReg, Operand, Reg};

/// Eight bytes of the stack.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Slot {
    /// Bit n: the byte n of the slot was written.
    pub(super) written: u8,
    /// An address that was stored here whole.
    pub(super) spilled: Option<Value>,
    /// Bit n: the byte n was written alone, with this constant.
    constant: u8,
    constants: [u8; 8],
}

impl Slot {
    /// The constant that was put into this byte, if one was.
    pub(super) fn constant(&self, byte: usize) -> Option<u8> {
        (self.constant >> byte & 1 == 1).then(|| self.constants[byte])
    }

    /// These bytes are written anew: if as one byte, perhaps with a constant.
    pub(super) fn keep(&mut self, bytes: u8, byte: usize, constant: Option<u8>) {
        self.constant &= !bytes;
        if let Some(constant) = constant {
            self.constant |= 1 << byte;
            self.constants[byte] = constant;
        }
    }

    /// Whether it is known to have been written where `other` was too, and to be the same constants.
    fn knows_no_more(&self, other: &Self) -> bool {
        let same = |byte| self.constants[byte] == other.constants[byte];
        self.written & !other.written == 0
            && self.constant & !other.constant == 0
            && (0..8).all(|byte| self.constant >> byte & 1 == 0 || same(byte))
    }
}

/// What is known before an instruction.
#[derive(Clone, Debug)]
pub(super) struct State {
    registers: [Value; 11],
    /// From the frame pointer downwards.
    pub(super) stack: Vec<Slot>,
    pub(super) headers: Headers,
}

impl State {
    /// At entry.
    pub(super) fn entry() -> Self {
        let mut registers = [Value::Unset; 11];
        registers[1] = Value::Ctx;
        registers[10] = Value::Stack(0);
        Self { registers, stack: Vec::new(), headers: Headers::default() }
    }

    /// What a register holds; it must hold something.
    pub(super) fn get(&self, reg: impl Into<AnyReg>) -> Checked<Value> {
        let reg = reg.into();
        match self.registers.get(usize::from(reg.number())) {
            None | Some(Value::Unset) => {
                broken(Rule::Uninitialised, format!("{reg} is read, but nothing was put there"))
            }
            Some(Value::Void) => broken(
                Rule::Uninitialised,
                format!(
                    "{reg} is read, but what was there is void: of before a call, or beyond data_end"
                ),
            ),
            Some(value) => Ok(*value),
        }
    }

    /// An operand's value.
    pub(super) fn operand(&self, src: Operand, width: Width) -> Checked<Value> {
        match src {
            Operand::Reg(reg) => self.get(reg),
            Operand::Imm(imm) => Ok(Value::Scalar(Scalar::immediate(imm, width))),
        }
    }

    /// Puts a value into a register.
    pub(super) fn set(&mut self, reg: Reg, value: Value) {
        if let Some(place) = self.registers.get_mut(usize::from(reg.number())) {
            *place = value;
        }
    }

    /// Puts a number in the place of another.
    pub(super) fn set_number(&mut self, reg: AnyReg, number: Scalar) {
        if let Some(reg) = Reg::new(reg.number()) {
            self.set(reg, Value::Scalar(number));
        }
    }

    /// Everything that holds a value.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        let spilled = self.stack.iter_mut().filter_map(|slot| slot.spilled.as_mut());
        self.registers.iter_mut().chain(spilled)
    }

    /// `len` bytes from `data` + this variable part are in the packet.
    pub(super) fn is_inside(&mut self, id: u32, len: u32) {
        for value in self.values_mut() {
            if let Value::Packet(place) = value {
                if place.id == id {
                    place.checked = place.checked.max(len);
                }
            }
        }
    }

    /// The packet's bytes `start..end` are no more what they were: nothing that was read there tells what is.
    pub(super) fn forget(&mut self, start: u32, end: u32) {
        self.headers.forget(start, end);
        for value in &mut self.registers {
            if let Value::Scalar(scalar) = value {
                scalar.field = scalar.field.filter(|field| !field.meets(start, end));
            }
        }
    }

    /// Whether all that can happen from `other` can happen from `self` too, at this slot. What matters is
    /// what can be read from there on.
    pub(super) fn covers(&self, other: &Self, code: &Code, slot: usize) -> bool {
        let mut ids = Ids::default();
        let registers = self.registers.iter().zip(&other.registers).enumerate();
        let mut stack = self.stack.iter().enumerate();
        let nothing = Slot::default();
        other.headers.knows(&self.headers)
            && registers
                .filter(|(number, _)| code.is_live(slot, *number))
                .all(|(_, (mine, others))| covers(*mine, *others, &mut ids))
            && stack.all(|(at, mine)| {
                let others = other.stack.get(at).unwrap_or(&nothing);
                match (mine.spilled, others.spilled) {
                    (Some(mine), Some(others)) => covers(mine, others, &mut ids),
                    (None, None) => mine.knows_no_more(others),
                    (None, Some(_)) => mine.written == 0,
                    (Some(_), None) => false,
                }
            })
    }
}

/// Ids that stand for the same in two states.
#[derive(Default)]
struct Ids(Vec<(u32, u32)>);

impl Ids {
    fn same(&mut self, mine: u32, others: u32) -> bool {
        match self.0.iter().find(|(a, b)| *a == mine || *b == others) {
            Some(pair) => *pair == (mine, others),
            None => {
                self.0.push((mine, others));
                // No variable part is never the same as one.
                (mine == 0) == (others == 0)
            }
        }
    }
}

fn covers(mine: Value, others: Value, ids: &mut Ids) -> bool {
    match (mine, others) {
        // Who came through without reading it needs nothing there.
        (Value::Unset | Value::Void, _) => true,
        (Value::Scalar(mine), Value::Scalar(others)) => {
            others.within(mine)
                && (mine.field.is_none() || mine.field == others.field)
                && (mine.constant.is_none() || mine.constant == others.constant)
        }
        (Value::Packet(mine), Value::Packet(others)) => {
            mine.off == others.off
                && mine.checked <= others.checked
                && mine.min <= others.min
                && others.max <= mine.max
                && others.bound <= mine.bound
                && ids.same(mine.id, others.id)
        }
        (Value::LookedOrNull { map, id }, Value::LookedOrNull { map: other, id: others }) => {
            map == other && ids.same(id, others)
        }
        _ => mine == others,
    }
}
