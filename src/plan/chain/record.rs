//! Records of chains, beside those of members: one a NIC.

use std::path::{Path, PathBuf};

use super::super::record::{entries, remove_whole, versioned, write_whole};
use super::super::segment::RUN;
use super::{Chain, VERSION};
use crate::{Error, Result};

/// How such a file's name ends.
const EXTENSION: &str = "chain";

/// Made of numbers only, as a member's is.
fn path(chain: &Chain) -> PathBuf {
    Path::new(RUN).join(format!("{}-{}.{EXTENSION}", chain.nic.netns, chain.nic.ifindex))
}

/// Writes it: it is there whole or not at all.
pub fn write(chain: &Chain) -> Result<()> {
    write_whole(chain, &path(chain))
}

/// Removes it; it may be gone.
pub fn remove(chain: &Chain) -> Result<()> {
    remove_whole(&path(chain))
}

/// Whether it stands just so.
pub fn written(chain: &Chain) -> Result<bool> {
    let path = path(chain);
    Ok(path.exists() && read(&path)? == *chain)
}

/// All chains, by the namespace and index of their NICs.
pub fn all() -> Result<Vec<Chain>> {
    let mut paths = entries(Path::new(RUN))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    let mut chains = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    chains.sort_by_key(|chain| (chain.nic.netns, chain.nic.ifindex));
    Ok(chains)
}

fn read(at: &Path) -> Result<Chain> {
    let chain: Chain = versioned(at, VERSION)?;
    // A record that was copied elsewhere must not lead to other paths than its own.
    match path(&chain) == at {
        true => Ok(chain),
        false => Err(Error::Record { path: at.into(), why: "it belongs to another place".into() }),
    }
}
