//! A stage: namespaces of this process alone (unshare(2), mount_namespaces(7)). What is made there,
//! links, pins, records, vanishes with the process, however it ends.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::bpffs;
use crate::{Error, Result};

/// Where `ip netns` keeps namespaces by name.
const NAMED: &str = "/run/netns";

/// Takes the process to a network and a mount namespace of its own, with an empty `/run` and an empty
/// bpffs. Call it before any other thread is started: those would stay behind.
pub fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .map_err(Error::sys("unshare", "this process"))?;
    let none: Option<&str> = None;
    let at = |path: &'static str| Error::sys("mount", path);
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(at("/"))?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .map_err(at("/run"))?;
    let bpf = Some("bpf");
    mount(bpf, bpffs::MOUNT_POINT, bpf, MsFlags::empty(), none).map_err(at(bpffs::MOUNT_POINT))?;
    std::fs::create_dir(NAMED).map_err(Error::io(NAMED))
}

/// Makes a network namespace with a name, as `ip netns add` does.
pub fn add_netns(name: &str) -> Result<()> {
    let path = Path::new(NAMED).join(name);
    std::fs::write(&path, b"").map_err(Error::io(&path))?;
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(Error::sys("unshare", name))?;
        let (none, own): (Option<&str>, _) = (None, Some("/proc/thread-self/ns/net"));
        mount(own, &path, none, MsFlags::MS_BIND, none).map_err(Error::sys("mount", name))
    };
    let made = std::thread::scope(|scope| scope.spawn(make).join());
    made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
