//! The containers of this host, by the names that their users know: from a name to the one that is meant, and
//! from a network namespace back to a name.

use std::cell::OnceCell;
use std::mem::discriminant;
use std::path::Path;

use super::known::Known;
use super::name::Name;
use super::running::{self, Running};
use super::{docker, podman};
use crate::sys::netns;
use crate::{Error, Result};

/// All of Docker, podman, systemd-nspawn and LXC. They are looked for once, when one is asked for.
#[derive(Default)]
pub struct Host {
    listed: OnceCell<Vec<Listed>>,
}

/// A container, or a network namespace that has a name.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: Name,
    /// An engine's id; empty if it has none.
    id: String,
    /// Its first process; 0 if it does not run.
    pub pid: u32,
    /// Inode number of its network namespace.
    pub netns: u64,
}

impl Host {
    /// The one with this name, or else with an id that is this or begins so; `None` if there is none.
    ///
    /// # Errors
    /// If it does not run, if there are several, if an engine answers wrongly or a storage can't be read.
    pub fn find(&self, name: &Name) -> Result<Option<&Listed>> {
        let listed = self.listed()?;
        let mut found: Vec<_> = listed.iter().filter(|listed| listed.name == *name).collect();
        if found.is_empty() {
            let begins =
                |listed: &&Listed| listed.id.starts_with(name.text()) && is_like(listed, name);
            found = listed.iter().filter(begins).collect();
        }
        match found.as_slice() {
            [] if is_there(name) => Err(Error::NotRunning { name: name.clone() }),
            [] => Ok(None),
            [first, others @ ..] if others.iter().any(|other| other.netns != first.netns) => {
                let candidates = found.iter().map(|listed| match listed.id.as_str() {
                    "" => format!("pid:{}", listed.pid),
                    _ => listed.name.to_string(),
                });
                let candidates = candidates.collect::<Vec<_>>().join(", ");
                Err(Error::Ambiguous { name: name.to_string(), candidates })
            }
            [first, ..] if first.pid == 0 => Err(Error::NotRunning { name: first.name.clone() }),
            [first, ..] => Ok(Some(first)),
        }
    }

    /// Whether there is one, running or not.
    ///
    /// # Errors
    /// If an engine answers wrongly or a storage can't be read.
    pub fn has(&self, name: &Name) -> Result<bool> {
        match self.find(name) {
            Err(Error::NotRunning { .. } | Error::Ambiguous { .. }) => Ok(true),
            found => Ok(found?.is_some()),
        }
    }

    /// Whose the network namespace with this inode number is: `docker:web`, `netns:a`; `None` if it is nobody's.
    /// Of several containers that share it, the one that was there first.
    ///
    /// However many are asked for, all processes are gone through once, and each engine is asked once.
    ///
    /// # Errors
    /// If an engine answers wrongly or a storage can't be read.
    pub fn owner(&self, netns: u64) -> Result<Option<&Name>> {
        let owners = self.listed()?.iter().filter(|listed| listed.netns == netns);
        // What has but a name comes last.
        Ok(owners.min_by_key(|listed| listed.pid.wrapping_sub(1)).map(|listed| &listed.name))
    }

    fn listed(&self) -> Result<&[Listed]> {
        if let Some(listed) = self.listed.get() {
            return Ok(listed);
        }
        let listed = list()?;
        Ok(self.listed.get_or_init(|| listed))
    }
}

fn is_like(listed: &Listed, name: &Name) -> bool {
    discriminant(&listed.name) == discriminant(name)
}

/// Whether one that does not run has its files in the usual place.
fn is_there(name: &Name) -> bool {
    let folder = match name {
        Name::Nspawn(_) => "/var/lib/machines",
        Name::Lxc(_) => "/var/lib/lxc",
        _ => return false,
    };
    Path::new(folder).join(name.text()).exists()
}

fn list() -> Result<Vec<Listed>> {
    let running = running::all()?;
    let docker = match docker::containers() {
        Err(Error::Engine { gone: true, .. }) => Vec::new(),
        containers => containers?,
    };
    let podman = podman::containers(&running)?;
    let mut list = Vec::new();
    name(&mut list, &running, Name::Docker, docker);
    name(&mut list, &running, Name::Podman, podman);
    for Running { name, pid, netns, .. } in running {
        // Others have a shim too, whom the engine does not know.
        if matches!(name, Name::Nspawn(_) | Name::Lxc(_)) {
            list.push(Listed { name, id: String::new(), pid, netns });
        }
    }
    for (netns, name) in netns::named()? {
        list.push(Listed { name: Name::Netns(name), id: String::new(), pid: 0, netns });
    }
    // One that nobody could give is none, nor should a terminal get it.
    list.retain(|listed| listed.name.to_string().parse::<Name>().is_ok());
    Ok(list)
}

/// Lists what an engine knows.
fn name(list: &mut Vec<Listed>, running: &[Running], kind: fn(String) -> Name, known: Vec<Known>) {
    for known in known {
        let name = kind(known.name().unwrap_or(&known.id).into());
        let found = kind(known.id.clone());
        let found = running.iter().find(|running| running.name == found);
        let (pid, netns) = found.map_or((0, 0), |running| (running.pid, running.netns));
        list.push(Listed { name, id: known.id, pid, netns });
    }
}
