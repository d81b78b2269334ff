//! The BPF file system, where pins live: Documentation/bpf, kernel/bpf/inode.c.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::MsFlags;

use crate::{Error, Result};

/// Where it is on every distribution.
pub const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Makes sure that a BPF file system is mounted at `at`. Gives whether it had to be mounted.
pub fn ensure(at: &Path) -> Result<bool> {
    if is_bpffs(at)? {
        return Ok(false);
    }
    nix::mount::mount(
        Some("bpf"),
        at,
        Some("bpf"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some("mode=0700"),
    )
    .map_err(|errno| Error::NoBpffs { path: at.into(), errno })?;
    Ok(true)
}

/// Whether `path` lies on a BPF file system. A path that does not exist lies on none.
pub fn is_bpffs(path: &Path) -> Result<bool> {
    match nix::sys::statfs::statfs(path) {
        Ok(stat) => Ok(stat.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(Error::sys("statfs", path.display())(errno)),
    }
}

/// Makes a directory with its parents, for root alone (0700). It may exist.
pub fn create_dir(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io(path))
}

/// Unmounts it if nobody has pinned anything there. Gives whether it did, or had nothing to do.
///
/// The kernel puts `maps.debug` and `progs.debug` into every bpffs.
pub fn unmount_if_empty(at: &Path) -> Result<bool> {
    if !is_bpffs(at)? {
        return Ok(true);
    }
    for entry in std::fs::read_dir(at).map_err(Error::io(at))? {
        let name = entry.map_err(Error::io(at))?.file_name();
        if !name.as_encoded_bytes().ends_with(b".debug") {
            return Ok(false);
        }
    }
    nix::mount::umount(at).map_err(Error::sys("umount", at.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{in_new_mountns, privileged};

    #[test]
    fn mounts_once() {
        if !privileged("bpffs::mounts_once") {
            return;
        }
        in_new_mountns("bpffs", |dir| {
            assert!(!is_bpffs(dir).expect("statfs"));
            assert!(ensure(dir).expect("mounts"));
            assert!(!ensure(dir).expect("is mounted"));
            create_dir(&dir.join("a/b")).expect("creates");
            create_dir(&dir.join("a/b")).expect("exists");
            assert!(is_bpffs(&dir.join("a")).expect("statfs"));
            assert!(!is_bpffs(&dir.join("c")).expect("a missing path is no error"));
            let error = ensure(&dir.join("c")).expect_err("nothing to mount on");
            assert!(matches!(error, Error::NoBpffs { errno: Errno::ENOENT, .. }), "{error}");
        });
    }
}
