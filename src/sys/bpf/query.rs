//! Who is attached where, by BPF_PROG_QUERY.

use nix::errno::Errno;

use super::{Attr, Cmd, addr_mut, bpf};
use crate::Result;

/// The two hooks of tcx (kernels from 6.6), with their numbers (`enum bpf_attach_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum TcxHook {
    /// `BPF_TCX_INGRESS`
    Ingress = 46,
    /// `BPF_TCX_EGRESS`
    Egress = 47,
}

/// The whole of the command's part of `union bpf_attr`: the kernel writes to its last field.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    pad: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

// SAFETY: laid out as the kernel has it; `prog_ids` is that of `count` writable ids, the other
// addresses are none.
unsafe impl Attr for QueryAttr {}

/// An interface that is in every namespace.
const LOOPBACK: u32 = 1;

/// Whether this kernel has tcx.
pub fn has_tcx() -> bool {
    let mut attr = QueryAttr {
        target: LOOPBACK,
        attach_type: TcxHook::Ingress as u32,
        ..QueryAttr::default()
    };
    // One that does not know the hook says EINVAL; ENOENT is that nobody is there.
    matches!(bpf(Cmd::PROG_QUERY, &mut attr), Ok(_) | Err(Errno::ENOENT))
}

/// The ids of the programs on a hook of an interface of the calling thread's netns: call it inside
/// [`Netns::run`](crate::sys::netns::Netns::run). None on a kernel that has no tcx.
pub fn tcx(ifindex: u32, hook: TcxHook) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    loop {
        let mut attr = QueryAttr {
            target: ifindex,
            attach_type: hook as u32,
            prog_ids: if ids.is_empty() { 0 } else { addr_mut(&mut ids) },
            count: ids.len() as u32,
            ..QueryAttr::default()
        };
        match bpf(Cmd::PROG_QUERY, &mut attr) {
            Ok(_) if attr.count as usize <= ids.len() => {
                ids.truncate(attr.count as usize);
                return Ok(ids);
            }
            // More than there was room for.
            Ok(_) | Err(Errno::ENOSPC) => ids.resize(attr.count.max(1) as usize, 0),
            // Nothing is there; or there is no such hook, or no such interface any more.
            Err(Errno::ENOENT | Errno::EINVAL | Errno::ENODEV) => return Ok(Vec::new()),
            Err(errno) => return Err(Cmd::PROG_QUERY.failed(format!("ifindex {ifindex}"))(errno)),
        }
    }
}
