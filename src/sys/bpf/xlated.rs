//! What the verifier has made of a program: the instructions that are run or compiled.

use super::prog_info::RawInfo;
use super::{Prog, addr_mut};
use crate::Result;

/// A program's instructions after the verifier (kernel/bpf/syscall.c, `bpf_prog_get_info_by_fd`).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Translated {
    /// In the machine's byte order, 8 bytes each. A map load names its map by id, as
    /// `BPF_PSEUDO_MAP_FD`; a call its function by the distance from `__bpf_call_base`, 0 where the
    /// kernel hides addresses.
    pub insns: Vec<u8>,
    /// Where the record of each line information begins, in instructions; empty if the program was
    /// loaded without.
    pub line_starts: Vec<u32>,
}

/// `struct bpf_line_info`
#[repr(C)]
#[derive(Clone, Default)]
pub(super) struct LineInfo {
    insn_off: u32,
    file_name_off: u32,
    line_off: u32,
    line_col: u32,
}

impl Prog {
    /// Its instructions as the kernel runs them; `None` if the kernel does not show them
    /// (hardened, and kernel.kptr_restrict keeps addresses from us).
    pub fn translated(&self) -> Result<Option<Translated>> {
        let mut sizes = RawInfo::default();
        self.raw_info(&mut sizes)?;
        let mut insns = vec![0u8; sizes.xlated_prog_len as usize];
        let mut lines = vec![LineInfo::default(); sizes.nr_line_info as usize];
        let mut info = RawInfo {
            xlated_prog_len: sizes.xlated_prog_len,
            xlated_prog_insns: addr_mut(&mut insns),
            nr_line_info: sizes.nr_line_info,
            line_info: addr_mut(&mut lines),
            line_info_rec_size: size_of::<LineInfo>() as u32,
            ..RawInfo::default()
        };
        self.raw_info(&mut info)?;
        if info.xlated_prog_insns == 0 || insns.is_empty() {
            return Ok(None);
        }
        let line_starts = lines.iter().map(|line| line.insn_off).collect();
        Ok(Some(Translated { insns, line_starts }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::privileged;
    use xhop_asm::{ByteOrder, programs};

    #[test]
    fn what_needs_no_rewriting_stays() {
        if !privileged("xlated::what_needs_no_rewriting_stays") {
            return;
        }
        let program = programs::pass().expect("assembles");
        let prog = Prog::load_any(&program, &[]).expect("loads");
        let translated = prog.translated().expect("info").expect("not hardened");
        assert_eq!(translated.insns, program.bytes(ByteOrder::NATIVE));
    }
}
