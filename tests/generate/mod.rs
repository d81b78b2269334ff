//! Random programs: most of them make sense, some are spoilt on purpose.

#![allow(dead_code)]

mod dice;
mod statements;

pub use dice::Dice;

use xhop_asm::blocks::endpoint;
use xhop_asm::{
    AluOp, Assembler, ByteOrder, Cond, Helper, Insn, MapDecl, MapIndex, MapKind, Mem, Operand,
    Pointer, Program, R0, R1, R2, R6, R7, R9, Reg, Size, Test, Width, xdp::xdp_md,
};

/// The maps of all random programs, in the order of their list.
pub fn maps() -> [MapDecl; 3] {
    let table = MapDecl {
        name: "table",
        kind: MapKind::Hash,
        key_size: 4,
        value_size: 16,
        max_entries: 64,
        flags: 0,
    };
    let slots =
        MapDecl { name: "slots", kind: MapKind::PercpuArray, max_entries: 8, ..table.clone() };
    [table, slots, endpoint::ports()]
}

/// Keys of `table` that have values.
pub const KEYS: u32 = 8;

/// A random program with [`maps`], by its seed.
pub fn program(seed: u64) -> Program {
    let mut dice = Dice::new(seed);
    let mut asm = Assembler::new(format!("random_{seed:x}"));
    let maps = maps().map(|decl| asm.map(decl));
    let mut writer = Writer::new(&mut dice, maps);
    writer.whole();
    let mut insns = writer.insns;
    // Before it is folded, a sum is not the same in all kernels.
    let sums = insns.contains(&Insn::Call { helper: Helper::CSUM_DIFF });
    if !sums && dice.one_in(3) {
        spoil(&mut insns, &mut dice);
    }
    for insn in insns {
        asm.emit(insn, "random");
    }
    asm.finish().expect("no labels, no errors")
}

/// Random bytes, most of them with what the programs ask for.
pub fn packet(dice: &mut Dice) -> Vec<u8> {
    let len = 14 + dice.below(120);
    let mut packet = dice.bytes(len);
    let mut put = |at: usize, bytes: &[u8]| {
        packet.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    };
    put(12, [&[8, 0], &[0x86, 0xdd], &[0, 8], &[0, 0]][dice.below(4)]);
    put(14, &[[0x45, 0x46, 0x60, 0][dice.below(4)]]);
    put(20, &[[6, 17, 1, 0][dice.below(4)]]);
    put(23, &[[6, 17, 1, 0][dice.below(4)]]);
    packet
}

/// A program's instructions, for messages.
pub fn text(program: &Program) -> String {
    let mut slot = 0;
    let line = |insn: &Insn| {
        slot += insn.slots();
        format!("{:4}: {insn}\n", slot - insn.slots())
    };
    program.lines().iter().map(|line| &line.insn).map(line).collect()
}

/// Flips a bit, or takes an instruction out; what is no instruction then is left as it was.
fn spoil(insns: &mut Vec<Insn>, dice: &mut Dice) {
    let at = dice.below(insns.len());
    if dice.one_in(4) {
        insns.remove(at);
        return;
    }
    let mut bytes = Vec::new();
    insns[at].encode(ByteOrder::Little, &mut bytes);
    let bit = dice.below(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    if let Ok((insn, [])) = Insn::decode(&bytes) {
        insns[at] = insn;
    }
}

/// What a register is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Number,
    Nothing,
    /// One of those that the whole program keeps.
    Kept,
}

/// Packet and end are kept in `r6` and `r7`, the context in `r9`; `r8` counts loops.
const PACKET: Reg = R6;
const END: Reg = R7;
const CTX: Reg = R9;

struct Writer<'a> {
    dice: &'a mut Dice,
    maps: [MapIndex; 3],
    insns: Vec<Insn>,
    slots: usize,
    holds: [Holds; 10],
    /// Packet bytes that are known to be there.
    checked: i16,
    /// Stack slots of eight bytes that hold numbers.
    stack: Vec<i16>,
    /// Branches that lead to the common end.
    to_end: Vec<Branch>,
    in_loop: bool,
}

/// A branch whose target is not known yet.
struct Branch {
    insn: usize,
    slot: usize,
}

impl<'a> Writer<'a> {
    fn new(dice: &'a mut Dice, maps: [MapIndex; 3]) -> Self {
        Self {
            dice,
            maps,
            insns: Vec::new(),
            slots: 0,
            holds: [Holds::Nothing; 10],
            checked: 0,
            stack: Vec::new(),
            to_end: Vec::new(),
            in_loop: false,
        }
    }

    fn whole(&mut self) {
        self.load(CTX, None, R1);
        self.load(PACKET, Some(xdp_md::DATA), R1);
        self.load(END, Some(xdp_md::DATA_END), R1);
        for kept in [PACKET, END, CTX] {
            self.holds[usize::from(kept.number())] = Holds::Kept;
        }
        for number in [0, 1, 2, 3, 4, 5, 8] {
            let value = self.dice.value();
            self.set(Reg::new(number).expect("below 10"), value);
        }
        let checked = 14 + self.dice.below(40) as i16;
        self.check(checked);
        for _ in 0..2 + self.dice.below(14) {
            self.statement(2);
        }
        self.leave();
        self.land_at_end();
        self.set(R0, 2);
        self.emit(Insn::Exit);
    }

    fn emit(&mut self, insn: Insn) {
        self.slots += insn.slots();
        self.insns.push(insn);
    }

    fn alu(&mut self, op: AluOp, dst: Reg, src: impl Into<Operand>) {
        self.emit(Insn::Alu { width: Width::W64, op, dst, src: src.into() });
    }

    fn set(&mut self, dst: Reg, value: i32) {
        self.alu(AluOp::Mov, dst, value);
        self.now_number(dst);
    }

    fn now_number(&mut self, reg: Reg) {
        let place = &mut self.holds[usize::from(reg.number())];
        if *place == Holds::Nothing {
            *place = Holds::Number;
        }
    }

    /// `dst = ctx.field`, or the context itself.
    fn load(&mut self, dst: Reg, field: Option<i16>, ctx: Reg) {
        match field {
            Some(off) => self.emit(Insn::Load { dst, mem: ctx.u32(off) }),
            None => self.alu(AluOp::Mov, dst, ctx),
        }
    }

    /// A branch that will lead somewhere behind.
    fn branch(&mut self, width: Width, test: Test) -> Branch {
        let branch = Branch { insn: self.insns.len(), slot: self.slots };
        self.emit(Insn::Branch { width, test, off: 0 });
        branch
    }

    /// Lets a branch lead here.
    fn land(&mut self, branch: Branch) {
        let distance = i16::try_from(self.slots - branch.slot - 1).expect("programs are short");
        if let Insn::Branch { off, .. } = &mut self.insns[branch.insn] {
            *off = distance;
        }
    }

    fn land_at_end(&mut self) {
        for branch in std::mem::take(&mut self.to_end) {
            self.land(branch);
        }
    }

    /// Leaves the program unless `len` bytes of the packet are there.
    fn check(&mut self, len: i16) {
        self.alu(AluOp::Mov, R2, PACKET);
        self.alu(AluOp::Add, R2, i32::from(len));
        let (short, fits) = (R2.gt(END), R2.le(END));
        match self.dice.below(4) {
            0 => {
                let fits = if self.dice.one_in(2) { fits } else { END.ge(R2) };
                let on = self.branch(Width::W64, fits);
                self.set(R2, 0);
                self.leave();
                self.land(on);
            }
            1 => {
                let out = self.branch(Width::W64, END.lt(R2));
                self.to_end.push(out);
            }
            _ => {
                let out = self.branch(Width::W64, short);
                self.to_end.push(out);
            }
        }
        self.checked = self.checked.max(len);
        self.set(R2, 0);
    }

    /// A register that holds a number; now and then any at all.
    fn number(&mut self) -> Reg {
        loop {
            let reg = Reg::new(self.dice.below(10) as u8).expect("below 10");
            if self.holds[usize::from(reg.number())] == Holds::Number || self.dice.one_in(400) {
                return reg;
            }
        }
    }

    /// A register that a number may be put into.
    fn free(&mut self) -> Reg {
        let last = if self.in_loop { 6 } else { 7 };
        match self.dice.below(last) {
            6 => Reg::new(8).expect("below 10"),
            n => Reg::new(n as u8).expect("below 10"),
        }
    }

    fn operand(&mut self) -> Operand {
        if self.dice.one_in(2) { self.number().into() } else { self.dice.value().into() }
    }

    /// What a call leaves.
    fn called(&mut self) {
        self.holds[0] = Holds::Number;
        self.holds[1..6].fill(Holds::Nothing);
        // Something to go on with.
        for _ in 0..3 {
            let (reg, value) = (self.free(), self.dice.value());
            self.set(reg, value);
        }
    }
}

/// Any size.
fn size(dice: &mut Dice) -> Size {
    [Size::U8, Size::U16, Size::U32, Size::U64][dice.below(4)]
}

/// A place of this size.
fn place(base: impl Pointer, off: i16, size: Size) -> Mem {
    Mem { size, base: base.into(), off }
}

/// Any question.
fn cond(dice: &mut Dice) -> Cond {
    use Cond::*;
    [Eq, Ne, Gt, Ge, Lt, Le, Sgt, Sge, Slt, Sle, Set][dice.below(11)]
}
