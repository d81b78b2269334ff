//! Records: the members as they stand on disk. Written before anything is changed for a member,
//! removed after all was taken back.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;

use super::member::{Member, VERSION};
use super::segment::RUN;
use crate::sys::bpffs;
use crate::{Error, Result};

/// Writes the member's record: it is there whole or not at all, and leaves no other file behind.
pub fn write(member: &Member) -> Result<()> {
    let path = member.segment.record(&member.host);
    let failed = |source| Error::io(&path)(source);
    let text = serde_json::to_vec_pretty(member)
        .map_err(|error| Error::Record { path: path.clone(), why: error.to_string() })?;
    bpffs::create_dir(RUN.as_ref())?;
    // A file without a name, which gets one when it is whole (open(2), O_TMPFILE).
    let mut file = fs::OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_TMPFILE.bits())
        .mode(0o600)
        .open(RUN)
        .map_err(failed)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
    remove(member)?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, &path, AtFlags::AT_SYMLINK_FOLLOW)
        .map_err(|errno| failed(errno.into()))
}

/// Removes the member's record; it may be gone.
pub fn remove(member: &Member) -> Result<()> {
    let path = member.segment.record(&member.host);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(&path)(error)),
        _ => Ok(()),
    }
}

/// Whether the member's record stands just so.
pub fn written(member: &Member) -> Result<bool> {
    let path = member.segment.record(&member.host);
    Ok(path.exists() && read(&path)? == *member)
}

/// All members of all segments, by segment and host interface.
pub fn all() -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for path in entries(Path::new(RUN))? {
        if path.extension().is_some_and(|extension| extension == "json") {
            members.push(read(&path)?);
        }
    }
    members.sort_unstable_by_key(|member| {
        (member.segment.bridge.netns, member.segment.bridge.ifindex, member.host.ifindex)
    });
    Ok(members)
}

fn read(path: &Path) -> Result<Member> {
    // One line, whatever the file holds.
    let bad =
        |why: String| Error::Record { path: path.into(), why: why.escape_debug().to_string() };
    let text = fs::read(path).map_err(Error::io(path))?;
    let member: Member = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if member.version != VERSION {
        return Err(bad(format!("it has version {}, this xhop reads {VERSION}", member.version)));
    }
    // A record that was copied elsewhere must not lead to other paths than its own.
    if member.segment.record(&member.host) != path {
        return Err(bad("it belongs to another place".into()));
    }
    Ok(member)
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    match fs::read_dir(folder) {
        Ok(list) => {
            list.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(folder))).collect()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(folder)(error)),
    }
}
