//! The containers of this host, by the names that their users know: from a name to the one that is meant, and
//! from a network namespace back to a name.

use std::cell::OnceCell;
use std::mem::discriminant;
use std::path::Path;

use super::docker::Docker;
use super::known::Known;
use super::name::Name;
use super::podman;
use super::running::{Container, running};
use crate::{Error, Result};

/// How many digits of an id engines show.
const SHOWN: usize = 12;

/// All of Docker, podman, systemd-nspawn and LXC. They are looked for once, when one is asked for.
#[derive(Default)]
pub struct Host {
    containers: OnceCell<Vec<Container>>,
    docker: Docker,
}

impl Host {
    /// The one with this name, or else with an id that is this or begins so; `None` if there is none.
    ///
    /// # Errors
    /// If it does not run, if there are several, if an engine answers wrongly or a storage can't be read.
    pub fn find(&self, name: &Name) -> Result<Option<&Container>> {
        let containers = self.containers()?;
        let mut found: Vec<_> = containers.iter().filter(|one| one.name == *name).collect();
        if found.is_empty() {
            found = containers.iter().filter(|one| id_begins(one, name)).collect();
        }
        match found.as_slice() {
            [] if is_there(name) => Err(not_running(name)),
            [] => Ok(None),
            [one, others @ ..] if others.iter().any(|other| other.netns != one.netns) => {
                let candidates = found.iter().map(|one| format!("{} (pid:{})", one.name, one.pid));
                let candidates = candidates.collect::<Vec<_>>().join(", ");
                Err(Error::Ambiguous { name: name.to_string(), candidates })
            }
            [one, ..] if one.pid == 0 => Err(not_running(&one.name)),
            [one, ..] => Ok(Some(one)),
        }
    }

    /// Whether there is one, running or not, with this name, or with an id as engines show it, or longer.
    ///
    /// # Errors
    /// If an engine answers wrongly or a storage can't be read.
    pub fn has(&self, name: &Name) -> Result<bool> {
        let by_id = name.text().len() >= SHOWN;
        let is = |one: &Container| one.name == *name || by_id && id_begins(one, name);
        Ok(self.containers()?.iter().any(is) || is_there(name))
    }

    /// The one in the network namespace with this inode number; of several, that which was there first.
    ///
    /// # Errors
    /// If an engine answers wrongly or a storage can't be read.
    pub fn at(&self, netns: u64) -> Result<Option<&Container>> {
        let there = self.containers()?.iter().filter(|one| one.netns == netns);
        Ok(there.min_by_key(|one| one.pid))
    }

    /// Docker's engine.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    fn containers(&self) -> Result<&[Container]> {
        if let Some(containers) = self.containers.get() {
            return Ok(containers);
        }
        let containers = list(&self.docker)?;
        Ok(self.containers.get_or_init(|| containers))
    }
}

fn id_begins(one: &Container, name: &Name) -> bool {
    discriminant(&one.name) == discriminant(name) && one.id.starts_with(name.text())
}

/// All, by the names that their users know.
fn list(docker: &Docker) -> Result<Vec<Container>> {
    let mut all = running()?;
    let docker = match docker.containers() {
        Err(Error::Engine { gone: true, .. }) => Vec::new(),
        containers => containers?,
    };
    let podman = podman::containers(&all)?;
    for (kind, known) in [(Name::Docker as fn(String) -> Name, docker), (Name::Podman, podman)] {
        for known in known {
            name(&mut all, kind, known);
        }
    }
    all.retain(|one| {
        // Others have a shim or conmon too, of whom these engines do not know.
        let stranger = one.id.is_empty() && matches!(one.name, Name::Docker(_) | Name::Podman(_));
        // Of a name that can't be given nobody is told, nor should a terminal get it.
        !stranger && one.name.to_string().parse::<Name>().is_ok()
    });
    Ok(all)
}

/// Gives one its name, or adds one that does not run.
fn name(all: &mut Vec<Container>, kind: fn(String) -> Name, known: Known) {
    let (name, id) = (kind(known.name), kind(known.id.clone()));
    match all.iter_mut().find(|one| one.name == id) {
        Some(one) => (one.name, one.id) = (name, known.id),
        None => {
            all.push(Container { name, id: known.id, pid: 0, netns: 0, monitor: String::new() })
        }
    }
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

fn not_running(name: &Name) -> Error {
    let start = match name {
        Name::Podman(_) => "podman start",
        Name::Nspawn(_) => "machinectl start",
        Name::Lxc(_) => "lxc-start",
        _ => "docker start",
    };
    Error::NotRunning { name: name.to_string(), start: format!("{start} {}", name.text()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, id: &str, pid: u32, netns: u64) -> Container {
        let name = name.parse().expect("a name");
        Container { name, id: id.into(), pid, netns, monitor: String::new() }
    }

    fn host() -> Host {
        let containers = OnceCell::from(vec![
            container("docker:web", "ab01", 20, 7),
            // The beginning of another's id.
            container("docker:ab", "ab02", 30, 8),
            container("docker:db", "cd03", 0, 0),
            container("docker:side", "ce0412345678", 25, 7),
            container("podman:web", "ab05", 40, 9),
            container("lxc:one", "", 50, 10),
            container("lxc:two", "", 60, 11),
            container("lxc:two", "", 61, 12),
            container("nspawn:m", "", 70, 13),
            // Entered from outside.
            container("nspawn:m", "", 71, 13),
        ]);
        Host { containers, docker: Docker::default() }
    }

    #[test]
    fn names_before_ids_before_their_beginnings() {
        let host = host();
        for (name, pid) in [
            ("docker:web", 20),
            ("docker:ab", 30),
            ("docker:ab01", 20),
            ("docker:ce", 25),
            ("podman:web", 40),
            ("podman:a", 40),
            ("lxc:one", 50),
            ("nspawn:m", 70),
        ] {
            let found = host.find(&name.parse().expect("a name")).expect(name).expect(name);
            assert_eq!(found.pid, pid, "{name}");
        }
        for name in ["docker:one", "podman:db", "lxc:web", "lxc:on", "nspawn:m1", "docker:ab011"] {
            assert!(host.find(&name.parse().expect("a name")).expect(name).is_none(), "{name}");
            assert!(!host.has(&name.parse().expect("a name")).expect(name), "{name}");
        }
        // A bare name is not the beginning of an id by chance.
        for (name, has) in [
            ("docker:ab", true),
            ("docker:cd03", false),
            ("docker:ce0412345678", true),
            ("docker:ce041234567", false),
            ("lxc:two", true),
            ("docker:db", true),
        ] {
            assert_eq!(host.has(&name.parse().expect("a name")).expect(name), has, "{name}");
        }
        for (name, error) in [
            (
                "docker:c",
                "docker:c is ambiguous: say which of docker:db (pid:0), docker:side (pid:25)",
            ),
            ("lxc:two", "lxc:two is ambiguous: say which of lxc:two (pid:60), lxc:two (pid:61)"),
            ("docker:db", "docker:db is not running: start it with `docker start db`"),
            ("docker:cd", "docker:db is not running: start it with `docker start db`"),
        ] {
            let name = name.parse().expect("a name");
            assert_eq!(host.find(&name).expect_err(error).to_string(), error);
        }
    }

    #[test]
    fn back_from_a_namespace() {
        let host = host();
        let at = |netns| host.at(netns).expect("listed").map(|found| found.name.to_string());
        assert_eq!(at(7).as_deref(), Some("docker:web"), "who was there first");
        assert_eq!(at(13).as_deref(), Some("nspawn:m"));
        assert_eq!(at(14), None);
    }

    #[test]
    fn an_engines_names() {
        let known = |id: &str, name: &str| Known { id: id.into(), name: name.into() };
        let mut all =
            vec![container("docker:ab01", "", 20, 7), container("podman:cd02", "", 30, 8)];
        name(&mut all, Name::Docker, known("ab01", "web"));
        name(&mut all, Name::Docker, known("cd02", "stopped"));
        name(&mut all, Name::Podman, known("cd02", "db"));
        let told: Vec<_> =
            all.iter().map(|one| (one.name.to_string(), one.id.as_str(), one.pid)).collect();
        assert_eq!(
            told,
            [
                ("docker:web".to_owned(), "ab01", 20),
                ("podman:db".to_owned(), "cd02", 30),
                ("docker:stopped".to_owned(), "cd02", 0),
            ]
        );
    }
}
