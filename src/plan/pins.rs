//! Pins: what is in our folder of bpffs, opened with the type that it must have.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use xhop_asm::MapDecl;
use xhop_asm::blocks::{capture, count};
use xhop_asm::programs::Shipped;

use super::segment::Segment;
use crate::container::Interface;
use crate::sys::bpf::{Link, Map, Prog};
use crate::sys::bpffs;
use crate::{Error, Result};

/// A member's pins.
#[derive(Debug)]
pub struct MemberPins {
    folder: PathBuf,
}

impl MemberPins {
    /// Those of the member with this host side.
    pub fn of(segment: &Segment, host: &Interface) -> Self {
        Self { folder: segment.member_pins(host) }
    }

    /// Makes their folder.
    pub fn create(&self) -> Result<()> {
        bpffs::create_dir(&self.folder)
    }

    /// Removes them all, where the interface is gone and nothing is attached by them any more.
    pub fn remove(&self) -> Result<()> {
        let inside = [Shipped::Pass, Shipped::Trust].map(|program| self.inside(program));
        for pin in [self.forward(), self.foreign()].into_iter().chain(inside) {
            remove(&pin)?;
        }
        self.remove_stats()?;
        self.remove_capture()?;
        self.remove_if_empty()
    }

    /// Removes their folder once the last pin is gone.
    pub fn remove_if_empty(&self) -> Result<()> {
        remove_dir(&self.folder)
    }

    /// The member's counters.
    pub fn stats(&self) -> PathBuf {
        self.folder.join("stats")
    }

    /// What a program of the member's uses for a map: one of its own, or one of the segment's.
    pub fn map(&self, decl: &MapDecl) -> PathBuf {
        let own = self.capture().into_iter().find(|(own, _)| own == decl);
        match own {
            Some((_, pin)) => pin,
            None if *decl == count::stats() => self.stats(),
            None => self.folder.with_file_name(decl.name),
        }
    }

    /// The maps of a capture, and where they are pinned. While the first is, there is one.
    pub fn capture(&self) -> [(MapDecl, PathBuf); 3] {
        [capture::tally(), capture::scratch(), capture::ring()].map(|decl| {
            let pin = self.folder.join(decl.name);
            (decl, pin)
        })
    }

    /// Whether a capture's maps are pinned here: its program tells of each packet.
    pub fn captured(&self) -> bool {
        exists(&self.map(&capture::tally()))
    }

    /// Locks the member's folder for as long as somebody captures; `None` if somebody does.
    pub fn lock(&self) -> Result<Option<Flock<File>>> {
        self.lock_as(FlockArg::LockExclusiveNonblock)
    }

    /// Whether it is captured, and nobody reads: it is the process that has the lock, and the lock goes with it.
    pub fn captured_for_nobody(&self) -> Result<bool> {
        Ok(self.captured() && self.lock_as(FlockArg::LockSharedNonblock)?.is_some())
    }

    fn lock_as(&self, how: FlockArg) -> Result<Option<Flock<File>>> {
        let folder = File::open(&self.folder).map_err(Error::io(&self.folder))?;
        match Flock::lock(folder, how) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(Error::io(&self.folder)(errno.into())),
        }
    }

    /// Removes a capture's maps, if they are ours.
    pub fn remove_capture(&self) -> Result<()> {
        // What tells that there is one goes last.
        for (decl, pin) in self.capture().into_iter().rev() {
            remove_map(&pin, &decl)?;
        }
        Ok(())
    }

    /// The attachment of the program that forwards: a link, or the program where netlink attached it.
    pub fn forward(&self) -> PathBuf {
        self.folder.join("forward")
    }

    /// The attachment of a program on the container's end: likewise.
    pub fn inside(&self, program: Shipped) -> PathBuf {
        self.folder.join(program.name())
    }

    /// The foreign program that was taken off the host side.
    pub fn foreign(&self) -> PathBuf {
        self.folder.join("foreign")
    }

    /// Removes the counters, if they are ours.
    pub fn remove_stats(&self) -> Result<()> {
        remove_map(&self.stats(), &count::stats())
    }

    /// Opens the counters.
    pub fn open_stats(&self) -> Result<Map> {
        open_map(&self.stats(), &count::stats())
    }
}

/// Opens a pinned map and makes sure that it is what `decl` says.
pub fn open_map(path: &Path, decl: &MapDecl) -> Result<Map> {
    let map = Map::open_pinned(path)?;
    if map.matches(decl) {
        return Ok(map);
    }
    let info = map.info();
    Err(Error::Pin {
        path: path.into(),
        wanted: decl.name,
        found: format!(
            "{} with {} B keys and {} B values",
            info.kind.name(),
            info.key_size,
            info.value_size
        ),
    })
}

/// Opens the pinned map, or makes and pins it.
pub fn ensure_map(path: &Path, decl: &MapDecl) -> Result<Map> {
    if exists(path) {
        return open_map(path, decl);
    }
    let map = Map::create(decl)?;
    map.pin(path)?;
    Ok(map)
}

/// Removes a pinned map; what stands in its place and is none of ours stays.
pub fn remove_map(path: &Path, decl: &MapDecl) -> Result<()> {
    if !exists(path) {
        return Ok(());
    }
    match open_map(path, decl) {
        Ok(_) => remove(path),
        Err(Error::Pin { .. } | Error::MapKind { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The link at `path`; `None` if there is no pin.
pub fn open_link(path: &Path) -> Result<Option<Link>> {
    exists(path).then(|| Link::open_pinned(path)).transpose()
}

/// The program at `path`; `None` if there is no pin.
pub fn open_prog(path: &Path) -> Result<Option<Prog>> {
    exists(path).then(|| Prog::open_pinned(path)).transpose()
}

/// Whether there is a pin, of whatever type.
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Removes a pin; it may be gone already.
pub fn remove(path: &Path) -> Result<()> {
    gone_is_fine(fs::remove_file(path), path)
}

/// Removes a folder if it is empty. What stands in its place is none of ours.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error)
            if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory) =>
        {
            Ok(())
        }
        other => gone_is_fine(other, path),
    }
}

fn gone_is_fine(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}
