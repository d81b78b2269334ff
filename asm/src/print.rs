//! Instructions as text, in the syntax of the kernel's documentation.

use std::fmt;

use crate::insn::{AluOp, ByteOrder, Insn, Width};
use crate::reg::{Cond, Mem, Operand, Size};

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg(reg) => write!(f, "{reg}"),
            Self::Imm(imm) => write!(f, "{imm}"),
        }
    }
}

impl fmt::Display for Mem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = match self.size {
            Size::U8 => "u8",
            Size::U16 => "u16",
            Size::U32 => "u32",
            Size::U64 => "u64",
        };
        let sign = if self.off < 0 { '-' } else { '+' };
        write!(f, "*({size} *)({} {sign} {})", self.base, self.off.unsigned_abs())
    }
}

impl fmt::Display for Cond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Sgt => "s>",
            Self::Sge => "s>=",
            Self::Slt => "s<",
            Self::Sle => "s<=",
            Self::Set => "&",
        })
    }
}

impl fmt::Display for AluOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+=",
            Self::Sub => "-=",
            Self::Mul => "*=",
            Self::Div => "/=",
            Self::Or => "|=",
            Self::And => "&=",
            Self::Lsh => "<<=",
            Self::Rsh => ">>=",
            Self::Mod => "%=",
            Self::Xor => "^=",
            Self::Mov => "=",
            Self::Arsh => "s>>=",
        })
    }
}

/// A register as 32-bit operations name it: `w3` for `r3`.
fn half(name: impl fmt::Display) -> String {
    name.to_string().replacen('r', "w", 1)
}

impl fmt::Display for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alu { width: Width::W64, op, dst, src } => write!(f, "{dst} {op} {src}"),
            Self::Alu { width: Width::W32, op, dst, src } => {
                write!(f, "{} {op} {}", half(dst), half(src))
            }
            Self::Neg { width: Width::W64, dst } => write!(f, "{dst} = -{dst}"),
            Self::Neg { width: Width::W32, dst } => write!(f, "{} = -{}", half(dst), half(dst)),
            Self::Endian { order, bits, dst } => {
                let order = if *order == ByteOrder::Big { "be" } else { "le" };
                write!(f, "{dst} = {order}{bits} {dst}")
            }
            Self::Load { dst, mem } => write!(f, "{dst} = {mem}"),
            Self::Store { mem, src } => write!(f, "{mem} = {src}"),
            Self::LoadImm64 { dst, imm } => write!(f, "{dst} = {imm:#x} ll"),
            Self::LoadMap { dst, map } => write!(f, "{dst} = map[{}] ll", map.get()),
            Self::Jump { off } => write!(f, "goto {off:+}"),
            Self::Branch { width: Width::W64, test, off } => {
                write!(f, "if {} {} {} goto {off:+}", test.dst, test.cond, test.src)
            }
            Self::Branch { width: Width::W32, test, off } => {
                write!(f, "if {} {} {} goto {off:+}", half(test.dst), test.cond, half(test.src))
            }
            Self::Call { helper } => write!(f, "call {}", helper.name()),
            Self::Exit => write!(f, "exit"),
        }
    }
}
