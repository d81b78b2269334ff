//! What each command may do: the capabilities that it needs. It gives up all others before it does anything.

use std::fmt;

use nix::sys::stat::{Mode, umask};

use crate::sys::caps::{self, Cap};
use crate::sys::kernel;
use crate::{Error, Result};

/// What some commands may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    /// Whose they are, as README.md has it.
    pub of: &'static str,
    /// Without one of these it refuses, and names it.
    pub needs: &'static [Cap],
    /// These it keeps, if it has them.
    pub takes: &'static [Cap],
    /// Whether it loads programs, or makes maps.
    pub loads: bool,
}

use Cap::{
    Bpf, DacOverride, DacReadSearch, NetAdmin, NetBindService, NetBroadcast, NetRaw, Perfmon,
    SysAdmin, SysPtrace, SysResource, Syslog,
};

impl Rights {
    /// Of those that change who is joined.
    pub const JOIN: Self =
        Self::needing("`up`, `down`, `chain`", &[NetAdmin, SysAdmin, SysPtrace]).loading();
    /// Of `watch`.
    pub const WATCH: Self =
        Self::needing("`watch`", &[NetAdmin, SysAdmin, SysPtrace, NetBroadcast]).loading();
    /// Of `status`, which asks for rules of nf_tables.
    pub const STATUS: Self = Self::needing("`status`", &[NetAdmin, SysAdmin, SysPtrace]);
    /// Of `audit`: BPF_PROG_QUERY was for CAP_NET_ADMIN alone once, as on 5.10.
    pub const AUDIT: Self =
        Self { takes: &[Syslog], ..Self::needing("`audit`", &[NetAdmin, SysAdmin, SysPtrace]) };
    /// Of `doctor` with two containers.
    pub const DOCTOR: Self =
        Self::needing("`doctor A B`", &[NetAdmin, SysAdmin, SysPtrace, NetRaw]).loading();
    /// Of `doctor` without: it tells what it may not try.
    pub const KERNEL: Self =
        Self { takes: &[NetAdmin, SysAdmin], ..Self::needing("`doctor`", &[]).loading() };
    /// Of `capture`, which writes a file that is named.
    pub const CAPTURE: Self = Self {
        takes: &[DacOverride],
        ..Self::needing("`capture`", &[NetAdmin, SysAdmin, SysPtrace]).loading()
    };
    /// Of `demo`.
    pub const DEMO: Self =
        Self::needing("`demo`", &[NetAdmin, SysAdmin, NetRaw, NetBindService]).loading();
    /// Of `bench` with two containers, and on a scale.
    pub const BENCH: Self =
        Self::needing("`bench A B`, `bench --scale`", &[NetAdmin, SysAdmin, SysPtrace]).loading();
    /// Of `bench --frames`.
    pub const FRAMES: Self =
        Self::needing("`bench --frames`", &[NetAdmin, SysAdmin, NetRaw]).loading();
    /// Of `bench --checksum`.
    pub const CHECKSUM: Self =
        Self::needing("`bench --checksum`", &[NetAdmin, Bpf, Perfmon]).loading();
    /// Of those that read files that are named.
    pub const READ: Self =
        Self { takes: &[DacReadSearch], ..Self::needing("`lint`, `disasm`", &[]) };
    /// Of `vm`, which reads and writes files that are named.
    pub const VM: Self = Self { takes: &[DacOverride], ..Self::needing("`vm`", &[]) };
    /// Of those that do nothing but print.
    pub const PRINT: Self = Self::needing("`programs`, `show`", &[]);

    /// All.
    pub const ALL: [Self; 14] = [
        Self::JOIN,
        Self::WATCH,
        Self::STATUS,
        Self::AUDIT,
        Self::DOCTOR,
        Self::KERNEL,
        Self::CAPTURE,
        Self::DEMO,
        Self::BENCH,
        Self::FRAMES,
        Self::CHECKSUM,
        Self::READ,
        Self::VM,
        Self::PRINT,
    ];

    const fn needing(of: &'static str, needs: &'static [Cap]) -> Self {
        Self { of, needs, takes: &[], loads: false }
    }

    const fn loading(self) -> Self {
        Self { loads: true, ..self }
    }

    /// Gives up all others. Call it first of all, before there are other threads.
    ///
    /// # Errors
    /// Refuses early what the kernel would refuse later, with the names of what is missing.
    pub fn take(self) -> Result<()> {
        let missing = caps::missing(self.needs)?;
        if !missing.is_empty() {
            let names: Vec<_> = missing.into_iter().map(Cap::name).collect();
            return Err(Error::Privileges { missing: names.join(", ") });
        }
        let mut kept = [self.needs, self.takes].concat();
        // Before that, what is loaded counts as locked memory.
        if self.loads && kernel::release()? < (5, 11) {
            kept.push(SysResource);
        }
        caps::keep(&kept)?;
        // Who may do more than others makes no files for them. `vm` writes its user's.
        if !self.needs.is_empty() {
            umask(Mode::from_bits_truncate(0o077));
        }
        Ok(())
    }
}

/// A line of README.md's table.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names = |caps: &[Cap]| caps.iter().map(|cap| cap.name()).collect::<Vec<_>>().join(", ");
        write!(f, "| {} | {} | {} |", self.of, names(self.needs), names(self.takes))
    }
}
