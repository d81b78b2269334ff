//! A program as C source: to be loaded by somebody else's loader.

use super::View;
use crate::tag::MapRefs;

/// An array of `struct bpf_insn` (linux/bpf.h), with comments. It compiles for either byte order.
pub fn c(view: View) -> String {
    let name = view.program.name();
    let mut out = format!("/* {name}: {} instructions */\n", view.program.slots());
    for (index, map) in view.program.maps().iter().enumerate() {
        out += &match view.refs {
            MapRefs::Index => format!("/* fd_array[{index}]: {} */\n", map.name),
            MapRefs::Patched => format!("/* to be patched in: the descriptor of {} */\n", map.name),
        };
    }
    let identifier = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    out += &format!("#include <linux/bpf.h>\n\nconst struct bpf_insn xhop_{identifier}[] = {{\n");
    for row in view.rows() {
        for label in view.labels(row.slot) {
            out += &format!("\t/* {label}: */\n");
        }
        for (half, bytes) in row.slots.iter().enumerate() {
            let [code, regs, off @ .., _, _, _, _] = *bytes;
            let [_, _, _, _, imm @ ..] = *bytes;
            let (dst, src) = (regs & 0xf, regs >> 4);
            let (off, imm) = (i16::from_le_bytes(off), i32::from_le_bytes(imm));
            out += &format!(
                "\t/* {:5} */ {{ .code = {code:#04x}, .dst_reg = {dst}, .src_reg = {src}, .off = {off}, .imm = {imm} }},",
                row.slot + half
            );
            if half == 0 {
                out += &format!(" /* {}; {} */", safe(&row.text), safe(&row.line.comment));
            }
            out += "\n";
        }
    }
    out + "};\n"
}

/// What can stand in a comment.
fn safe(text: &str) -> String {
    text.replace("*/", "* /").replace("/*", "/ *")
}
