//! A second engine, which executes one instruction at a time and can say what each did: `rbpf` can't.
//!
//! It runs the same bytes on the same [`State`], by the kernel's rules, which are stricter than
//! `rbpf`'s: a register that was never written, or that a call has made void, can't be read.

use std::cell::Cell;
use std::rc::Rc;

use xhop_asm::insn::SLOT;
use xhop_asm::{AluOp, AnyReg, Cond, Helper, Insn, Mem, Operand, Program, R0, Reg, Size, Width};

use crate::compute::{alu, from_memory, holds, to_memory, turned};
use crate::error::{Error, Place};
use crate::helpers::{self, Entered};
use crate::memory;
use crate::state::State;

/// `MAX_BPF_STACK`
const STACK: usize = 512;

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    pub(crate) bits: u64,
    /// Whether it was made from an address: for people, nothing depends on it.
    pub(crate) pointer: bool,
}

/// What an instruction did.
pub(crate) enum Effect {
    /// Wrote a register.
    Set(Reg, Value),
    /// Wrote to memory.
    Stored { to: Value, size: Size, value: Value },
    /// Asked a question and, if the answer was yes, went to a slot.
    Asked { left: Value, cond: Cond, right: Value, to: Option<usize> },
    /// Went to a slot.
    Went(usize),
    /// Ended with this in `r0`.
    Exited(u64),
}

/// A run under way.
pub(crate) struct Stepper<'a> {
    program: &'a Program,
    bytes: &'a [u8],
    state: &'a State,
    regs: [Option<Value>; 11],
    stack: Cell<[u8; STACK]>,
    slot: usize,
    /// Lets the helpers find the state.
    _entered: Entered,
}

fn number(bits: u64) -> Value {
    Value { bits, pointer: false }
}

fn pointer(bits: u64) -> Value {
    Value { bits, pointer: true }
}

impl<'a> Stepper<'a> {
    /// Before the first instruction of a run for which the state is ready. Boxed, since `r10` points
    /// to the stack in it.
    pub(crate) fn new(program: &'a Program, bytes: &'a [u8], state: &'a Rc<State>) -> Box<Self> {
        let mut stepper = Box::new(Self {
            program,
            bytes,
            state,
            regs: [None; 11],
            stack: Cell::new([0; STACK]),
            slot: 0,
            _entered: Entered::new(state),
        });
        stepper.regs[1] = Some(pointer(memory::addresses(state.ctx()).start));
        stepper.regs[10] = Some(pointer(memory::addresses(stepper.stack()).end));
        stepper
    }

    /// The slot of the next instruction.
    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    /// Executes an instruction. Errors: an access outside the context, the packet, the stack and the
    /// values of maps, a register that holds nothing, what a helper can't work on, an instruction
    /// that this engine does not know.
    pub(crate) fn step(&mut self) -> Result<Effect, Error> {
        let at = self.slot;
        let insn = self.decode().map_err(|what| self.fault(at, what))?;
        self.slot += insn.slots();
        match insn {
            Insn::Store { mem, src } => self.store(at, mem, src),
            Insn::Call { helper } => self.call(at, helper),
            _ => self.execute(insn).map_err(|what| self.fault(at, what)),
        }
    }

    fn decode(&self) -> Result<Insn, String> {
        let bytes = self.slot.checked_mul(SLOT).and_then(|at| self.bytes.get(at..));
        let decoded = Insn::decode(bytes.unwrap_or_default());
        decoded.map(|(insn, _)| insn).map_err(|error| error.to_string())
    }

    fn fault(&self, at: usize, what: String) -> Error {
        let place = Place::of(self.program, at);
        Error::Insn { program: self.program.name().to_owned(), place, what }
    }

    fn execute(&mut self, insn: Insn) -> Result<Effect, String> {
        let unknown = || "the stepping engine does not know this instruction".to_owned();
        match insn {
            Insn::Alu { width, op: AluOp::Mov, dst, src } => {
                let value = self.operand(src)?;
                Ok(self.set(dst, if width == Width::W64 { value } else { low(value) }))
            }
            Insn::Alu { width, op, dst, src } => {
                let (left, right) = (self.read(dst.into())?, self.operand(src)?);
                let bits = alu(op, width, left.bits, right.bits).ok_or_else(unknown)?;
                // Of two pointers only the distance is left.
                Ok(self.set(dst, Value { bits, pointer: left.pointer != right.pointer }))
            }
            Insn::Neg { width, dst } => {
                let value = number(self.read(dst.into())?.bits.wrapping_neg());
                Ok(self.set(dst, if width == Width::W64 { value } else { low(value) }))
            }
            Insn::Endian { order, bits, dst } => {
                let value = self.read(dst.into())?.bits;
                Ok(self.set(dst, number(turned(order, bits, value).ok_or_else(unknown)?)))
            }
            Insn::Load { dst, mem } => {
                let value = self.load(mem)?;
                Ok(self.set(dst, value))
            }
            Insn::LoadImm64 { dst, imm } => Ok(self.set(dst, number(imm))),
            // As in `rbpf`: the bare index.
            Insn::LoadMap { dst, map } => Ok(self.set(dst, number(map.get().into()))),
            Insn::Jump { off } => self.jump(off).map(Effect::Went),
            Insn::Branch { width, test, off } => {
                let (left, right) = (self.read(test.dst)?, self.operand(test.src)?);
                let holds = holds(test.cond, width, left.bits, right.bits);
                let to = if holds { Some(self.jump(off)?) } else { None };
                Ok(Effect::Asked { left, cond: test.cond, right, to })
            }
            Insn::Exit => self.read(R0.into()).map(|value| Effect::Exited(value.bits)),
            _ => Err(unknown()),
        }
    }

    /// Goes `off` slots further than the next instruction.
    fn jump(&mut self, off: i16) -> Result<usize, String> {
        let to = self.slot.checked_add_signed(off.into());
        self.slot = to.ok_or_else(|| "jumps before the first instruction".to_owned())?;
        Ok(self.slot)
    }

    fn call(&mut self, at: usize, helper: Helper) -> Result<Effect, Error> {
        let function = helpers::emulation(helper)
            .ok_or_else(|| self.fault(at, format!("{helper} is not emulated")))?;
        let [_, r1, r2, r3, r4, r5, ..] = self.regs.map(|reg| reg.map_or(0, |value| value.bits));
        let bits = function(r1, r2, r3, r4, r5);
        if let Some((helper, what)) = self.state.fault.take() {
            return Err(Error::call(self.program, helper, what));
        }
        self.regs.iter_mut().skip(1).take(5).for_each(|reg| *reg = None);
        let pointer = helper == Helper::MAP_LOOKUP_ELEM && bits != 0;
        Ok(self.set(R0, Value { bits, pointer }))
    }

    fn load(&self, mem: Mem) -> Result<Value, String> {
        let (base, len) = (self.read(mem.base)?.bits, mem.size.bytes());
        let addr = base.wrapping_add_signed(mem.off.into());
        let mut bytes = [0; 8];
        let there = self.access(addr, len, &mut |cells| {
            bytes.iter_mut().zip(cells).for_each(|(byte, cell)| *byte = cell.get());
        });
        if !there {
            return Err(self.state.describe(addr, len as u64));
        }
        let ctx = memory::addresses(self.state.ctx()).start;
        let pointer = self.state.ctx_pointers().iter().any(|off| ctx + *off as u64 == addr);
        Ok(Value { bits: from_memory(bytes, mem.size), pointer })
    }

    fn store(&mut self, at: usize, mem: Mem, src: Operand) -> Result<Effect, Error> {
        let operands = self.read(mem.base).and_then(|base| Ok((base, self.operand(src)?)));
        let (base, value) = operands.map_err(|what| self.fault(at, what))?;
        let addr = base.bits.wrapping_add_signed(mem.off.into());
        let ctx = memory::addresses(self.state.ctx());
        if ctx.contains(&addr) && !self.state.may_write(addr - ctx.start, mem.size.bytes()) {
            return Err(Error::CtxWritten { program: self.program.name().to_owned() });
        }
        let bytes = to_memory(value.bits, mem.size);
        match self.access(addr, mem.size.bytes(), &mut |cells| memory::fill(cells, &bytes)) {
            true => Ok(Effect::Stored { to: pointer(addr), size: mem.size, value }),
            false => Err(self.fault(at, self.state.describe(addr, mem.size.bytes() as u64))),
        }
    }

    /// Lets `work` have the bytes at an address; `false` if a program may not have them all.
    fn access(&self, addr: u64, len: usize, work: &mut dyn FnMut(&[Cell<u8>])) -> bool {
        let rooms = [self.state.ctx(), self.state.packet.cells(), self.stack()];
        match rooms.into_iter().find_map(|cells| memory::part(cells, addr, len)) {
            Some(cells) => {
                work(cells);
                true
            }
            None => self.state.maps.iter().any(|map| map.access(addr, len, work)),
        }
    }

    fn stack(&self) -> &[Cell<u8>] {
        let stack: &Cell<[u8]> = &self.stack;
        stack.as_slice_of_cells()
    }

    fn read(&self, reg: AnyReg) -> Result<Value, String> {
        let value = self.regs.get(usize::from(reg.number())).copied().flatten();
        value.ok_or_else(|| format!("reads {reg}, which holds nothing"))
    }

    fn operand(&self, src: Operand) -> Result<Value, String> {
        match src {
            Operand::Reg(reg) => self.read(reg),
            Operand::Imm(imm) => Ok(number(imm as u64)),
        }
    }

    fn set(&mut self, dst: Reg, value: Value) -> Effect {
        if let Some(reg) = self.regs.get_mut(usize::from(dst.number())) {
            *reg = Some(value);
        }
        Effect::Set(dst, value)
    }

    /// A value for people: a pointer by what it points to.
    pub(crate) fn name(&self, value: Value) -> String {
        match value.pointer {
            true => self.place_name(value.bits).unwrap_or_else(|| format!("{:#x}", value.bits)),
            false => format!("{:#x}", value.bits),
        }
    }

    fn place_name(&self, addr: u64) -> Option<String> {
        let near = |cells: &[Cell<u8>], slack: u64| {
            let range = memory::addresses(cells);
            (range.start.saturating_sub(slack)..=range.end + slack).contains(&addr)
        };
        let from = |name: &str, base: u64| match addr.wrapping_sub(base) as i64 {
            0 => name.to_owned(),
            off => format!("{name}{off:+}"),
        };
        let (ctx, packet) = (self.state.ctx(), self.state.packet.cells());
        if near(ctx, 0) {
            return Some(from("ctx", memory::addresses(ctx).start));
        }
        if near(self.stack(), 0) {
            return Some(from("fp", memory::addresses(self.stack()).end));
        }
        let value = self.state.maps.iter().find_map(|map| map.name_at(addr));
        // Bounds are computed before they are checked: far beyond the end.
        value.or_else(|| {
            near(packet, 0x1_0000).then(|| from("pkt", memory::addresses(packet).start))
        })
    }
}

/// The low half, zero-extended.
fn low(value: Value) -> Value {
    number(u64::from(value.bits as u32))
}
