//! Records: the members as they stand on disk. Written before anything is changed for a member,
//! removed after all was taken back.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::member::{Member, VERSION};
use super::segment::{RUN, Segment, UNFINISHED};
use crate::sys::bpffs;
use crate::{Error, Result};

/// What a record is named before it takes the place of an older one.
const NEW: &str = "new";

/// Writes the member's record.
pub fn write(member: &Member) -> Result<()> {
    write_whole(member, &member.segment.record(&member.host))
}

/// Writes a record, in the place of an older one if there is one: the one or the other is there, whole.
pub(super) fn write_whole(record: &impl Serialize, path: &Path) -> Result<()> {
    let failed = |source| Error::io(path)(source);
    let text = serde_json::to_vec_pretty(record)
        .map_err(|error| Error::Record { path: path.into(), why: error.to_string() })?;
    bpffs::create_dir(RUN.as_ref())?;
    // A file without a name, which gets one when it is whole (open(2), O_TMPFILE).
    let mut file = fs::OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_TMPFILE.bits())
        .mode(0o600)
        .open(RUN)
        .map_err(failed)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link =
        |to: &Path| linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, to, AtFlags::AT_SYMLINK_FOLLOW);
    match link(path) {
        // A name can't be taken over but by another name.
        Err(Errno::EEXIST) => {
            let new = path.with_extension(NEW);
            remove_file(&new)?;
            link(&new).map_err(|errno| Error::io(&new)(errno.into()))?;
            fs::rename(&new, path).map_err(failed)
        }
        linked => linked.map_err(|errno| failed(errno.into())),
    }
}

/// Removes the member's record, and what is left where one could not be written; they may be gone.
pub fn remove(member: &Member) -> Result<()> {
    remove_whole(&member.segment.record(&member.host))
}

/// Removes a record, and what is left where one could not be written; they may be gone.
pub(super) fn remove_whole(path: &Path) -> Result<()> {
    remove_file(&path.with_extension(NEW))?;
    remove_file(path)
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// Whether the member's record stands just so.
pub fn written(member: &Member) -> Result<bool> {
    let path = member.segment.record(&member.host);
    Ok(path.exists() && read(&path)? == *member)
}

/// Where a record is: its name tells of which interface on which bridge.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Inode number of the namespace of the bridge and the host's end.
    pub netns: u64,
    /// Index of the bridge there.
    pub bridge: u32,
    /// The index of the host's end.
    pub host: u32,
    path: PathBuf,
}

impl Place {
    /// Of a record's path; `None` for another.
    fn of(path: &Path) -> Option<Self> {
        let mut numbers = path.file_stem()?.to_str()?.split('-');
        let (netns, bridge, host) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let [bridge, host] = [bridge.parse().ok()?, host.parse().ok()?];
        let place = Self { path: path.into(), netns: netns.parse().ok()?, bridge, host };
        numbers.next().is_none().then_some(place)
    }

    /// Whether it is of a member on this bridge.
    pub fn is_on(&self, segment: &Segment) -> bool {
        (self.netns, self.bridge) == (segment.bridge.netns, segment.bridge.ifindex)
    }

    /// Whether it is this member's.
    pub fn is_for(&self, member: &Member) -> bool {
        self.is_on(&member.segment) && self.host == member.host.ifindex
    }

    /// The member.
    pub fn read(&self) -> Result<Member> {
        read(&self.path)
    }
}

/// Notes that something is being changed on this bridge: if it is cut off, nothing is known of any member.
/// Gives whether something was cut off before.
pub fn begin(segment: &Segment) -> Result<bool> {
    let before = cut_off(segment);
    bpffs::create_dir(RUN.as_ref())?;
    fs::write(segment.unfinished(), b"").map_err(Error::io(segment.unfinished()))?;
    Ok(before)
}

/// Notes that it is done, or taken back. If that fails, the next one has more to look at.
pub fn end(segment: &Segment) {
    let _ = fs::remove_file(segment.unfinished());
}

/// The same for all bridges without a member: there is nothing to look at.
pub fn end_where_none_is_left() -> Result<()> {
    let (notes, others): (Vec<_>, Vec<_>) = entries(Path::new(RUN))?
        .into_iter()
        .partition(|path| path.extension().is_some_and(|extension| extension == UNFINISHED));
    for note in notes {
        let bridge = |path: &Path| Some(path.file_stem()?.to_str()?.rsplit_once('-')?.0.to_owned());
        let stem = note.file_stem().and_then(|stem| stem.to_str());
        if !others.iter().any(|path| bridge(path).as_deref() == stem) {
            let _ = fs::remove_file(note);
        }
    }
    Ok(())
}

/// Whether something was cut off on this bridge.
pub fn cut_off(segment: &Segment) -> bool {
    segment.unfinished().symlink_metadata().is_ok()
}

/// Where all records are, by segment and host interface. None is read.
pub fn places() -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for path in entries(Path::new(RUN))? {
        if path.extension().is_some_and(|extension| extension == "json") {
            match Place::of(&path) {
                Some(place) => places.push(place),
                // It says what is wrong.
                None => read(&path).map(drop)?,
            }
        }
    }
    xhop_asm::sort(&mut places);
    Ok(places)
}

/// All members of all segments, by segment and host interface.
pub fn all() -> Result<Vec<Member>> {
    places()?.iter().map(Place::read).collect()
}

/// What records of all versions have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// A record of this version.
pub(super) fn versioned<T: DeserializeOwned>(path: &Path, wanted: u32) -> Result<T> {
    // One line, whatever the file holds.
    let bad =
        |why: String| Error::Record { path: path.into(), why: why.escape_debug().to_string() };
    let text = fs::read(path).map_err(Error::io(path))?;
    // Of another version not more than that is understood.
    let Versioned { version } =
        serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if version != wanted {
        return Err(Error::RecordVersion { path: path.into(), found: version, wanted });
    }
    serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))
}

fn read(path: &Path) -> Result<Member> {
    let member: Member = versioned(path, VERSION)?;
    // A record that was copied elsewhere must not lead to other paths than its own.
    if member.segment.record(&member.host) != path {
        return Err(Error::Record { path: path.into(), why: "it belongs to another place".into() });
    }
    Ok(member)
}

pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(list) => {
            list.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(folder))).collect()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(folder)(error)),
    }
}
