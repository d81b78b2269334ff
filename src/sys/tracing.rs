//! What the kernel says of redirects that fail: its tracepoints of XDP (include/trace/events/xdp.h), read by an
//! instance of tracefs of our own, which nobody else's tracing sees and which goes when it is dropped.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;

use super::mount;
use crate::{Error, Result};

/// Those that tell of errors. Where a redirect has no target, and where a target did not take the frame.
const EVENTS: [&str; 2] = ["xdp_redirect_err", "xdp_devmap_xmit"];

/// An error of a redirect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Where the frame came in; 0 where it is not told.
    pub from: u32,
    /// Where it should have gone; 0 if it is not known.
    pub to: u32,
    /// Why it did not.
    pub errno: Errno,
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
        let instance = root.join(format!("instances/xhop-{}", std::process::id()));
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
        let text = std::fs::read_to_string(self.instance.join("trace"));
        let text = text.map_err(Error::io("tracefs, trace"))?;
        Ok(text.lines().filter_map(failure).collect())
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.instance);
    }
}

/// Reads a line of `trace`; `None` if it tells of no error.
fn failure(line: &str) -> Option<Failure> {
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_trace() {
        let lost = "  xhop-1 [001] b..2.  7.0: xdp_devmap_xmit: ndo_xdp_xmit from_ifindex=5 to_ifindex=7 \
                    action=REDIRECT sent=0 drops=3 err=-6";
        let failed = Failure { from: 5, to: 7, errno: Errno::ENXIO };
        assert_eq!(failure(lost), Some(failed));
        let stale = "  xhop-1 [001] b..2.  7.0: xdp_redirect_err: prog_id=9 action=REDIRECT ifindex=5 to_ifindex=0 \
                     err=-22 map_id=3 map_index=7";
        assert_eq!(failure(stale), Some(Failure { from: 5, to: 0, errno: Errno::EINVAL }));
        let fine = lost.replace("err=-6", "err=0");
        for line in [fine.as_str(), "# tracer: nop", "", "x: err=-6"] {
            assert_eq!(failure(line), None, "{line}");
        }
    }
}
