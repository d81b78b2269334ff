//! File systems at no path: fsopen(2), fsconfig(2), fsmount(2), kernels from 5.2.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::{Error, Result};

/// include/uapi/linux/mount.h
const FSCONFIG_CMD_CREATE: u32 = 6;

/// Mounts one where nobody sees it: it is used below `/proc/self/fd/N`, and ends with its descriptor.
pub fn detached(kind: &CStr) -> Result<OwnedFd> {
    let on = || kind.to_string_lossy().into_owned();
    let call = |name, result: libc::c_long| {
        Errno::result(result).map_err(|errno| Error::sys(name, on())(errno))
    };
    // SAFETY: the name ends with a NUL; no other address is passed.
    let opened = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) };
    let context = own(call("fsopen", opened)?);
    let (none, fd) = (std::ptr::null::<libc::c_char>(), context.as_raw_fd());
    // SAFETY: this command takes neither a key nor a value.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) };
    call("fsconfig", made)?;
    // SAFETY: no addresses are passed.
    let mounted = unsafe { libc::syscall(libc::SYS_fsmount, fd, libc::FSMOUNT_CLOEXEC, 0) };
    Ok(own(call("fsmount", mounted)?))
}

/// A descriptor that a call has just given.
fn own(fd: libc::c_long) -> OwnedFd {
    // SAFETY: it has just been opened, so it is nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}
