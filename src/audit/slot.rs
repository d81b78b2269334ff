//! Instructions as the kernel has them: the fields of `struct bpf_insn`, whatever they hold.

use std::fmt;

use xhop_asm::insn::SLOT;
use xhop_asm::{ByteOrder, Insn};

/// One 8-byte slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot {
    pub code: u8,
    pub dst: u8,
    pub src: u8,
    pub off: i16,
    pub imm: i32,
}

impl Slot {
    /// Reads whole slots in the machine's byte order; what is left over is dropped.
    pub fn read(bytes: &[u8]) -> Vec<Self> {
        bytes.chunks_exact(SLOT).filter_map(|b| b.try_into().ok()).map(Self::from_bytes).collect()
    }

    /// The slots of one of our instructions.
    pub fn of(insn: Insn) -> Vec<Self> {
        let mut bytes = Vec::with_capacity(2 * SLOT);
        insn.encode(ByteOrder::NATIVE, &mut bytes);
        Self::read(&bytes)
    }

    fn from_bytes([code, regs, o0, o1, i0, i1, i2, i3]: [u8; SLOT]) -> Self {
        let (low, high) = (regs & 0xf, regs >> 4);
        let (dst, src) = match ByteOrder::NATIVE {
            ByteOrder::Little => (low, high),
            ByteOrder::Big => (high, low),
        };
        let (off, imm) = (i16::from_ne_bytes([o0, o1]), i32::from_ne_bytes([i0, i1, i2, i3]));
        Self { code, dst, src, off, imm }
    }

    fn listed(self) -> [u8; SLOT] {
        let ([o0, o1], [i0, i1, i2, i3]) = (self.off.to_le_bytes(), self.imm.to_le_bytes());
        [self.code, self.src << 4 | self.dst, o0, o1, i0, i1, i2, i3]
    }
}

/// As listings have it; the bytes, where it is none of the instructions that we use.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Insn::decode(&self.listed()) {
            Ok((insn, _)) => write!(f, "{insn}"),
            Err(_) => f.write_str(&hex::encode(self.listed())),
        }
    }
}
