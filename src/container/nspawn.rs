//! systemd-nspawn: what a machine is called.

use std::os::unix::fs::MetadataExt;

use nix::sys::stat::{major, minor};

use crate::sys::process;

/// Where the host has a folder for each machine, by its name, which is mounted in it.
const FOLDERS: &str = "/systemd/nspawn/propagate/";

/// What the machine with this first process is called, be it registered or not.
pub fn machine(first: u32) -> Option<String> {
    let of = std::fs::metadata(format!("/run{FOLDERS}")).ok()?.dev();
    let device = format!("{}:{}", major(of), minor(of));
    let mounts = process::text(first, "mountinfo");
    mounts.split('\n').find_map(|line| mounted(line, &device)).map(str::to_owned)
}

/// The machine whose folder this line of its mountinfo, proc(5), tells of. That it is on the host's device
/// can't be feigned: of that, the machine sees this folder alone.
pub(super) fn mounted<'a>(line: &'a str, device: &str) -> Option<&'a str> {
    let mut words = line.split(' ');
    words.nth(2).filter(|of| *of == device)?;
    let root = words.next()?;
    // Where /run is no file system of its own.
    root.strip_prefix("/run").unwrap_or(root).strip_prefix(FOLDERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_what_is_mounted_in_it() {
        let line = |root: &str| {
            format!("269 266 0:39 {root} /run/host/incoming ro,relatime - tmpfs tmpfs rw")
        };
        for root in ["/systemd/nspawn/propagate/web", "/run/systemd/nspawn/propagate/web"] {
            assert_eq!(mounted(&line(root), "0:39"), Some("web"));
            assert_eq!(mounted(&line(root), "0:3"), None, "another device");
        }
        for root in ["/", "", "/systemd/nspawn/propagate", "/srv/systemd/nspawn/propagate/web"] {
            assert_eq!(mounted(&line(root), "0:39"), None, "{root}");
        }
        for bad in ["", " ", "1 2 0:39", "1 2 0:39 "] {
            assert_eq!(mounted(bad, "0:39"), None, "{bad}");
        }
    }
}
