//! Records: the members as they stand on disk. Written before anything is changed for a member,
//! removed after all was taken back.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::member::{Member, VERSION};
use super::segment::RUN;
use crate::{Error, Result};

/// Writes the member's record: whole or not at all.
pub fn write(member: &Member) -> Result<()> {
    let path = member.segment.record(&member.host);
    create_dir(&member.segment.records())?;
    let text = serde_json::to_vec_pretty(member)
        .map_err(|source| Error::Record { path: path.clone(), why: source.to_string() })?;
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(Error::io(&new))?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(Error::io(&new))?;
    fs::rename(&new, &path).map_err(Error::io(&path))
}

/// Removes the member's record, and its segment's folder with the last one.
pub fn remove(member: &Member) -> Result<()> {
    let path = member.segment.record(&member.host);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(&path)(error)),
        _ => {}
    }
    // Not empty: other members are there.
    let _ = fs::remove_dir(member.segment.records());
    Ok(())
}

/// Whether the member's record stands just so.
pub fn written(member: &Member) -> Result<bool> {
    let path = member.segment.record(&member.host);
    Ok(path.exists() && read(&path)? == *member)
}

/// All members of all segments, by segment and host interface.
pub fn all() -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for folder in entries(Path::new(RUN))?.into_iter().filter(|path| path.is_dir()) {
        for path in entries(&folder)? {
            if path.extension().is_some_and(|extension| extension == "json") {
                members.push(read(&path)?);
            }
        }
    }
    members.sort_by_key(|member| {
        (member.segment.bridge.netns, member.segment.bridge.ifindex, member.host.ifindex)
    });
    Ok(members)
}

fn read(path: &Path) -> Result<Member> {
    let bad = |why: String| Error::Record { path: path.into(), why };
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

/// Makes the folder for root alone.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io(path))
}
