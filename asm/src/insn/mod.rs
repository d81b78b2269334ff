//! Instructions as values: all of ISA v1 to v4 as of Linux 6.18
//! (Documentation/bpf/standardization/instruction-set.rst, RFC 9669).
//!
//! What we emit ourselves is less: v1 to v3 without atomics, the part on which kernel and `rbpf`
//! agree. The rest is there to read what others made.

mod decode;
mod encode;
mod ops;
mod print;
mod slot;

use crate::helper::Helper;
use crate::map::MapIndex;
use crate::reg::{AnyReg, Mem, Operand, Reg, Size, Test};

pub use ops::*;
pub(crate) use slot::LDDW;
pub use slot::{
    BPF_PSEUDO_BTF_ID, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_FD,
    BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE, BPF_PSEUDO_MAP_VALUE, SLOT, Slot,
};

/// Whether an operation works on 64 bits, or on the low 32 and clears the rest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// Low 32 bits; the upper half of the result is zero.
    W32,
    /// All 64 bits.
    W64,
}

/// The order of the bytes in a machine's words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ByteOrder {
    /// x86, arm64, riscv; also listings, hashes and `rbpf`.
    Little,
    /// s390x. The register nibbles are swapped too.
    Big,
}

impl ByteOrder {
    /// The order of the machine that this code runs on.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

/// One instruction. Jumps count slots from the instruction after them, as the kernel does.
///
/// A size that an instruction does not have (say a 64-bit `LoadSigned`) can be written down, but
/// its bytes do not decode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Insn {
    /// `dst op= src`
    Alu {
        /// 32 or 64 bits.
        width: Width,
        /// Which operation.
        op: AluOp,
        /// Left side and result.
        dst: Reg,
        /// Right side.
        src: Operand,
    },
    /// `dst = (s8)src`: the low bits of `src` with their sign (`MOVSX`, v4)
    MoveSigned {
        /// The sign fills 32 or 64 bits.
        width: Width,
        /// 8 or 16, or to 64 bits also 32.
        bits: u8,
        /// Where the value goes.
        dst: Reg,
        /// Where it comes from.
        src: AnyReg,
    },
    /// `dst = addr_space_cast(src, to, from)`: a pointer into an arena, or back
    AddrSpaceCast {
        /// Where the pointer goes.
        dst: Reg,
        /// Where it comes from.
        src: AnyReg,
        /// The address space of the result.
        to: u16,
        /// The address space of `src`.
        from: u16,
    },
    /// `dst = &(void __percpu *)(src)`: this CPU's part. Only the verifier makes it.
    MovePercpu {
        /// Where the address goes.
        dst: Reg,
        /// The address for all CPUs.
        src: AnyReg,
    },
    /// `dst = -dst`
    Neg {
        /// 32 or 64 bits.
        width: Width,
        /// What is negated.
        dst: Reg,
    },
    /// `dst = be16 dst`: from the machine's order to `order` or back, cut to `bits`.
    Endian {
        /// The order that is not the machine's.
        order: ByteOrder,
        /// 16, 32 or 64.
        bits: u8,
        /// What is turned.
        dst: Reg,
    },
    /// `dst = bswap16 dst`: turned on every machine, cut to `bits` (v4)
    Swap {
        /// 16, 32 or 64.
        bits: u8,
        /// What is turned.
        dst: Reg,
    },
    /// `dst = *(u16 *)(base + off)`, zero-extended
    Load {
        /// Where the value goes.
        dst: Reg,
        /// Where it comes from.
        mem: Mem,
    },
    /// `dst = *(s16 *)(base + off)`, sign-extended to 64 bits (`MEMSX`, v4)
    LoadSigned {
        /// Where the value goes.
        dst: Reg,
        /// Where it comes from: 1, 2 or 4 bytes.
        mem: Mem,
    },
    /// `*(u16 *)(base + off) = src`
    Store {
        /// Where the value goes.
        mem: Mem,
        /// What is stored.
        src: Operand,
    },
    /// `lock *(u64 *)(base + off) += src`
    Atomic {
        /// Which operation.
        op: AtomicOp,
        /// Left side and result: 4 or 8 bytes.
        mem: Mem,
        /// Right side.
        src: AnyReg,
    },
    /// `src = atomic_fetch_add((u64 *)(base + off), src)`
    AtomicFetch {
        /// Which operation.
        op: FetchOp,
        /// Left side and result: 4 or 8 bytes.
        mem: Mem,
        /// Right side; then the value that was in memory.
        src: Reg,
    },
    /// `r0 = cmpxchg_64(base + off, r0, src)`: stores `src` if `r0` was there
    CompareExchange {
        /// What is compared: 4 or 8 bytes. Its value goes to `r0`.
        mem: Mem,
        /// What is stored.
        src: AnyReg,
    },
    /// `dst = load_acquire((u16 *)(base + off))`, zero-extended (v4)
    LoadAcquire {
        /// Where the value goes.
        dst: Reg,
        /// Where it comes from.
        mem: Mem,
    },
    /// `store_release((u16 *)(base + off), src)` (v4)
    StoreRelease {
        /// Where the value goes.
        mem: Mem,
        /// What is stored.
        src: AnyReg,
    },
    /// `r0 = *(u16 *)skb[base + off]`, from network order; ends the program if the packet is too
    /// short. `r1` to `r5` are void after it; `r6` holds the skb. Left over from classic BPF.
    LoadPacket {
        /// 1, 2 or 4 bytes.
        size: Size,
        /// `BPF_IND`: added to `off`. `BPF_ABS` has none.
        base: Option<AnyReg>,
        /// Bytes from the packet's start; some negative ones mean other things.
        off: i32,
    },
    /// `dst = imm ll`, two slots
    LoadImm64 {
        /// Where the value goes.
        dst: Reg,
        /// All 64 bits.
        imm: u64,
    },
    /// `dst = map[index] ll`, two slots (`BPF_PSEUDO_MAP_IDX`)
    LoadMap {
        /// Where the map's address goes.
        dst: Reg,
        /// Which map.
        map: MapIndex,
    },
    /// `dst = map[index][0]+off ll`, two slots (`BPF_PSEUDO_MAP_IDX_VALUE`)
    LoadMapValue {
        /// Where the address goes.
        dst: Reg,
        /// Which map.
        map: MapIndex,
        /// Bytes from the start of its first value.
        off: u32,
    },
    /// `dst = map[fd:n] ll`, two slots (`BPF_PSEUDO_MAP_FD`)
    LoadMapFd {
        /// Where the map's address goes.
        dst: Reg,
        /// The map's file descriptor; in what the kernel gives back, its id.
        fd: i32,
    },
    /// `dst = map[fd:n][0]+off ll`, two slots (`BPF_PSEUDO_MAP_VALUE`)
    LoadMapFdValue {
        /// Where the address goes.
        dst: Reg,
        /// The map's file descriptor; in what the kernel gives back, its id.
        fd: i32,
        /// Bytes from the start of its first value.
        off: u32,
    },
    /// `dst = btf[id:n] ll`, two slots (`BPF_PSEUDO_BTF_ID`): a kernel variable's address
    LoadBtf {
        /// Where the address goes.
        dst: Reg,
        /// The variable's BTF id.
        id: u32,
        /// Descriptor of the module's BTF; 0 is the kernel's own.
        fd: i32,
    },
    /// `dst = subprog[+off] ll`, two slots (`BPF_PSEUDO_FUNC`): a function to be called back
    LoadFunc {
        /// Where its address goes.
        dst: Reg,
        /// Slots from the next slot (the second one of this load).
        off: i32,
    },
    /// `goto +off`
    Jump {
        /// Slots from the next instruction.
        off: i16,
    },
    /// `gotol +off` (v4)
    JumpLong {
        /// Slots from the next instruction.
        off: i32,
    },
    /// `may_goto +off`: jumps when the kernel's bound on loops is reached
    MayGoto {
        /// Slots from the next instruction.
        off: i16,
    },
    /// `if dst cond src goto +off`
    Branch {
        /// 32 or 64 bits are compared.
        width: Width,
        /// The question.
        test: Test,
        /// Slots from the next instruction.
        off: i16,
    },
    /// `call helper`
    Call {
        /// Which helper.
        helper: Helper,
    },
    /// `call pc+off`: a function of the same program (`BPF_PSEUDO_CALL`)
    CallLocal {
        /// Slots from the next instruction.
        off: i32,
    },
    /// `call kfunc#id` (`BPF_PSEUDO_KFUNC_CALL`)
    CallKfunc {
        /// The function's BTF id.
        id: u32,
        /// Index in `fd_array` of the module's BTF; 0 is the kernel's own.
        fd_index: i16,
    },
    /// `callx reg`: clang emits it, the kernel refuses it
    CallReg {
        /// Holds the function's address.
        reg: AnyReg,
    },
    /// `nospec`: a barrier against speculation. Only the verifier makes it.
    Nospec,
    /// `exit`, with the result in `r0`
    Exit,
}

impl Insn {
    /// How many slots it takes: 2 for the 64-bit immediates, else 1.
    pub const fn slots(&self) -> usize {
        match self {
            Self::LoadImm64 { .. }
            | Self::LoadMap { .. }
            | Self::LoadMapValue { .. }
            | Self::LoadMapFd { .. }
            | Self::LoadMapFdValue { .. }
            | Self::LoadBtf { .. }
            | Self::LoadFunc { .. } => 2,
            _ => 1,
        }
    }

    /// The map that it names by index.
    pub const fn map(&self) -> Option<MapIndex> {
        match self {
            Self::LoadMap { map, .. } | Self::LoadMapValue { map, .. } => Some(*map),
            _ => None,
        }
    }
}
