//! Containers that run, without asking whoever made them.
//!
//! Each has a process outside that watches over it, its monitor: containerd's shim for Docker, conmon for
//! podman, systemd-nspawn, LXC's. The child of a monitor that is in another network namespace is the first
//! process of a container, and the monitor's command line says of which. So nothing that runs in a
//! container has a say, nor, but for LXC which is for them too, have users who are not root.

use super::name::Name;
use super::{lxc, nspawn};
use crate::Result;
use crate::sys::netns::Netns;
use crate::sys::process::{self, namespace, status};

/// A container that runs.
#[derive(Debug)]
pub struct Running {
    /// Its name; those of Docker and podman have their whole id in its place.
    pub name: Name,
    /// Its first process.
    pub pid: u32,
    /// Inode number of that one's network namespace.
    pub netns: u64,
    /// Its monitor's command line, each word ended by a NUL.
    pub monitor: String,
}

/// All but those in our own network namespace.
pub fn all() -> Result<Vec<Running>> {
    let own = Netns::current()?.inode();
    let mut all = Vec::new();
    for pid in process::all()? {
        all.extend(container(pid, own));
    }
    Ok(all)
}

/// The container whose first process this is.
fn container(pid: u32, own: u64) -> Option<Running> {
    let netns = namespace(pid, "net").filter(|netns| *netns != own)?;
    let parent = status(pid, "PPid").parse().ok()?;
    // In a container others may watch over others.
    let outside = namespace(parent, "net") != Some(netns)
        && namespace(parent, "pid") == namespace(std::process::id(), "pid");
    let monitor = process::text(parent, "cmdline");
    let name = watched(parent, &monitor, pid).filter(|_| outside)?;
    Some(Running { name, pid, netns, monitor })
}

fn watched(parent: u32, monitor: &str, first: u32) -> Option<Name> {
    let program = status(parent, "Name");
    // Really, too: su(1) is root by its file.
    let by_root = status(parent, "Uid").starts_with("0\t0\t");
    match program.as_str() {
        // Others than Docker have it too: the engine does not know these.
        "containerd-shim" if by_root => after(monitor, "-id").map(Name::Docker),
        "conmon" if by_root => after(monitor, "-c").map(Name::Podman),
        "systemd-nspawn" if by_root => nspawn::machine(first).map(Name::Nspawn),
        _ => lxc::container(monitor, &process::text(first, "cgroup"))
            .map(|name| Name::Lxc(name.into())),
    }
}

/// The word after an option.
fn after(line: &str, option: &str) -> Option<String> {
    let mut words = line.split('\0');
    words.find(|word| *word == option)?;
    words.next().map(str::to_owned)
}
