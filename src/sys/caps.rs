//! What this process may do: capabilities(7), capget(2), capset(2), and no_new_privs of prctl(2).
//!
//! They are a thread's: what is kept here is so for the calling thread and for those that it starts later.

use nix::errno::Errno;

use crate::{Error, Result};

/// Those that some command needs; include/uapi/linux/capability.h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cap {
    /// Files of others, to read and to write.
    DacOverride = 1,
    /// Files of others, to read.
    DacReadSearch = 2,
    /// Ports below 1024.
    NetBindService = 10,
    /// To hear of other namespaces by netlink.
    NetBroadcast = 11,
    /// Links, routes, qdiscs, and programs on them.
    NetAdmin = 12,
    /// Packet sockets.
    NetRaw = 13,
    /// The namespaces of other users' processes, and of those that have more capabilities than we.
    SysPtrace = 19,
    /// setns(2), mount(2), and all of bpf(2): it includes `CAP_BPF` and `CAP_PERFMON`.
    SysAdmin = 21,
    /// More locked memory than a limit says, which maps and programs are before kernel 5.11.
    SysResource = 24,
    /// Addresses of the kernel's functions.
    Syslog = 34,
    /// Programs that the verifier takes for trusted.
    Perfmon = 38,
    /// Programs and maps.
    Bpf = 39,
}

impl Cap {
    /// As the manual page calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::NetBindService => "CAP_NET_BIND_SERVICE",
            Self::NetBroadcast => "CAP_NET_BROADCAST",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::Syslog => "CAP_SYSLOG",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }

    fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// Those of `needed` that this process is not permitted.
pub fn missing(needed: &[Cap]) -> Result<Vec<Cap>> {
    Ok(lacking(permitted()?, needed))
}

fn lacking(permitted: u64, needed: &[Cap]) -> Vec<Cap> {
    needed.iter().copied().filter(|cap| permitted & cap.bit() == 0).collect()
}

/// Gives up all but these; of these it has afterwards what it was permitted before. For good: what it starts
/// has no more either, as root or not.
pub fn keep(these: &[Cap]) -> Result<()> {
    let on = "this process";
    // An execve(2) of root's would else give it back all that the bounding set has.
    nix::sys::prctl::set_no_new_privs().map_err(Error::sys("prctl", on))?;
    let kept = these.iter().fold(0, |all, cap| all | cap.bit()) & permitted()?;
    let half = |at: u32| (kept >> at) as u32;
    // Nothing is inheritable, so that nothing is ambient either.
    let sets = [0, 32].map(|at| Sets { effective: half(at), permitted: half(at), inheritable: 0 });
    // SAFETY: both are as version 3 has them, and are only read.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const OWN, sets.as_ptr()) };
    Errno::result(set).map(drop).map_err(Error::sys("capset", on))
}

/// What this thread may have, a bit each.
fn permitted() -> Result<u64> {
    let mut sets = [Sets::default(); 2];
    // SAFETY: the header is as version 3 has it and is only read, both sets are written.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw const OWN, sets.as_mut_ptr()) };
    Errno::result(got).map_err(Error::sys("capget", "this process"))?;
    let [low, high] = sets.map(|set| u64::from(set.permitted));
    Ok(high << 32 | low)
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// The calling thread, with sets of 64 bits: `_LINUX_CAPABILITY_VERSION_3`.
static OWN: Header = Header { version: 0x2008_0522, pid: 0 };

/// `struct __user_cap_data_struct`: 32 bits of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of the calling thread's status.
    fn status(field: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("a status");
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let value = value.unwrap_or_else(|| panic!("no {field} in {status}"));
        u64::from_str_radix(value.trim(), 16).expect("a number")
    }

    #[test]
    fn tells_what_is_lacking() {
        let [admin, ptrace, syslog] = [Cap::NetAdmin, Cap::SysPtrace, Cap::Syslog];
        assert_eq!(lacking(0, &[admin, ptrace]), [admin, ptrace]);
        assert_eq!(lacking(1 << 12, &[admin, ptrace]), [ptrace]);
        assert_eq!(lacking(1 << 12 | 1 << 34, &[admin, syslog]), []);
        assert_eq!(lacking(u64::MAX, &[admin, ptrace, syslog]), []);
        assert_eq!(permitted().expect("capget"), status("CapPrm:"));
    }

    /// The oracle is what /proc shows.
    #[test]
    fn keeps_what_it_is_told_to_and_has() {
        let before = permitted().expect("capget");
        let kept = std::thread::spawn(|| {
            keep(&[Cap::NetAdmin, Cap::Syslog]).expect("capset");
            let sets = ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:", "NoNewPrivs:"].map(status);
            // There is no way back.
            keep(&[Cap::NetAdmin, Cap::SysAdmin]).expect("capset");
            (sets, status("CapEff:"), std::thread::spawn(|| status("CapEff:")).join())
        });
        let (sets, after, started) = kept.join().expect("no panic");
        let both = before & (1 << 12 | 1 << 34);
        assert_eq!(sets, [both, both, 0, 0, 1]);
        assert_eq!(after, before & 1 << 12);
        assert_eq!(started.expect("no panic"), after, "a thread that it has started");
        assert_eq!(permitted().expect("capget"), before, "this thread has what it had");
    }
}
