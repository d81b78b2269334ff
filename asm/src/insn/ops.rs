//! Operations, and the bits that stand for each.

use crate::reg::Cond;

/// Arithmetic and logic operations of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AluOp {
    /// `+=`
    Add,
    /// `-=`
    Sub,
    /// `*=`
    Mul,
    /// `/=`, unsigned; by zero gives zero
    Div,
    /// `s/=`, rounded to zero; by zero gives zero (v4)
    Sdiv,
    /// `|=`
    Or,
    /// `&=`
    And,
    /// `<<=`
    Lsh,
    /// `>>=`, unsigned
    Rsh,
    /// `%=`, unsigned; by zero leaves the value
    Mod,
    /// `s%=`, with the sign of the left side; by zero leaves the value (v4)
    Smod,
    /// `^=`
    Xor,
    /// `=`
    Mov,
    /// `>>=`, signed
    Arsh,
}

/// All of [`AluOp`], with the bits of each in the opcode and its `off`.
pub const ALU_OPS: [(AluOp, u8, i16); 14] = [
    (AluOp::Add, 0x00, 0),
    (AluOp::Sub, 0x10, 0),
    (AluOp::Mul, 0x20, 0),
    (AluOp::Div, 0x30, 0),
    (AluOp::Sdiv, 0x30, 1),
    (AluOp::Or, 0x40, 0),
    (AluOp::And, 0x50, 0),
    (AluOp::Lsh, 0x60, 0),
    (AluOp::Rsh, 0x70, 0),
    (AluOp::Mod, 0x90, 0),
    (AluOp::Smod, 0x90, 1),
    (AluOp::Xor, 0xa0, 0),
    (AluOp::Mov, 0xb0, 0),
    (AluOp::Arsh, 0xc0, 0),
];

/// All of [`Cond`], with the bits of each in the opcode.
pub const CONDS: [(Cond, u8); 11] = [
    (Cond::Eq, 0x10),
    (Cond::Gt, 0x20),
    (Cond::Ge, 0x30),
    (Cond::Set, 0x40),
    (Cond::Ne, 0x50),
    (Cond::Sgt, 0x60),
    (Cond::Sge, 0x70),
    (Cond::Lt, 0xa0),
    (Cond::Le, 0xb0),
    (Cond::Slt, 0xc0),
    (Cond::Sle, 0xd0),
];

/// Atomic operations that leave nothing in a register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum AtomicOp {
    /// `+=`
    Add = 0x00,
    /// `|=`
    Or = 0x40,
    /// `&=`
    And = 0x50,
    /// `^=`
    Xor = 0xa0,
}

/// All of [`AtomicOp`]; each is its own immediate.
pub const ATOMIC_OPS: [AtomicOp; 4] = [AtomicOp::Add, AtomicOp::Or, AtomicOp::And, AtomicOp::Xor];

/// Atomic operations that give the old value (`BPF_FETCH`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum FetchOp {
    /// `atomic_fetch_add`
    Add = 0x01,
    /// `atomic_fetch_or`
    Or = 0x41,
    /// `atomic_fetch_and`
    And = 0x51,
    /// `atomic_fetch_xor`
    Xor = 0xa1,
    /// `xchg`
    Xchg = 0xe1,
}

/// All of [`FetchOp`]; each is its own immediate.
pub const FETCH_OPS: [FetchOp; 5] =
    [FetchOp::Add, FetchOp::Or, FetchOp::And, FetchOp::Xor, FetchOp::Xchg];
