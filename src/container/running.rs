//! Containers that run, without asking whoever made them.
//!
//! Each has a process outside that watches over it, its monitor: containerd's shim for Docker, conmon for
//! podman, systemd-nspawn, LXC's. The child of a monitor that is in another network namespace is the first
//! process of a container, and the monitor's command line says of which. So nothing that runs in a
//! container has a say, nor, but for LXC which is for them too, have users who are not root.

use super::name::Name;
use super::{lxc, nspawn, podman};
use crate::sys::process::{self, Process};
use crate::{Error, Result};

/// A container that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Running {
    /// Its name; those of Docker and podman have their whole id in its place.
    pub name: Name,
    /// Its first process.
    pub pid: u32,
    /// Inode number of that one's network namespace.
    pub netns: u64,
    /// Its monitor's command line.
    pub monitor: Vec<String>,
}

/// All but those that are in the network namespace of their monitor.
pub fn all() -> Result<Vec<Running>> {
    let processes = process::all()?;
    let mut all = Vec::new();
    for first in &processes {
        let Ok(at) = processes.binary_search_by_key(&first.parent, |process| process.pid) else {
            continue;
        };
        let parent = &processes[at];
        if parent.netns == first.netns || !process::is_near(parent.pid) {
            continue;
        }
        let monitor = process::arguments(parent.pid);
        if let Some(name) = watched(parent, &monitor, first.pid)? {
            all.push(Running { name, pid: first.pid, netns: first.netns, monitor });
        }
    }
    Ok(all)
}

/// Whose first process this is.
fn watched(parent: &Process, monitor: &[String], first: u32) -> Result<Option<Name>> {
    Ok(match (parent.name.as_str(), parent.root) {
        // Others than Docker have it too.
        ("containerd-shim", true) if after(monitor, "-namespace") == Some("moby") => {
            id(after(monitor, "-id")).map(Name::Docker)
        }
        ("conmon", true) => id(after(monitor, "-c")).map(Name::Podman),
        ("systemd-nspawn", true) => nspawn::machine(monitor, first)?.map(Name::Nspawn),
        _ => lxc::container(monitor, || process::cgroups(first)).map(Name::Lxc),
    })
}

/// The word after an option.
fn after<'a>(line: &'a [String], option: &str) -> Option<&'a str> {
    let at = line.iter().position(|word| word == option)?;
    line.get(at + 1).map(String::as_str)
}

/// Docker's and podman's ids are 64 hexadecimal digits.
fn id(word: Option<&str>) -> Option<String> {
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    word.filter(is_id).map(str::to_owned)
}

/// The one of `running` that podman, systemd-nspawn or LXC call so, and its name in full; `None` if they know
/// none.
pub fn named<'a>(name: &Name, running: &'a [Running]) -> Result<Option<(Name, &'a Running)>> {
    let (key, shown) = match name {
        Name::Podman(text) => match podman::called(text, running)? {
            Some(known) => (Name::Podman(known.id.clone()), Name::Podman(known.name())),
            None => return Ok(None),
        },
        _ => (name.clone(), name.clone()),
    };
    let found: Vec<_> = running.iter().filter(|running| running.name == key).collect();
    match found.as_slice() {
        [] => match start(&shown) {
            Some(start) => Err(Error::NotRunning { name: shown.to_string(), start }),
            None => Ok(None),
        },
        // What is started inside afterwards has the same namespace.
        [first, rest @ ..] if rest.iter().all(|other| other.netns == first.netns) => {
            Ok(Some((shown, first)))
        }
        several => Err(Error::Ambiguous {
            name: name.to_string(),
            candidates: several
                .iter()
                .map(|one| format!("pid:{}", one.pid))
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// How one that is there, but does not run, is started.
fn start(name: &Name) -> Option<String> {
    let there = |path: String| std::path::Path::new(&path).symlink_metadata().is_ok();
    match name {
        Name::Podman(name) => Some(format!("podman start {name}")),
        Name::Nspawn(name) => ["", ".raw"]
            .iter()
            .any(|kind| there(format!("/var/lib/machines/{name}{kind}")))
            .then(|| format!("machinectl start {name}")),
        Name::Lxc(name) => {
            there(format!("/var/lib/lxc/{name}")).then(|| format!("lxc-start {name}"))
        }
        _ => None,
    }
}

/// Whether they know it, running or not.
pub fn knows(name: &Name, running: &[Running]) -> Result<bool> {
    match named(name, running) {
        Err(Error::NotRunning { .. } | Error::Ambiguous { .. }) => Ok(true),
        found => Ok(found?.is_some()),
    }
}
