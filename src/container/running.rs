//! Containers that run, without asking whoever made them.
//!
//! Each has a process outside that watches over it, its monitor: containerd's shim for Docker, conmon for
//! podman, systemd-nspawn, LXC's. A child of a monitor that is in another network namespace is the first
//! process of a container, and the monitor's command line says of which, or what systemd-nspawn has mounted
//! in it. So nothing that runs in a container has a say, nor have, but for LXC which is for them too, users
//! who are not root.

use super::name::Name;
use super::{lxc, nspawn};
use crate::Result;
use crate::sys::process::{self, namespace, status};

/// A container.
#[derive(Debug)]
pub struct Container {
    /// Its name. What runs of Docker and podman has its whole id in its place until they were asked.
    pub name: Name,
    /// Its id; empty if it is not known to have one.
    pub id: String,
    /// Its first process; 0 if it does not run.
    pub pid: u32,
    /// Inode number of that one's network namespace.
    pub netns: u64,
    /// Its monitor's command line, each word ended by a NUL.
    pub monitor: String,
}

/// All that run, but for those in our own network namespace.
pub fn running() -> Result<Vec<Container>> {
    let own = namespace(std::process::id(), "net");
    let mut all = Vec::new();
    for pid in process::all()? {
        if namespace(pid, "net") != own {
            all.extend(container(pid));
        }
    }
    Ok(all)
}

/// The container whose first process this is.
fn container(pid: u32) -> Option<Container> {
    let netns = namespace(pid, "net")?;
    let parent = status(pid, "PPid").parse().ok()?;
    // In a container others may watch over others.
    if namespace(parent, "net") == Some(netns)
        || namespace(parent, "pid") != namespace(std::process::id(), "pid")
    {
        return None;
    }
    let monitor = process::text(parent, "cmdline");
    // Really, too: su(1) is root by its file.
    let by_root = status(parent, "Uid").starts_with("0\t0\t");
    let name = match status(parent, "Name").as_str() {
        "containerd-shim" if by_root => Name::Docker(after(&monitor, "-id")?.into()),
        "conmon" if by_root => Name::Podman(after(&monitor, "-c")?.into()),
        "systemd-nspawn" if by_root => Name::Nspawn(nspawn::machine(pid)?),
        _ => Name::Lxc(lxc::container(&monitor, &process::text(pid, "cgroup"))?.into()),
    };
    Some(Container { name, id: String::new(), pid, netns, monitor })
}

/// The word after an option.
pub fn after<'a>(line: &'a str, option: &str) -> Option<&'a str> {
    let mut words = line.split('\0');
    words.find(|word| *word == option)?;
    words.next()
}
