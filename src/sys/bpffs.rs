//! The BPF file system, where pins live: Documentation/bpf, kernel/bpf/inode.c.

use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
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

/// Makes a folder for this user alone (0700); its parent must be there. One that exists must be a folder
/// that nobody else can write to: a stranger could put his files in the place of ours.
pub fn create_dir(path: &Path) -> Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        other => return other.map_err(Error::io(path)),
    }
    refuse_shared(path)
}

/// Refuses what is no folder, or one that somebody else can write to. None at all is fine.
pub fn refuse_shared(path: &Path) -> Result<()> {
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.map_err(Error::io(path))?,
    };
    let own = nix::unistd::geteuid().as_raw();
    match found.is_dir() && found.uid() == own && found.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(Error::NotOurs { path: path.into() }),
    }
}

/// Unmounts it if nobody has pinned anything there or works in it. Gives whether it is gone.
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
    match nix::mount::umount(at) {
        Err(Errno::EBUSY) => Ok(false),
        other => other.map(|()| true).map_err(Error::sys("umount", at.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{in_new_mountns, privileged};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn mounts_once() {
        if !privileged("bpffs::mounts_once") {
            return;
        }
        in_new_mountns("bpffs", |dir| {
            assert!(!is_bpffs(dir).expect("statfs"));
            assert!(ensure(dir).expect("mounts"));
            assert!(!ensure(dir).expect("is mounted"));
            let folder = dir.join("a");
            create_dir(&folder).expect("creates");
            create_dir(&folder).expect("exists");
            assert!(is_bpffs(&folder).expect("statfs"));
            let open = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(&folder, open).expect("chmod");
            let error = create_dir(&folder).expect_err("anybody's");
            assert!(matches!(error, Error::NotOurs { .. }), "{error}");
            assert!(!is_bpffs(&dir.join("c")).expect("a missing path is no error"));
            let error = ensure(&dir.join("c")).expect_err("nothing to mount on");
            assert!(matches!(error, Error::NoBpffs { errno: Errno::ENOENT, .. }), "{error}");
        });
    }
}
