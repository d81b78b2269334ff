//! What the kernel says of redirects that fail: its tracepoints of XDP (include/trace/events/xdp.h), read by an
//! instance of tracefs of our own, which nobody else's tracing sees and which goes when it is dropped.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::mount;
use crate::{Error, Result};

/// Those that tell of errors. Where a redirect has no target, and where a target did not take the frame.
const EVENTS: [&str; 2] = ["xdp_redirect_err", "xdp_devmap_xmit"];

/// What an instance's name begins with, before the number of the process that has it.
const PREFIX: &str = "xhop-";

/// An error of a redirect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Where the frame came in; 0 where it is not told.
    pub from: u32,
    /// Where it should have gone; 0 if it is not known.
    pub to: u32,
    /// Why it did not.
    pub errno: Errno,
    /// How many frames: a driver is given several at once.
    pub frames: usize,
    /// Whether it may be of this process's packets: they are handled where they are sent, or by a task of the
    /// kernel's. Indexes alone are of some namespace.
    pub ours: bool,
}

/// Tracing, from when it is begun.
#[derive(Debug)]
pub struct Tracing {
    /// A mount that is at no path, and ends with its descriptor.
    _mount: OwnedFd,
    instance: PathBuf,
}

impl Tracing {
    /// Begins. An error where tracefs can't be had, as under lockdown, or without its events.
    pub fn begin() -> Result<Self> {
        let mount = mount::detached(c"tracefs")?;
        let root = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        let instances = root.join("instances");
        remove_left(&instances);
        let instance = instances.join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir(&instance).map_err(Error::io("tracefs, instances"))?;
        let tracing = Self { _mount: mount, instance };
        for event in EVENTS {
            let switch = tracing.instance.join(format!("events/xdp/{event}/enable"));
            std::fs::write(switch, b"1").map_err(Error::io(format!("tracefs, {event}")))?;
        }
        Ok(tracing)
    }

    /// What has failed since it was begun.
    pub fn failures(&self) -> Result<Vec<Failure>> {
        let text = std::fs::read(self.instance.join("trace"));
        let text = text.map_err(Error::io("tracefs, trace"))?;
        Ok(failures(&text, std::process::id()))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.instance);
    }
}

/// Removes what processes that were killed have left, if tracefs can be had.
pub fn sweep() {
    if let Ok(mount) = mount::detached(c"tracefs") {
        remove_left(&PathBuf::from(format!("/proc/self/fd/{}/instances", mount.as_raw_fd())));
    }
}

/// Removes the instances of processes that were ended before they could: they would be traced for ever.
fn remove_left(instances: &Path) {
    for entry in std::fs::read_dir(instances).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Reads `trace`. A task may be called by bytes that are no text.
fn failures(text: &[u8], own: u32) -> Vec<Failure> {
    String::from_utf8_lossy(text).lines().filter_map(|line| failure(line, own)).collect()
}

/// Reads a line of `trace`; `None` if it tells of no error.
fn failure(line: &str, own: u32) -> Option<Failure> {
    EVENTS.into_iter().find(|event| line.contains(&format!(" {event}: ")))?;
    let number = |names: &[&str]| {
        let fields = line.split_whitespace().filter_map(|field| field.split_once('='));
        let mut found = fields.filter(|(name, _)| names.contains(name));
        found.find_map(|(_, value)| value.parse::<i32>().ok())
    };
    let errno = number(&["err"]).filter(|err| *err < 0)?;
    let index = |names: &[&str]| number(names).map_or(0, |index| index.max(0) as u32);
    Some(Failure {
        from: index(&["ifindex", "from_ifindex"]),
        to: index(&["to_ifindex"]),
        errno: Errno::from_raw(-errno),
        frames: number(&["drops"]).map_or(1, |drops| drops.max(0) as usize),
        ours: task(line).is_some_and(|(name, pid)| pid == own || is_kernels(name)),
    })
}

/// The task on whose time it was, and its number: `  xhop-77  [001] ...`.
fn task(line: &str) -> Option<(&str, u32)> {
    let (name, pid) = line.split_once(" [")?.0.trim().rsplit_once('-')?;
    Some((name, pid.parse().ok()?))
}

fn is_kernels(task: &str) -> bool {
    ["ksoftirqd/", "napi/", "<idle>"].iter().any(|name| task.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::privileged;

    #[test]
    fn begins_again_and_leaves_nothing() {
        if !privileged("tracing::begins_again_and_leaves_nothing") {
            return;
        }
        // Under lockdown, say, there is none.
        let Ok(tracing) = Tracing::begin() else { return };
        assert!(tracing.failures().is_ok());
        let (instance, instances) = (tracing.instance.clone(), tracing.instance.parent());
        let instances = instances.expect("a folder").to_path_buf();
        // No process has so large a number (PID_MAX_LIMIT).
        let left = instances.join(format!("{PREFIX}{}", 1 << 23));
        std::fs::create_dir(&left).expect("made");
        sweep();
        assert!(!left.exists() && instance.exists());
        let second = mount::detached(c"tracefs").expect("mounts");
        let seen = format!(
            "/proc/self/fd/{}/instances/{PREFIX}{}",
            second.as_raw_fd(),
            std::process::id()
        );
        assert!(Path::new(&seen).exists());
        drop(tracing);
        assert!(!Path::new(&seen).exists());
    }

    #[test]
    fn lines_of_a_trace() {
        let lost = "  xhop-1 [001] b..2.  7.0: xdp_devmap_xmit: ndo_xdp_xmit from_ifindex=5 to_ifindex=7 \
                    action=REDIRECT sent=0 drops=3 err=-6";
        let failed = Failure { from: 5, to: 7, errno: Errno::ENXIO, frames: 3, ours: true };
        assert_eq!(failure(lost, 1), Some(failed));
        assert_eq!(failure(lost, 2), Some(Failure { ours: false, ..failed }));
        let trace = [b"  \xff\xfe-9 [000] b..2.  6.0: xdp_redirect_err: err=0\n", lost.as_bytes()];
        assert_eq!(failures(&trace.concat(), 1), [failed]);
        let later = lost.replace("xhop-1 ", "ksoftirqd/1-22 ");
        assert_eq!(failure(&later, 1), Some(failed));
        let stale = "  xhop-1 [001] b..2.  7.0: xdp_redirect_err: prog_id=9 action=REDIRECT ifindex=5 \
                     to_ifindex=0 err=-22 map_id=3 map_index=7";
        assert_eq!(
            failure(stale, 1),
            Some(Failure { to: 0, errno: Errno::EINVAL, frames: 1, ..failed })
        );
        let fine = lost.replace("err=-6", "err=0");
        for line in [fine.as_str(), "# tracer: nop", "", "x: err=-6"] {
            assert_eq!(failure(line, 1), None, "{line}");
        }
    }
}
