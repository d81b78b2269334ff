//! Signals that would end the process, put off until it has cleaned up: sigprocmask(2), sigpending(2),
//! signalfd(2).
//!
//! No handler: what comes meanwhile stays pending, can be asked for, and does at the end what it would
//! have done at once. Whoever waits for the process learns so which signal ended it.

use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::{Error, Result};

const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// While it lives, the signals that users end a process with are put off, in this thread and in those
/// that it starts. Begin before there are others.
#[derive(Debug)]
pub struct PutOff {
    before: libc::sigset_t,
}

impl PutOff {
    /// From now on. Signals that are ignored stay ignored.
    pub fn begin() -> Result<Self> {
        let set = ending();
        let mut before = empty();
        // SAFETY: one set is read, the other written.
        let blocked =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) };
        match blocked {
            0 => Ok(Self { before }),
            errno => Err(Error::sys("sigprocmask", "this process")(Errno::from_raw(errno))),
        }
    }

    /// A descriptor that is readable when one has come. Reading it would take the signal away: it is only
    /// to be waited for.
    pub fn descriptor(&self) -> Result<OwnedFd> {
        let set = ending();
        // SAFETY: the set is read.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) };
        let fd = Errno::result(fd).map_err(Error::sys("signalfd", "this process"))?;
        // SAFETY: it has just been opened, so it is nobody else's.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl PutOff {
    /// What is pending never comes: it was the wish to end, and that is what is done.
    pub fn heed(self) {
        std::mem::forget(self);
    }
}

/// Those of them that are not ignored.
fn ending() -> libc::sigset_t {
    let mut set = empty();
    for signal in ENDING.into_iter().filter(|signal| !is_ignored(*signal)) {
        // SAFETY: an initialised set; the number is a signal's.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

impl Drop for PutOff {
    /// What is pending comes now.
    fn drop(&mut self) {
        let none = std::ptr::null_mut();
        // SAFETY: a set that the kernel gave is read.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, none) };
    }
}

/// Whether a signal has come that was put off. Costs a system call.
pub fn pending() -> bool {
    let mut set = empty();
    // SAFETY: the set is written, then read; the numbers are signals'.
    unsafe {
        libc::sigpending(&raw mut set);
        ENDING.iter().any(|signal| libc::sigismember(&raw const set, *signal) == 1)
    }
}

/// Blocked, it would become pending all the same (`sig_ignored`, kernel/signal.c).
fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set; the old action is written. Numbers only, for which zero is valid too.
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::zeroed();
    // SAFETY: the set is written; and it is made of numbers, for which zero is valid too.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn stays_pending() {
        // In a thread of its own: masks are a thread's, and so is this signal.
        let thread = std::thread::spawn(|| {
            let put_off = PutOff::begin().expect("a mask");
            assert!(!pending());
            let descriptor = put_off.descriptor().expect("a descriptor");
            let readable = || {
                let mut fds = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::ZERO).expect("poll") == 1
            };
            assert!(!readable());
            // SAFETY: no pointers; it goes to this thread, where it waits.
            unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGHUP) };
            assert!(pending() && readable());
            // Nor may it come at the end here: the test would end with it.
            std::mem::forget(put_off);
        });
        thread.join().expect("it is still there");
        assert!(!pending());
    }
}
