//! What is in the kernel: all programs and links, wherever they are, and the pins of ours.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::known;
use crate::sys::bpf::{Link, LinkInfo, ObjKind, Prog, ProgInfo, ids};
use crate::sys::kallsyms::Functions;
use crate::{Error, Result};

/// What our programs' names begin with.
pub const PREFIX: &str = "xhop_";

/// All that is loaded.
#[derive(Debug)]
pub struct World {
    /// Programs by id.
    pub programs: HashMap<u32, ProgInfo>,
    /// Links.
    pub links: Vec<LinkInfo>,
    /// What programs call.
    pub functions: Functions,
}

impl World {
    /// Looks now.
    pub fn look() -> Result<Self> {
        let programs = each(ObjKind::Prog, |id| Prog::by_id(id)?.info())?;
        Ok(Self {
            programs: programs.into_iter().map(|info| (info.id, info)).collect(),
            links: each(ObjKind::Link, |id| Link::by_id(id)?.info())?,
            functions: Functions::find(&known::functions())?,
        })
    }

    /// A program for people: id, name and tag.
    pub fn name(&self, id: u32) -> String {
        match self.programs.get(&id) {
            Some(info) => describe(info),
            None => format!("program {id}"),
        }
    }
}

/// A program for people.
pub fn describe(info: &ProgInfo) -> String {
    let name = if info.name.is_empty() { "without a name" } else { &info.name };
    format!("program {} ({name}, tag {})", info.id, hex::encode(info.tag))
}

/// All of a kind, but for what is gone by now (ENOENT), or not yet whole (EAGAIN).
fn each<T>(kind: ObjKind, look: impl Fn(u32) -> Result<T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for id in ids(kind)? {
        match look(id) {
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EAGAIN)) => {}
            found => all.push(found?),
        }
    }
    Ok(all)
}

/// For so long the kernel may keep a program that nobody holds any more.
const LINGER: Duration = Duration::from_secs(1);

/// Those of these programs that stay. One whose last holder has just gone goes a little later by itself.
pub fn lasting(mut programs: Vec<u32>) -> Result<Vec<u32>> {
    let start = Instant::now();
    loop {
        let there = ids(ObjKind::Prog)?;
        programs.retain(|id| there.contains(id));
        if programs.is_empty() || start.elapsed() > LINGER {
            return Ok(programs);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All files below a folder; none if there is no such folder.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io(folder))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io(folder))?;
        match entry.file_type().map_err(Error::io(entry.path()))?.is_dir() {
            true => files.extend(files_below(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    Ok(files)
}
