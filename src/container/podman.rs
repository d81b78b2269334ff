//! podman: what its storage says of names, as there is no daemon to be asked.
//!
//! `containers.json`, and `volatile-containers.json` for those of `--rm`, in a folder for each storage driver: of the
//! usual storage, and of wherever a monitor keeps its container.

use std::path::{Path, PathBuf};

use super::known::{self, Known};
use super::name::Name;
use super::running::Running;
use crate::Result;
use crate::sys::{file, netns};

/// A container takes some hundred bytes.
const MOST: u64 = 16 << 20;

/// Those it knows, running or not.
pub fn all(running: &[Running]) -> Result<Vec<Known>> {
    let mut folders: Vec<PathBuf> = netns::entries("/var/lib/containers/storage")?;
    folders.retain(|folder| folder.to_string_lossy().ends_with("-containers"));
    folders.extend(running.iter().flat_map(kept_in));
    folders.sort_unstable();
    folders.dedup();
    let mut all = Vec::new();
    for folder in folders {
        for name in ["containers.json", "volatile-containers.json"] {
            let path = folder.join(name);
            if let Some(text) = file::read(&path, MOST)? {
                all.extend(parse(&path, &text)?);
            }
        }
    }
    Ok(all)
}

/// The one with this name or id, or whose id alone begins so.
pub fn called(text: &str, running: &[Running]) -> Result<Option<Known>> {
    Ok(known::called(text, &all(running)?)?.cloned())
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Known>> {
    // Empty before there is a container.
    match text.is_empty() {
        true => Ok(Vec::new()),
        false => {
            serde_json::from_slice(text).map_err(|error| file::malformed(path, &error.to_string()))
        }
    }
}

/// The folders that a monitor's paths tell of: `FOLDER/ID/userdata/...`.
fn kept_in(running: &Running) -> Vec<PathBuf> {
    let Name::Podman(id) = &running.name else { return Vec::new() };
    let inside = format!("/{id}/userdata");
    let paths = running.monitor.iter().filter(|word| word.starts_with('/'));
    paths.filter_map(|word| Some(word.split_once(&inside)?.0.into())).collect()
}
