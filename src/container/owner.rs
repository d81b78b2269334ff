//! The way back: from a network namespace to the name that its user knows.

use super::known::name_of;
use super::name::Name;
use super::{docker, podman, running};
use crate::Result;
use crate::sys::netns;

/// Whose the network namespaces of this host are: those of containers that run, and the named ones.
#[derive(Default, Debug)]
pub struct Owners(Vec<(u64, Name)>);

impl Owners {
    /// Looks through all processes once, and asks the Docker engine once if there are any containers of its.
    ///
    /// # Errors
    /// If the engine answers wrongly or a storage can't be read; an engine that is gone is none, and its
    /// containers are called by their ids.
    pub fn find() -> Result<Self> {
        let running = running::all()?;
        let any = |kind: fn(&Name) -> bool| running.iter().any(|running| kind(&running.name));
        let docker = match any(|name| matches!(name, Name::Docker(_))) {
            true => docker::all()?,
            false => Vec::new(),
        };
        let podman = match any(|name| matches!(name, Name::Podman(_))) {
            true => podman::all(&running)?,
            false => Vec::new(),
        };
        let called = running.into_iter().map(|running| {
            let name = match running.name {
                Name::Docker(id) => Name::Docker(name_of(&id, &docker)),
                Name::Podman(id) => Name::Podman(name_of(&id, &podman)),
                name => name,
            };
            (running.netns, name)
        });
        let named = netns::named()?.into_iter();
        let mut owners: Vec<_> =
            called.chain(named.map(|(netns, name)| (netns, Name::Netns(name)))).collect();
        // Nobody could give it, nor should a terminal get it.
        owners.retain(|(_, name)| name.to_string().parse::<Name>().is_ok());
        Ok(Self(owners))
    }

    /// By the inode number: `docker:web`, `netns:a`; `None` if it is nobody's. Of several who share it, the
    /// one that was there first.
    pub fn of(&self, netns: u64) -> Option<&Name> {
        self.0.iter().find(|(of, _)| *of == netns).map(|(_, name)| name)
    }
}
