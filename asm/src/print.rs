//! Instructions and programs as text, in the syntax of the kernel's documentation.

use std::fmt;

use crate::insn::{AluOp, ByteOrder, Insn, Width};
use crate::program::Program;
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

/// The listing: a header, then labels and one line an instruction with slot, bytes, text and reason.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "; {}: {} instructions", self.name, self.slots())?;
        for (index, map) in self.maps.iter().enumerate() {
            let (kind, key, value) = (map.kind.name(), map.key_size, map.value_size);
            writeln!(
                f,
                "; map[{index}] {}: {kind}, key {key} B, value {value} B, {} entries",
                map.name, map.max_entries
            )?;
        }
        let mut slot = 0;
        for line in &self.lines {
            for mark in self.marks.iter().filter(|mark| mark.slot == slot) {
                writeln!(f, "{}:", mark.label)?;
            }
            let mut bytes = Vec::new();
            line.insn.encode(ByteOrder::Little, &mut bytes);
            let hex: String = bytes[..8].iter().map(|b| format!("{b:02x}")).collect();
            let text = self.text(slot, &line.insn);
            writeln!(f, "{slot:5}: {hex}  {text:<44} ; {}", line.comment)?;
            slot += line.insn.slots();
        }
        Ok(())
    }
}

impl Program {
    /// The instruction's text, with names of maps and jump targets where it has them.
    fn text(&self, slot: usize, insn: &Insn) -> String {
        match insn {
            Insn::LoadMap { map, .. } => match self.maps.get(map.get() as usize) {
                Some(decl) => format!("{insn} <{}>", decl.name),
                None => insn.to_string(),
            },
            Insn::Jump { off } | Insn::Branch { off, .. } => {
                let target = slot as i64 + 1 + i64::from(*off);
                match self.marks.iter().find(|mark| mark.slot as i64 == target) {
                    Some(mark) => format!("{insn} <{}>", mark.label),
                    None => insn.to_string(),
                }
            }
            _ => insn.to_string(),
        }
    }
}
