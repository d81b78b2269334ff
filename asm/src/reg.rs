//! Registers, and what an instruction can be told to work on.

use std::fmt;

/// A register that an instruction may write: `r0` to `r9`.
///
/// By the calling convention `r0` holds results, `r1` to `r5` arguments (lost in
/// a call) and `r6` to `r9` survive calls. `r10` is not among them: it is the
/// read-only frame pointer, [`FP`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reg(u8);

/// Result of a call, and of the program.
pub const R0: Reg = Reg(0);
/// First argument; at entry, the context.
pub const R1: Reg = Reg(1);
/// Second argument.
pub const R2: Reg = Reg(2);
/// Third argument.
pub const R3: Reg = Reg(3);
/// Fourth argument.
pub const R4: Reg = Reg(4);
/// Fifth argument.
pub const R5: Reg = Reg(5);
/// Survives calls.
pub const R6: Reg = Reg(6);
/// Survives calls.
pub const R7: Reg = Reg(7);
/// Survives calls.
pub const R8: Reg = Reg(8);
/// Survives calls.
pub const R9: Reg = Reg(9);

/// The frame pointer `r10`: it can be read and be the base of an access, never written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fp;

/// The one frame pointer.
pub const FP: Fp = Fp;

/// Any register, as a source or the base of a memory access: `r0` to `r10`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AnyReg(u8);

impl Reg {
    /// The register with number `n`; `None` above 9.
    pub const fn new(n: u8) -> Option<Self> {
        if n <= 9 { Some(Self(n)) } else { None }
    }

    /// The number in the instruction's register nibble.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl AnyReg {
    /// The register with number `n`; `None` above 10.
    pub const fn new(n: u8) -> Option<Self> {
        if n <= 10 { Some(Self(n)) } else { None }
    }

    /// The number in the instruction's register nibble.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl From<Reg> for AnyReg {
    fn from(reg: Reg) -> Self {
        Self(reg.0)
    }
}

impl From<Fp> for AnyReg {
    fn from(_: Fp) -> Self {
        Self(10)
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Display for AnyReg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The second operand of an instruction: a register or a 32-bit immediate.
///
/// An immediate in a 64-bit instruction is sign-extended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operand {
    /// A register's value.
    Reg(AnyReg),
    /// A constant.
    Imm(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg.into())
    }
}

impl From<AnyReg> for Operand {
    fn from(reg: AnyReg) -> Self {
        Self::Reg(reg)
    }
}

impl From<Fp> for Operand {
    fn from(fp: Fp) -> Self {
        Self::Reg(fp.into())
    }
}

impl From<i32> for Operand {
    fn from(imm: i32) -> Self {
        Self::Imm(imm)
    }
}

/// How many bytes a memory access takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Size {
    /// One byte (`BPF_B`).
    U8,
    /// Two bytes (`BPF_H`).
    U16,
    /// Four bytes (`BPF_W`).
    U32,
    /// Eight bytes (`BPF_DW`).
    U64,
}

impl Size {
    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }
}

/// A place in memory: `size` bytes at `base + off`, in the machine's byte order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mem {
    /// How many bytes.
    pub size: Size,
    /// The register that holds the address.
    pub base: AnyReg,
    /// Added to the address, in bytes.
    pub off: i16,
}

/// Gives registers the memory places that they point to: `R6.u16(12)`.
pub trait Pointer: Into<AnyReg> {
    /// The byte at `off`.
    fn u8(self, off: i16) -> Mem {
        Mem { size: Size::U8, base: self.into(), off }
    }
    /// The two bytes at `off`.
    fn u16(self, off: i16) -> Mem {
        Mem { size: Size::U16, base: self.into(), off }
    }
    /// The four bytes at `off`.
    fn u32(self, off: i16) -> Mem {
        Mem { size: Size::U32, base: self.into(), off }
    }
    /// The eight bytes at `off`.
    fn u64(self, off: i16) -> Mem {
        Mem { size: Size::U64, base: self.into(), off }
    }
}

impl Pointer for Reg {}
impl Pointer for Fp {}

/// What a conditional jump asks of its two operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Unsigned greater.
    Gt,
    /// Unsigned greater or equal.
    Ge,
    /// Unsigned less.
    Lt,
    /// Unsigned less or equal.
    Le,
    /// Signed greater.
    Sgt,
    /// Signed greater or equal.
    Sge,
    /// Signed less.
    Slt,
    /// Signed less or equal.
    Sle,
    /// Some bit is set in both.
    Set,
}

/// A whole question: `R2.gt(R7)`. Compares all 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Test {
    /// The left side.
    pub dst: AnyReg,
    /// The question.
    pub cond: Cond,
    /// The right side.
    pub src: Operand,
}

impl Reg {
    fn test(self, cond: Cond, src: impl Into<Operand>) -> Test {
        Test { dst: self.into(), cond, src: src.into() }
    }
    /// `self == src`
    pub fn eq(self, src: impl Into<Operand>) -> Test {
        self.test(Cond::Eq, src)
    }
    /// `self != src`
    pub fn ne(self, src: impl Into<Operand>) -> Test {
        self.test(Cond::Ne, src)
    }
    /// `self > src`, unsigned
    pub fn gt(self, src: impl Into<Operand>) -> Test {
        self.test(Cond::Gt, src)
    }
    /// `self >= src`, unsigned
    pub fn ge(self, src: impl Into<Operand>) -> Test {
        self.test(Cond::Ge, src)
    }
    /// `self < src`, unsigned
    pub fn lt(self, src: impl Into<Operand>) -> Test {
        self.test(Cond::Lt, src)
    }
    /// `self <= src`, unsigned
    pub fn le(self, src: impl Into<Operand>) -> Test {
        self.test(Cond::Le, src)
    }
    /// `self & src != 0`
    pub fn has(self, src: impl Into<Operand>) -> Test {
        self.test(Cond::Set, src)
    }
}
