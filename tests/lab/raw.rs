//! bpf(2) by hand: for programs and links that are not xhop's, which its own seams have no way to make.

use std::ffi::{CStr, c_long};
use std::io::{Error, Result};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use xhop::sys::bpf::Prog;

/// `enum bpf_prog_type`
pub const SCHED_CLS: u32 = 3;
pub const XDP: u32 = 6;
pub const TRACING: u32 = 26;
pub const EXT: u32 = 28;
/// `enum bpf_attach_type`
pub const TRACE_FENTRY: u32 = 24;
pub const TCX_INGRESS: u32 = 46;
pub const TCX_EGRESS: u32 = 47;

const BPF_PROG_LOAD: c_long = 5;
const BPF_PROG_QUERY: c_long = 16;
const BPF_RAW_TRACEPOINT_OPEN: c_long = 17;
const BPF_LINK_CREATE: c_long = 28;

/// A program to load.
#[derive(Clone, Copy, Default)]
pub struct Raw<'a> {
    /// Its type.
    pub kind: u32,
    /// Its name, of which the kernel takes 15 bytes.
    pub name: &'a str,
    /// Its instructions, in the machine's order.
    pub insns: &'a [u8],
    /// Descriptors of its maps.
    pub fd_array: &'a [i32],
    /// Where it may be attached, for types that want it said.
    pub expected_attach_type: u32,
    /// What is traced: a function's type id ...
    pub attach_btf_id: u32,
    /// ... in the BTF of this program.
    pub attach_prog: Option<BorrowedFd<'a>>,
}

/// The beginning of the attribute (`union bpf_attr`, include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
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
    prog_ifindex: u32,
    expected_attach_type: u32,
    btf: [u32; 9],
    attach_btf_id: u32,
    attach_prog_fd: u32,
    core_relo_cnt: u32,
    fd_array: u64,
}

/// Loads an XDP program of these bytes, in the machine's order; `fd_array` holds the descriptors of its maps.
/// A refusal comes with the verifier's log, as far as it fits 1 MiB.
pub fn load_xdp(name: &str, insns: &[u8], fd_array: &[i32]) -> std::result::Result<Prog, String> {
    load(&Raw { kind: XDP, name, insns, fd_array, ..Raw::default() })
}

/// Loads a program; likewise.
pub fn load(raw: &Raw) -> std::result::Result<Prog, String> {
    let license: &CStr = c"GPL";
    let mut attr = LoadAttr {
        prog_type: raw.kind,
        insn_cnt: u32::try_from(raw.insns.len() / 8).expect("not so many"),
        insns: raw.insns.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        expected_attach_type: raw.expected_attach_type,
        attach_btf_id: raw.attach_btf_id,
        attach_prog_fd: raw.attach_prog.map_or(0, |fd| fd.as_raw_fd() as u32),
        fd_array: match raw.fd_array {
            [] => 0,
            some => some.as_ptr().expose_provenance() as u64,
        },
        ..LoadAttr::default()
    };
    for (to, from) in attr.prog_name.iter_mut().take(15).zip(raw.name.bytes()) {
        *to = from;
    }
    let fd = bpf(BPF_PROG_LOAD, &attr).or_else(|refused| {
        let mut log = vec![0_u8; 1 << 20];
        (attr.log_level, attr.log_size) = (1, log.len() as u32);
        attr.log_buf = log.as_mut_ptr().expose_provenance() as u64;
        bpf(BPF_PROG_LOAD, &attr).map_err(|_| {
            let log = String::from_utf8_lossy(&log);
            format!("{refused}\n{}", log.trim_end_matches('\0'))
        })
    })?;
    Ok(Prog::from(fd))
}

/// Attaches a program to a hook of an interface of the calling thread's namespace, until it is dropped.
pub fn link(prog: &Prog, ifindex: u32, attach_type: u32) -> Result<OwnedFd> {
    // Descriptor, target, attach_type, flags; zeros are no relation to others there.
    let fd = prog.as_fd().as_raw_fd() as u32;
    bpf(BPF_LINK_CREATE, &[fd, ifindex, attach_type, 0, 0, 0, 0, 0])
}

/// The ids of what is attached to such a hook, in their order; none on a kernel without it.
pub fn attached(ifindex: u32, attach_type: u32) -> Vec<u32> {
    let mut ids = [0_u32; 64];
    let at = ids.as_mut_ptr().expose_provenance() as u64;
    // Target, attach_type, query_flags, attach_flags, where ids go, how many.
    let mut attr = [0_u32; 16];
    (attr[0], attr[1], attr[6]) = (ifindex, attach_type, ids.len() as u32);
    for (half, value) in attr[4..6].iter_mut().zip(at.to_ne_bytes().chunks_exact(4)) {
        *half = u32::from_ne_bytes([value[0], value[1], value[2], value[3]]);
    }
    let size = size_of_val(&attr);
    // SAFETY: laid out as the kernel has it; it writes ids, as many as there is room for.
    let done = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &mut attr, size) };
    let count = if done == 0 { attr[6] as usize } else { 0 };
    ids[..count.min(ids.len())].to_vec()
}

/// Lets a program that traces or replaces another run, until it is dropped.
pub fn attach(prog: &Prog) -> Result<OwnedFd> {
    // No name, the descriptor, and padding.
    bpf(BPF_RAW_TRACEPOINT_OPEN, &[0, 0, prog.as_fd().as_raw_fd() as u32, 0])
}

/// Sends an IPv4 packet from the calling thread's namespace, with this as its payload: nobody sums it.
pub fn send_ip(to: Ipv4Addr, protocol: i32, payload: &[u8]) -> Result<()> {
    // SAFETY: no address is given.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, protocol) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(to.octets()) },
        sin_zero: [0; 8],
    };
    let (data, len) = (payload.as_ptr().cast(), payload.len());
    let size = size_of_val(&to) as u32;
    // SAFETY: the payload and the address outlive the call, and their lengths are theirs.
    let sent =
        unsafe { libc::sendto(socket.as_raw_fd(), data, len, 0, (&raw const to).cast(), size) };
    if sent < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Sends a frame as it is out by an interface of the calling thread's namespace.
pub fn send_frame(ifname: &str, frame: &[u8]) -> Result<()> {
    Wire::open(ifname)?.send(frame)
}

/// Where frames are sent as they are.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    to: libc::sockaddr_ll,
}

impl Wire {
    /// An interface of the calling thread's namespace.
    pub fn open(ifname: &str) -> Result<Self> {
        // SAFETY: no address is given.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the kernel has just opened it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let name = std::ffi::CString::new(ifname)?;
        // SAFETY: numbers only, for which zero is a valid value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        // SAFETY: the name is a C string.
        to.sll_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) } as i32;
        Ok(Self { socket, to })
    }

    /// Sends one, whatever it is.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let (data, len, size) = (frame.as_ptr().cast(), frame.len(), size_of_val(&self.to) as u32);
        let (fd, to) = (self.socket.as_raw_fd(), (&raw const self.to).cast());
        // SAFETY: the frame and the address outlive the call, and their lengths are theirs.
        let sent = unsafe { libc::sendto(fd, data, len, 0, to, size) };
        if sent < 0 { Err(Error::last_os_error()) } else { Ok(()) }
    }
}

/// A command that gives a descriptor.
fn bpf<A>(command: c_long, attr: &A) -> Result<OwnedFd> {
    // SAFETY: laid out as the kernel has it; what its addresses name outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<A>()) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
