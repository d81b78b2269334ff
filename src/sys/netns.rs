//! Network namespaces: setns(2), network_namespaces(7).

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::statfs::{NSFS_MAGIC, Statfs, fstatfs, statfs};

use super::process;
use crate::{Error, Result};

/// A network namespace, kept alive by its descriptor.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    dev: u64,
    ino: u64,
    path: PathBuf,
}

/// Two are the same if the kernel's objects are (nsfs device and inode).
impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

impl Eq for Netns {}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Netns {
    /// Opens `/run/netns/x`, `/proc/1/ns/net` and the like.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let is_none = |stat: Statfs| stat.filesystem_type() != NSFS_MAGIC;
        // A name whose namespace is gone is left behind as an empty file, which nobody may open.
        if statfs(&path).is_ok_and(is_none) {
            return Err(Error::Io { path, source: Errno::ENOENT.into() });
        }
        let file = File::open(&path).map_err(Error::io(&path))?;
        // It may have gone meanwhile.
        if is_none(fstatfs(&file).map_err(Error::sys("fstatfs", path.display()))?) {
            return Err(Error::Io { path, source: Errno::ENOENT.into() });
        }
        let meta = file.metadata().map_err(Error::io(&path))?;
        Ok(Self { fd: file.into(), dev: meta.dev(), ino: meta.ino(), path })
    }

    /// The calling thread's.
    pub fn current() -> Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// That of a process. It is a race to use the number of a process that may end.
    pub fn of_pid(pid: u32) -> Result<Self> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// A new one, which nothing but this descriptor holds: what is made there goes with it.
    pub fn fresh() -> Result<Self> {
        let make = || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET)
                .map_err(Error::sys("unshare", "a network namespace of its own"))?;
            Self::current()
        };
        let made = std::thread::scope(|scope| scope.spawn(make).join());
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The same, kept alive by another descriptor.
    pub fn try_clone(&self) -> Result<Self> {
        let fd = self.fd.try_clone().map_err(Error::io(&self.path))?;
        Ok(Self { fd, path: self.path.clone(), ..*self })
    }

    /// Its inode number, by which other tools name it: `net:[4026531840]`.
    pub fn inode(&self) -> u64 {
        self.ino
    }

    /// The path by which it was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `f` inside the namespace; then the calling thread is back where it was. Sockets opened there,
    /// links created there and devmap entries written there belong to it.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> Result<T> {
        let own = std::fs::metadata("/proc/thread-self/ns/net");
        if own.is_ok_and(|own| (own.dev(), own.ino()) == (self.dev, self.ino)) {
            return Ok(f());
        }
        let own = Self::current()?;
        // Who may not enter his own could not come back.
        own.enter()?;
        self.enter()?;
        let _back = Back(own);
        Ok(f())
    }

    /// The calling thread is inside from here on.
    fn enter(&self) -> Result<()> {
        nix::sched::setns(&self.fd, CloneFlags::CLONE_NEWNET)
            .map_err(Error::sys("setns", self.path.display()))
    }

    /// Every namespace that can be reached by a path, once: the caller's, the named ones,
    /// Docker's, and those of all processes. What vanishes meanwhile is left out.
    pub fn all() -> Result<Vec<Self>> {
        let mut all = vec![Self::current()?];
        for place in places() {
            let place = place?;
            if place.inode != all[0].ino {
                all.extend(place.open()?);
            }
        }
        Ok(all)
    }
}

/// A thread's own namespace while it is in another: it is back when this is dropped.
struct Back(Netns);

impl Drop for Back {
    fn drop(&mut self) {
        // What would be done next would be done to the wrong interfaces.
        if self.0.enter().is_err() {
            std::process::abort();
        }
    }
}

/// Where a network namespace can be opened.
#[derive(Debug)]
pub struct Place {
    /// Its inode number.
    pub inode: u64,
    path: PathBuf,
}

impl Place {
    /// Its name, if it has one: `ip netns`.
    pub fn name(&self) -> Option<&str> {
        self.path.to_str()?.strip_prefix("/run/netns/")
    }

    /// Opens it; `None` if it has vanished, also where another is there by now.
    pub fn open(&self) -> Result<Option<Netns>> {
        match Netns::open(&self.path) {
            Ok(netns) => Ok(Some(netns).filter(|netns| netns.ino == self.inode)),
            // Gone meanwhile. Anything else must not pass for it: what is there would be missed.
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ESRCH)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Where there are namespaces, each once: the named ones, Docker's, those of all processes. None is opened, and
/// none looked for before it is asked for: a host has many processes.
pub fn places() -> impl Iterator<Item = Result<Place>> {
    let named = ["/run/netns", "/run/docker/netns"].into_iter().map(entries);
    let of_process = |pid| PathBuf::from(format!("/proc/{pid}/ns/net"));
    let processes = move || process::all().map(|all| all.into_iter().map(of_process).collect());
    let roots = named.chain(std::iter::once_with(processes));
    let mut seen = HashSet::new();
    roots.flat_map(each).filter_map(move |path| {
        let place = |path: PathBuf| {
            let meta = std::fs::metadata(&path).ok()?;
            // A name whose namespace is gone is a file elsewhere.
            seen.insert((meta.dev(), meta.ino())).then(|| Place { inode: meta.ino(), path })
        };
        path.map(place).transpose()
    })
}

/// Each of them, or that they can't be had.
fn each<T>(all: Result<Vec<T>>) -> impl Iterator<Item = Result<T>> {
    let (all, error) = match all {
        Ok(all) => (all, None),
        Err(error) => (Vec::new(), Some(Err(error))),
    };
    all.into_iter().map(Ok).chain(error)
}

/// Lets this process have as many descriptors as it may: where all namespaces are looked at, it takes one
/// for each, and hosts have more containers than a shell's usual 1024.
pub fn allow_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The paths in a directory; none if there is no such directory.
pub fn entries(dir: &str) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        list => list
            .and_then(|list| list.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(Error::io(dir)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{in_new_netns, privileged};

    #[test]
    fn runs_inside_and_leaves_the_caller() {
        if !privileged("netns::runs_inside_and_leaves_the_caller") {
            return;
        }
        let before = Netns::current().expect("current");
        let (other, all) = in_new_netns(|| {
            let own = Netns::current().expect("current");
            (own, Netns::all().expect("all"))
        });
        assert_ne!(before, other);
        assert!(all.contains(&other) && all.contains(&before));
        assert!(all.iter().enumerate().all(|(i, ns)| !all[..i].contains(ns)), "listed twice");
        let inside = other.run(|| Netns::current().expect("current")).expect("run");
        assert_eq!(inside, other);
        assert_eq!(Netns::current().expect("current"), before);
        // One in the other, and out of a panic.
        let nested = other.run(|| before.run(|| Netns::current().expect("current")));
        assert_eq!(nested.expect("run").expect("run"), before);
        let panic = std::panic::catch_unwind(|| other.run(|| panic!("inside")));
        assert!(panic.is_err());
        assert_eq!(Netns::current().expect("current"), before);
    }

    #[test]
    fn refuses_what_is_no_namespace() {
        let error = Netns::open("/proc/self/status").expect_err("a file");
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert!(Netns::of_pid(u32::MAX).is_err());
    }
}
