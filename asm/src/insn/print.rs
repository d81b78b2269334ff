//! Instructions as text, in the syntax of the kernel's documentation as LLVM reads and prints it.
//! What LLVM has no word for (kinds of 64-bit immediates, helper names) is spelled as bpftool does.
//! Different instructions never have the same text.

use std::fmt;

use super::{AluOp, AtomicOp, ByteOrder, FetchOp, Insn, Slot, Width};
use crate::reg::{AnyReg, Cond, Mem, Operand, R0, Size};

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
        write!(f, "*{}", Pointer(self))
    }
}

/// A typed address: `(u32 *)(r1 + 4)`.
struct Pointer<'a>(&'a Mem);

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(u{} *)({})", bits(self.0.size), place(self.0))
    }
}

/// An address: `r1 + 4`.
struct Sum(AnyReg, i32);

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(base, off) = self;
        let sign = if *off < 0 { '-' } else { '+' };
        write!(f, "{base} {sign} {}", off.unsigned_abs())
    }
}

fn place(mem: &Mem) -> Sum {
    Sum(mem.base, mem.off.into())
}

const fn bits(size: Size) -> usize {
    size.bytes() * 8
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
            Self::Sdiv => "s/=",
            Self::Or => "|=",
            Self::And => "&=",
            Self::Lsh => "<<=",
            Self::Rsh => ">>=",
            Self::Mod => "%=",
            Self::Smod => "s%=",
            Self::Xor => "^=",
            Self::Mov => "=",
            Self::Arsh => "s>>=",
        })
    }
}

impl fmt::Display for AtomicOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+=",
            Self::Or => "|=",
            Self::And => "&=",
            Self::Xor => "^=",
        })
    }
}

impl fmt::Display for FetchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "atomic_fetch_add",
            Self::Or => "atomic_fetch_or",
            Self::And => "atomic_fetch_and",
            Self::Xor => "atomic_fetch_xor",
            Self::Xchg => "xchg",
        })
    }
}

/// An operand as an instruction of this width names it: `r3`, or `w3` for its low half.
fn named(width: Width, operand: impl Into<Operand>) -> impl fmt::Display {
    match (width, operand.into()) {
        (Width::W32, Operand::Reg(reg)) => format!("w{}", reg.number()),
        (_, operand) => operand.to_string(),
    }
}

/// A register as an atomic on this memory names it.
fn part(mem: &Mem, reg: impl Into<Operand>) -> impl fmt::Display {
    named(if mem.size == Size::U64 { Width::W64 } else { Width::W32 }, reg)
}

/// What follows the name of an exchange.
const fn exchanged(size: Size) -> &'static str {
    match size {
        Size::U64 => "_64",
        _ => "32_32",
    }
}

impl fmt::Display for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alu { width, op, dst, src } => {
                write!(f, "{} {op} {}", named(*width, *dst), named(*width, *src))
            }
            Self::MoveSigned { width, bits, dst, src } => {
                write!(f, "{} = (s{bits}){}", named(*width, *dst), named(*width, *src))
            }
            Self::AddrSpaceCast { dst, src, to, from } => {
                write!(f, "{dst} = addr_space_cast({src}, {to}, {from})")
            }
            Self::MovePercpu { dst, src } => write!(f, "{dst} = &(void __percpu *)({src})"),
            Self::Neg { width, dst } => {
                write!(f, "{} = -{}", named(*width, *dst), named(*width, *dst))
            }
            Self::Endian { order, bits, dst } => {
                let order = if *order == ByteOrder::Big { "be" } else { "le" };
                write!(f, "{dst} = {order}{bits} {dst}")
            }
            Self::Swap { bits, dst } => write!(f, "{dst} = bswap{bits} {dst}"),
            Self::Load { dst, mem } => write!(f, "{dst} = {mem}"),
            Self::LoadSigned { dst, mem } => {
                write!(f, "{dst} = *(s{} *)({})", bits(mem.size), place(mem))
            }
            Self::Store { mem, src } => write!(f, "{mem} = {src}"),
            Self::Atomic { op, mem, src } => write!(f, "lock {mem} {op} {}", part(mem, *src)),
            Self::AtomicFetch { op: op @ FetchOp::Xchg, mem, src } => {
                let (src, size) = (part(mem, *src), exchanged(mem.size));
                write!(f, "{src} = {op}{size}({}, {src})", place(mem))
            }
            Self::AtomicFetch { op, mem, src } => {
                let src = part(mem, *src);
                write!(f, "{src} = {op}({}, {src})", Pointer(mem))
            }
            Self::CompareExchange { mem, src } => {
                let (r0, size) = (part(mem, R0), exchanged(mem.size));
                write!(f, "{r0} = cmpxchg{size}({}, {r0}, {})", place(mem), part(mem, *src))
            }
            Self::LoadAcquire { dst, mem } => {
                write!(f, "{} = load_acquire({})", part(mem, *dst), Pointer(mem))
            }
            Self::StoreRelease { mem, src } => {
                write!(f, "store_release({}, {})", Pointer(mem), part(mem, *src))
            }
            Self::LoadPacket { size, base: None, off } => {
                write!(f, "r0 = *(u{} *)skb[{off}]", bits(*size))
            }
            Self::LoadPacket { size, base: Some(base), off } => {
                write!(f, "r0 = *(u{} *)skb[{}]", bits(*size), Sum(*base, *off))
            }
            Self::LoadImm64 { dst, imm } => write!(f, "{dst} = {imm:#x} ll"),
            Self::LoadMap { dst, map } => write!(f, "{dst} = map[{}] ll", map.get()),
            Self::LoadMapValue { dst, map, off } => {
                write!(f, "{dst} = map[{}][0]+{off} ll", map.get())
            }
            Self::LoadMapFd { dst, fd } => write!(f, "{dst} = map[fd:{fd}] ll"),
            Self::LoadMapFdValue { dst, fd, off } => {
                write!(f, "{dst} = map[fd:{fd}][0]+{off} ll")
            }
            Self::LoadBtf { dst, id, fd: 0 } => write!(f, "{dst} = btf[id:{id}] ll"),
            Self::LoadBtf { dst, id, fd } => write!(f, "{dst} = btf[fd:{fd} id:{id}] ll"),
            Self::LoadFunc { dst, off } => write!(f, "{dst} = subprog[{off:+}] ll"),
            Self::Jump { off } => write!(f, "goto {off:+}"),
            Self::JumpLong { off } => write!(f, "gotol {off:+}"),
            Self::MayGoto { off } => write!(f, "may_goto {off:+}"),
            Self::Branch { width, test, off } => {
                let (left, right) = (named(*width, test.dst), named(*width, test.src));
                write!(f, "if {left} {} {right} goto {off:+}", test.cond)
            }
            Self::Call { helper } => write!(f, "call {helper}"),
            Self::CallLocal { off } => write!(f, "call pc{off:+}"),
            Self::CallKfunc { id, fd_index: 0 } => write!(f, "call kfunc#{id}"),
            Self::CallKfunc { id, fd_index } => write!(f, "call kfunc#{id} fd_array[{fd_index}]"),
            Self::CallReg { reg } => write!(f, "callx {reg}"),
            Self::Nospec => write!(f, "nospec"),
            Self::Exit => write!(f, "exit"),
        }
    }
}

/// The fields, as numbers: what is shown of a slot that is no instruction.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, dst, src, off, imm } = self;
        write!(f, "code={code:#04x} dst={dst} src={src} off={off} imm={imm}")
    }
}
