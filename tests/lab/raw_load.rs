//! BPF_PROG_LOAD by hand: for programs that are not xhop's, which its own loader has no way to take.

use std::ffi::c_long;
use std::io::Error;
use std::os::fd::{FromRawFd, OwnedFd};

use xhop::sys::bpf::Prog;

/// The beginning of the attribute (`union bpf_attr`, include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct Attr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    more: [u32; 14],
    fd_array: u64,
}

/// Loads an XDP program of these bytes, in the machine's order; `fd_array` holds the descriptors of its maps.
/// A refusal comes with the verifier's log, as far as it fits 1 MiB.
pub fn load_xdp(name: &str, insns: &[u8], fd_array: &[i32]) -> Result<Prog, String> {
    const BPF_PROG_LOAD: c_long = 5;
    const BPF_PROG_TYPE_XDP: u32 = 6;
    let mut attr = Attr {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: u32::try_from(insns.len() / 8).expect("not so many"),
        insns: insns.as_ptr().expose_provenance() as u64,
        license: c"MIT".as_ptr().expose_provenance() as u64,
        fd_array: match fd_array {
            [] => 0,
            some => some.as_ptr().expose_provenance() as u64,
        },
        ..Attr::default()
    };
    for (to, from) in attr.prog_name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    let submit = |attr: &Attr| {
        // SAFETY: laid out as the kernel has it; what its addresses name outlives the call.
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, attr, size_of::<Attr>()) }
    };
    let mut fd = submit(&attr);
    if fd < 0 {
        let refused = Error::last_os_error();
        let mut log = vec![0_u8; 1 << 20];
        (attr.log_level, attr.log_size) = (1, log.len() as u32);
        attr.log_buf = log.as_mut_ptr().expose_provenance() as u64;
        fd = submit(&attr);
        if fd < 0 {
            let log = String::from_utf8_lossy(&log);
            return Err(format!("{refused}\n{}", log.trim_end_matches('\0')));
        }
    }
    // SAFETY: the kernel has just opened it.
    Ok(Prog::from(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}
