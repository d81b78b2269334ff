//! What goes with a program so that the kernel's listings and the verifier's log show its comments and
//! source lines: BTF, loaded first, and records that refer to it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use xhop_asm::{ByteOrder, Program, ProgramBtf};

use super::{Attr, Cmd, addr, bpf_fd};

/// Up to what is used, as for all commands; we want no log of it.
#[repr(C)]
struct LoadAttr {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
}

// SAFETY: laid out as the kernel has it; `btf` is that of `btf_size` bytes, and there is no log.
unsafe impl Attr for LoadAttr {}

/// A program's BTF in the kernel, kept by its descriptor, and its records.
#[derive(Debug)]
pub(super) struct Btf {
    fd: OwnedFd,
    /// `struct bpf_func_info`, each of [`FUNC_INFO_SIZE`](xhop_asm::btf::FUNC_INFO_SIZE) bytes.
    pub(super) func_info: Vec<u8>,
    /// `struct bpf_line_info`, each of [`LINE_INFO_SIZE`](xhop_asm::btf::LINE_INFO_SIZE) bytes.
    pub(super) line_info: Vec<u8>,
}

impl AsFd for Btf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Btf {
    /// Loads it (kernels from 4.18; needs CAP_BPF, before 5.8 CAP_SYS_ADMIN).
    pub(super) fn load(program: &Program) -> nix::Result<Self> {
        let ProgramBtf { blob, func_info, line_info } = program.btf(ByteOrder::NATIVE);
        let mut attr = LoadAttr {
            btf: addr(&blob),
            btf_log_buf: 0,
            btf_size: blob.len() as u32,
            btf_log_size: 0,
        };
        let fd = bpf_fd(Cmd::BTF_LOAD, &mut attr)?;
        Ok(Self { fd, func_info, line_info })
    }
}
