//! BTF (Documentation/bpf/btf.rst): what goes with a program so that the kernel can show, beside each
//! instruction, why it is there and which source line emitted it.
//!
//! By hand, since there is so little of it: a program is one function, `int xhop_NAME(void)`, and one
//! `bpf_line_info` record an instruction. What would be the source line's text is the comment.

mod build;
mod read;

use crate::bytes::Out;
use crate::insn::ByteOrder;
use crate::program::Program;
pub(crate) use build::{Builder, INT, header};
pub(crate) use read::Types;

/// Bytes of a `struct bpf_func_info`.
pub const FUNC_INFO_SIZE: u32 = 8;
/// Bytes of a `struct bpf_line_info`.
pub const LINE_INFO_SIZE: u32 = 16;
/// A column has the low bits of `line_col` (`BPF_LINE_INFO_LINE_COL`).
const COLUMN_BITS: u32 = 10;

/// A program's BTF as `BPF_BTF_LOAD` and `BPF_PROG_LOAD` take it, in one byte order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgramBtf {
    /// Header, types and strings.
    pub blob: Vec<u8>,
    /// One record of [`FUNC_INFO_SIZE`] bytes: the program is one function.
    pub func_info: Vec<u8>,
    /// A record of [`LINE_INFO_SIZE`] bytes for each instruction; a 64-bit immediate is one.
    pub line_info: Vec<u8>,
}

impl Program {
    /// Its name as a C identifier: of the program in the kernel, of its function in BTF and in ELF.
    pub fn symbol(&self) -> String {
        identifier(&format!("xhop_{}", self.name()))
    }

    /// Its BTF for a machine of this order.
    pub fn btf(&self, order: ByteOrder) -> ProgramBtf {
        let mut types = Builder::new(order);
        let [func_info, line_info] = describe(self, 1, &mut types);
        ProgramBtf { blob: types.finish(), func_info, line_info }
    }
}

/// A C identifier: what can't stand in one becomes `_` (`btf_name_valid_identifier`, kernel/bpf/btf.c).
pub(crate) fn identifier(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(fits).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Adds the program's function to the types; gives its func_info and its line_info. Their offsets count
/// a slot as `unit`: 1 for bpf(2), its bytes for ELF.
pub(crate) fn describe(program: &Program, unit: u32, types: &mut Builder) -> [Vec<u8>; 2] {
    let func = types.func(&program.symbol(), INT);
    let mut func_info = Out::new(types.order());
    func_info.u32s(&[0, func.0]);

    let mut line_info = Out::new(types.order());
    let mut off = 0;
    for line in program.lines() {
        let file = types.string(line.at.file());
        let text = types.string(&line.comment);
        let column = line.at.column().min((1 << COLUMN_BITS) - 1);
        line_info.u32s(&[off, file, text, (line.at.line() << COLUMN_BITS) | column]);
        off += line.insn.slots() as u32 * unit;
    }
    [func_info.bytes, line_info.bytes]
}
