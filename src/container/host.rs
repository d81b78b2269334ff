//! What there is on this host of each kind: from a name to a container that runs, and back.

use std::cell::OnceCell;
use std::path::Path;

use super::known::{self, Known};
use super::name::Name;
use super::running::{self, Running};
use super::{docker, podman};
use crate::sys::netns;
use crate::{Error, Result};

/// What runs and what engines know. Each is looked for once, when it is asked for.
#[derive(Default)]
pub struct Host {
    running: OnceCell<Vec<Running>>,
    docker: OnceCell<Vec<Known>>,
    podman: OnceCell<Vec<Known>>,
    named: OnceCell<Vec<(u64, String)>>,
}

impl Host {
    /// The container of Docker, podman, systemd-nspawn or LXC with this name, and its name in full; `None` if
    /// there is none.
    pub fn find(&self, name: &Name) -> Result<Option<(Name, &Running)>> {
        let (mut key, mut shown) = (name.clone(), name.clone());
        if let Name::Docker(text) | Name::Podman(text) = name {
            let Some(known) = known::called(text, self.known(name)?)? else { return Ok(None) };
            key = name.with(&known.id);
            shown = name.with(known.name().unwrap_or(&known.id));
        }
        let mut found = self.running()?.iter().filter(|running| running.name == key);
        let Some(first) = found.next() else {
            return match start(&shown) {
                Some(start) => Err(Error::NotRunning { name: shown, start }),
                None => Ok(None),
            };
        };
        // What is started in it afterwards has the same namespace.
        match found.find(|other| other.netns != first.netns) {
            Some(other) => Err(Error::Ambiguous {
                name: name.to_string(),
                candidates: format!("pid:{}, pid:{}", first.pid, other.pid),
            }),
            None => Ok(Some((shown, first))),
        }
    }

    /// Whether there is one, running or not.
    pub fn has(&self, name: &Name) -> Result<bool> {
        match self.find(name) {
            Err(Error::NotRunning { .. } | Error::Ambiguous { .. }) => Ok(true),
            Err(Error::Engine { gone: true, .. }) => Ok(false),
            found => Ok(found?.is_some()),
        }
    }

    /// Whose the network namespace with this inode number is: `docker:web`, `netns:a`; `None` if it is nobody's.
    /// Of several containers that share it, the one that was there first.
    ///
    /// However many are asked for: all processes are gone through once, and an engine is asked once, if any
    /// of its containers is met.
    ///
    /// # Errors
    /// If an engine answers wrongly, or a storage can't be read.
    pub fn owner(&self, netns: u64) -> Result<Option<Name>> {
        let mut owner = None;
        for running in self.running()?.iter().filter(|running| running.netns == netns) {
            owner = owner.or(self.shown(&running.name)?);
        }
        let named = once(&self.named, netns::named)?.iter().find(|(inode, _)| *inode == netns);
        let owner = owner.or_else(|| Some(Name::Netns(named?.1.clone())));
        // One that nobody could give is none, nor should a terminal get it.
        Ok(owner.and_then(|name| name.to_string().parse().ok()))
    }

    /// As its user knows it; `None` if its engine does not know it.
    fn shown(&self, name: &Name) -> Result<Option<Name>> {
        let (Name::Docker(id) | Name::Podman(id)) = name else { return Ok(Some(name.clone())) };
        let known = match self.known(name) {
            Err(Error::Engine { gone: true, .. }) => return Ok(None),
            known => known?.iter().find(|known| known.id == *id),
        };
        Ok(known.map(|known| name.with(known.name().unwrap_or(id))))
    }

    fn running(&self) -> Result<&[Running]> {
        once(&self.running, running::all).map(Vec::as_slice)
    }

    /// What the engine of this kind of name knows.
    fn known(&self, kind: &Name) -> Result<&[Known]> {
        let known = match kind {
            Name::Docker(_) => once(&self.docker, docker::containers),
            _ => once(&self.podman, || podman::containers(self.running()?)),
        };
        known.map(Vec::as_slice)
    }
}

/// What a cell holds, which is filled the first time.
fn once<T>(cell: &OnceCell<T>, fill: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(found) = cell.get() {
        return Ok(found);
    }
    let found = fill()?;
    Ok(cell.get_or_init(|| found))
}

/// What starts one that is there, but does not run.
fn start(name: &Name) -> Option<&'static str> {
    let (name, path, start) = match name {
        Name::Docker(_) => return Some("docker start"),
        Name::Podman(_) => return Some("podman start"),
        Name::Nspawn(name) => (name, "/var/lib/machines", "machinectl start"),
        Name::Lxc(name) => (name, "/var/lib/lxc", "lxc-start"),
        _ => return None,
    };
    Path::new(path).join(name).symlink_metadata().is_ok().then_some(start)
}
