//! The seams to the kernel, one for each of its interfaces.
//!
//! All `unsafe` and all system calls of the crate are here. Interfaces and namespaces are the
//! caller's to choose: nothing here looks for containers or decides anything.

pub mod bpf;
pub mod bpffs;
pub mod bridge;
pub mod caps;
pub mod child;
pub mod cpu;
pub mod ethtool;
pub mod file;
pub mod kallsyms;
pub mod kernel;
pub mod mount;
pub mod netlink;
pub mod netns;
pub mod notify;
pub mod process;
pub mod rule;
pub mod signal;
pub mod socket;
pub mod stage;
pub mod tap;
pub mod tracing;
pub mod udp;
pub mod xtables;

/// What the tests of the seams share.
#[cfg(test)]
pub(crate) mod testing {
    use std::io::Write;
    use std::path::Path;
    use std::process::Command;

    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    use super::caps::{self, Cap};

    /// Whether this test may use the kernel. If not, it says so on stderr (past libtest's
    /// capture), or fails if `XHOP_REQUIRE_KERNEL=1` says that it must not be skipped.
    pub(crate) fn privileged(test: &str) -> bool {
        let missing = caps::missing(&[Cap::NetAdmin, Cap::SysAdmin]).expect("capget");
        if missing.is_empty() {
            return true;
        }
        let names: Vec<_> = missing.into_iter().map(Cap::name).collect();
        let reason = format!("lacks {}", names.join(", "));
        let required = std::env::var_os("XHOP_REQUIRE_KERNEL").is_some_and(|v| v == "1");
        assert!(!required, "{test}: {reason}");
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
        false
    }

    /// Runs `f` on a thread with a network namespace of its own, which ends with the thread.
    pub(crate) fn in_new_netns<T: Send>(f: impl FnOnce() -> T + Send) -> T {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
            f()
        };
        let joined = std::thread::scope(|scope| scope.spawn(run).join());
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// What ip(8) answers in the calling thread's namespace: an oracle, and for what we never make
    /// ourselves. `None` where it is missing, or can't do this.
    pub(crate) fn ip(arguments: &str) -> Option<String> {
        let output = Command::new("ip").args(arguments.split(' ')).output();
        let output = output.ok().filter(|output| output.status.success());
        if output.is_none() {
            let _ = writeln!(std::io::stderr(), "skipped: no `ip {arguments}`");
        }
        String::from_utf8(output?.stdout).ok()
    }

    /// Runs `f` with an empty directory, on a thread with a mount namespace of its own: what is
    /// mounted there ends with it.
    pub(crate) fn in_new_mountns(test: &str, f: impl FnOnce(&Path) + Send) {
        let dir = std::env::temp_dir().join(format!("xhop-{test}-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("temporary directory");
        let run = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("unshare");
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
            f(&dir);
        };
        let joined = std::thread::scope(|scope| scope.spawn(run).join());
        // Fails if `f` left something in the directory itself: its mount leaked.
        std::fs::remove_dir(&dir).expect("empty again");
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}
