//! What random programs are made of.

use super::*;
use xhop_asm::{FP, R3, R4, R5, R8};

impl Writer<'_> {
    /// One statement; blocks nest `depth` deep.
    pub(super) fn statement(&mut self, depth: usize) {
        match self.dice.below(if depth == 0 { 13 } else { 22 }) {
            0..3 => self.arithmetic(),
            3 => self.half(),
            4 => self.turn(),
            5 => self.wide(),
            6 => self.store_stack(),
            7 => self.load_stack(),
            8 => self.load_packet(),
            9 => self.store_packet(),
            10 => self.spill(),
            11 => self.length(),
            12 => self.rewrite(),
            13 => self.further(),
            14 => self.look_up(),
            15 => self.redirect(),
            16..18 => self.either(depth),
            18 => self.repeat(depth),
            19 => self.header(depth),
            20 => self.cut(),
            _ => self.sum(),
        }
    }

    fn arithmetic(&mut self) {
        use AluOp::*;
        let op = [Add, Sub, Mul, Div, Or, And, Lsh, Rsh, Mod, Xor, Mov, Arsh][self.dice.below(12)];
        let (dst, src) = (self.target(op), self.amount(op, 64));
        self.alu(op, dst, src);
        self.now_number(dst);
    }

    fn half(&mut self) {
        use AluOp::*;
        let op = [Div, Or, And, Lsh, Rsh, Mod, Xor, Mov, Arsh][self.dice.below(9)];
        let (dst, src) = (self.target(op), self.amount(op, 32));
        self.emit(Insn::Alu { width: Width::W32, op, dst, src });
        self.now_number(dst);
    }

    /// What is only written may hold nothing before.
    fn target(&mut self, op: AluOp) -> Reg {
        loop {
            let reg = if op == AluOp::Mov { self.free() } else { self.number() };
            if reg != R8 || !self.in_loop {
                return reg;
            }
        }
    }

    /// The right side; constants that no kernel takes are rare.
    fn amount(&mut self, op: AluOp, bits: usize) -> Operand {
        use AluOp::*;
        let sane = !self.dice.one_in(50);
        match op {
            Lsh | Rsh | Arsh if sane => (self.dice.below(bits) as i32).into(),
            Div | Mod if sane => match self.operand() {
                Operand::Imm(0) => 1.into(),
                other => other,
            },
            _ => self.operand(),
        }
    }

    fn turn(&mut self) {
        let dst = self.target(AluOp::Add);
        if self.dice.one_in(4) {
            return self.emit(Insn::Neg { width: Width::W64, dst });
        }
        let order = [ByteOrder::Big, ByteOrder::Little][self.dice.below(2)];
        let bits = [16, 32, 64][self.dice.below(3)];
        self.emit(Insn::Endian { order, bits, dst });
    }

    fn wide(&mut self) {
        let (dst, imm) = (self.free(), self.dice.next() >> self.dice.below(64));
        self.emit(Insn::LoadImm64 { dst, imm });
        self.now_number(dst);
    }

    fn store_stack(&mut self) {
        let off = -8 * (1 + self.dice.below(8) as i16);
        let src = self.operand();
        self.emit(Insn::Store { mem: FP.u64(off), src });
        self.stack.push(off);
    }

    fn load_stack(&mut self) {
        if self.stack.is_empty() {
            self.store_stack();
        }
        let off = self.stack[self.dice.below(self.stack.len())];
        let size = size(self.dice);
        let step = size.bytes() as i16;
        let off = off + step * self.dice.below(8 / step as usize) as i16;
        let dst = self.free();
        self.emit(Insn::Load { dst, mem: place(FP, off, size) });
        self.now_number(dst);
    }

    /// An offset in the packet, mostly within what was checked.
    fn offset(&mut self, size: Size) -> i16 {
        let slack = if self.dice.one_in(60) { 4 } else { 0 };
        self.dice.below((self.checked + 1 + slack) as usize - size.bytes()) as i16
    }

    fn load_packet(&mut self) {
        let size = size(self.dice);
        let (dst, off) = (self.free(), self.offset(size));
        self.emit(Insn::Load { dst, mem: place(PACKET, off, size) });
        self.now_number(dst);
    }

    fn store_packet(&mut self) {
        let size = size(self.dice);
        let (src, off) = (self.operand(), self.offset(size));
        self.emit(Insn::Store { mem: place(PACKET, off, size), src });
    }

    /// The packet's address goes over the stack.
    fn spill(&mut self) {
        let off = -80 - 8 * self.dice.below(3) as i16;
        self.emit(Insn::Store { mem: FP.u64(off), src: PACKET.into() });
        let via = self.free();
        self.emit(Insn::Load { dst: via, mem: FP.u64(off) });
        let (size, dst) = (size(self.dice), self.free());
        let at = self.offset(size);
        self.emit(Insn::Load { dst, mem: place(via, at, size) });
        self.now_number(dst);
        if via != dst {
            let value = self.dice.value();
            self.set(via, value);
        }
    }

    fn length(&mut self) {
        let dst = self.free();
        self.alu(AluOp::Mov, dst, END);
        self.alu(AluOp::Sub, dst, PACKET);
        self.now_number(dst);
    }

    /// A field by which headers are told apart: where it is, how long, and what may be there.
    fn field(&mut self) -> (i16, Size, i32) {
        let (off, size) =
            [(12, Size::U16), (14, Size::U8), (20, Size::U8), (23, Size::U8)][self.dice.below(4)];
        let values: &[i32] = match off {
            12 => &[0x0800, 0x0008, 0x86dd, 0xdd86, 0x1_0008],
            14 => &[0x45, 0x46, 0x60],
            _ => &[6, 17, 1],
        };
        (off, size, values[self.dice.below(values.len())])
    }

    fn rewrite(&mut self) {
        let (off, size, value) = self.field();
        if off + size.bytes() as i16 <= self.checked {
            self.emit(Insn::Store { mem: place(PACKET, off, size), src: Operand::Imm(value) });
        }
    }

    /// Statements for packets of a kind; now and then something happens before it is asked.
    fn header(&mut self, depth: usize) {
        let (off, size, value) = self.field();
        let dst = self.free();
        if off + size.bytes() as i16 > self.checked || dst == R8 {
            return self.arithmetic();
        }
        self.emit(Insn::Load { dst, mem: place(PACKET, off, size) });
        self.now_number(dst);
        if self.dice.one_in(4) {
            self.rewrite();
        }
        match self.dice.below(6) {
            0 => self.emit(Insn::Endian { order: ByteOrder::Big, bits: 16, dst }),
            1 => self.alu(AluOp::And, dst, 0xffff),
            2 => self.alu(AluOp::And, dst, value),
            _ => {}
        }
        let cond = if self.dice.one_in(3) { Cond::Eq } else { Cond::Ne };
        let width = [Width::W64, Width::W32][self.dice.below(2)];
        let over = self.branch(width, Test { dst: dst.into(), cond, src: value.into() });
        self.block(depth);
        self.land(over);
    }

    /// Makes the packet shorter or longer; its addresses are void after it.
    fn cut(&mut self) {
        let delta = self.dice.below(24) as i32 - 16;
        self.alu(AluOp::Mov, R1, CTX);
        self.alu(AluOp::Mov, R2, delta);
        self.emit(Insn::Call { helper: Helper::XDP_ADJUST_TAIL });
        self.load(PACKET, Some(xdp_md::DATA), CTX);
        self.load(END, Some(xdp_md::DATA_END), CTX);
        self.called();
        self.check(self.checked);
    }

    /// An access at an offset that the packet says.
    fn further(&mut self) {
        let (mask, len) = (self.dice.below(128) as i32, 1 + self.dice.below(16) as i32);
        let first = self.offset(Size::U8);
        self.emit(Insn::Load { dst: R3, mem: PACKET.u8(first) });
        self.alu(AluOp::And, R3, mask);
        if self.dice.one_in(3) {
            let shift = self.dice.below(5) as i32;
            self.alu(AluOp::Lsh, R3, shift);
        }
        self.alu(AluOp::Add, R3, PACKET);
        self.alu(AluOp::Mov, R4, R3);
        self.alu(AluOp::Add, R4, len);
        let out = self.branch(Width::W64, R4.gt(END));
        self.to_end.push(out);
        let slack = if self.dice.one_in(30) { 2 } else { 0 };
        let off = self.dice.below((len + slack) as usize) as i16;
        match self.dice.one_in(2) {
            true => self.emit(Insn::Load { dst: R0, mem: R3.u8(off) }),
            false => self.emit(Insn::Store { mem: R3.u8(off), src: Operand::Imm(len) }),
        }
        let value = self.dice.value();
        self.set(R3, value);
        self.set(R4, value);
        self.now_number(R0);
    }

    fn look_up(&mut self) {
        let which = self.dice.below(2);
        match self.dice.one_in(3) {
            true => {
                let off = self.offset(Size::U32);
                self.alu(AluOp::Mov, R2, PACKET);
                self.alu(AluOp::Add, R2, i32::from(off));
            }
            false => {
                let key = self.dice.below(KEYS as usize + 2) as i32;
                self.emit(Insn::Store { mem: FP.u32(-4), src: key.into() });
                self.alu(AluOp::Mov, R2, FP);
                self.alu(AluOp::Add, R2, -4);
            }
        }
        self.emit(Insn::LoadMap { dst: R1, map: self.maps[which] });
        self.emit(Insn::Call { helper: Helper::MAP_LOOKUP_ELEM });
        self.called_keeping_r0();
        let none = (!self.dice.one_in(60)).then(|| self.branch(Width::W64, R0.eq(0)));
        let size = size(self.dice);
        let slack = if self.dice.one_in(40) { 1 } else { 0 };
        let off = (size.bytes() * self.dice.below(16 / size.bytes() + slack)) as i16;
        self.emit(Insn::Load { dst: R1, mem: place(R0, off, size) });
        self.alu(AluOp::Add, R1, 1);
        self.emit(Insn::Store { mem: place(R0, off, size), src: R1.into() });
        if let Some(none) = none {
            self.land(none);
        }
        let value = self.dice.value();
        self.set(R0, value);
    }

    fn called_keeping_r0(&mut self) {
        self.holds[0..6].fill(Holds::Nothing);
    }

    fn redirect(&mut self) {
        let (key, flags) = (self.operand(), self.dice.below(4) as i32);
        self.alu(AluOp::Mov, R2, key);
        self.emit(Insn::LoadMap { dst: R1, map: self.maps[2] });
        self.alu(AluOp::Mov, R3, flags);
        self.emit(Insn::Call { helper: Helper::REDIRECT_MAP });
        self.called();
    }

    /// A branch over a few statements.
    fn either(&mut self, depth: usize) {
        let width = [Width::W64, Width::W32][self.dice.below(2)];
        let src = match self.operand() {
            Operand::Imm(imm) if width == Width::W64 => Operand::Imm(imm & i32::MAX),
            other => other,
        };
        let test = Test { dst: self.number().into(), cond: cond(self.dice), src };
        let over = self.branch(width, test);
        self.block(depth);
        self.land(over);
    }

    /// A few statements that may be jumped over.
    fn block(&mut self, depth: usize) {
        let (holds, stack, checked) = (self.holds, self.stack.len(), self.checked);
        for _ in 0..1 + self.dice.below(4) {
            self.statement(depth - 1);
        }
        if self.dice.one_in(5) {
            self.leave();
        }
        for (now, before) in self.holds.iter_mut().zip(holds) {
            if before == Holds::Nothing {
                *now = before;
            }
        }
        self.stack.truncate(stack);
        self.checked = checked;
    }

    /// A loop that counts `r8` down.
    fn repeat(&mut self, depth: usize) {
        if self.in_loop {
            return self.arithmetic();
        }
        let rounds = 1 + self.dice.below(12) as i32;
        self.set(R8, rounds);
        let (start, holds) = (self.slots, self.holds);
        self.in_loop = true;
        for _ in 0..1 + self.dice.below(4) {
            self.statement(depth - 1);
        }
        for (number, before) in (0..6).zip(holds) {
            let reg = Reg::new(number).expect("below 10");
            if before == Holds::Number && self.holds[usize::from(number)] == Holds::Nothing {
                let value = self.dice.value();
                self.set(reg, value);
            }
        }
        self.in_loop = false;
        self.alu(AluOp::Sub, R8, 1);
        let back = start as i64 - self.slots as i64 - 1;
        let off = i16::try_from(back).expect("programs are short");
        self.emit(Insn::Branch { width: Width::W64, test: R8.ne(0), off });
    }

    /// Kernels fold the sum differently far: fold it to the end.
    fn sum(&mut self) {
        let words = 1 + self.dice.below(self.checked as usize / 4) as i32;
        self.set(R1, 0);
        self.set(R2, 0);
        self.alu(AluOp::Mov, R3, PACKET);
        self.set(R4, 4 * words);
        self.set(R5, 0);
        self.emit(Insn::Call { helper: Helper::CSUM_DIFF });
        self.called_keeping_r0();
        for _ in 0..2 {
            self.alu(AluOp::Mov, R1, R0);
            self.alu(AluOp::Rsh, R1, 16);
            self.alu(AluOp::And, R0, 0xffff);
            self.alu(AluOp::Add, R0, R1);
        }
        self.now_number(R0);
        self.set(R1, 0);
    }

    /// Ends the program here.
    pub(super) fn leave(&mut self) {
        let verdict = match self.dice.below(3) {
            0 => self.number().into(),
            _ => Operand::Imm(self.dice.below(5) as i32),
        };
        self.alu(AluOp::Mov, R0, verdict);
        self.emit(Insn::Exit);
    }
}
