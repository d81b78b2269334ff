//! This binary again as a child process, and what it has used: clone(2), execve(2), wait4(2), getrusage(2).
//!
//! The standard library's `Command` takes a part of glibc that nothing else here needs (see `glibc`).

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::{Error, Result};

/// How a child went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Whether its exit code was 0.
    pub ok: bool,
    /// From its start to its end.
    pub time: Duration,
    /// The most memory that it had at once, in KiB.
    pub max_rss: u64,
}

/// The file that this process runs.
const SELF: &str = "/proc/self/exe";

/// Runs this binary with these arguments, without a word, and waits for its end.
pub fn run(args: &[&str]) -> Result<Ended> {
    let null = File::options().write(true).open("/dev/null").map_err(Error::io("/dev/null"))?;
    let text = |text: &str| CString::new(text).map_err(|nul| Error::io(SELF)(nul.into()));
    let path = text(SELF)?;
    let argv = ["xhop"].iter().chain(args).map(|arg| text(arg)).collect::<Result<Vec<_>>>()?;
    let mut pointers: Vec<_> = argv.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let start = Instant::now();
    // Of clone(2), s390x has the first two the other way round. glibc's fork(3) refers to stdio.
    let (first, second) =
        if cfg!(target_arch = "s390x") { (0, libc::SIGCHLD) } else { (libc::SIGCHLD, 0) };
    // SAFETY: as fork(2); the child does nothing but three system calls, on what is made already.
    let child = unsafe { libc::syscall(libc::SYS_clone, first, second, 0, 0, 0) };
    let child = Errno::result(child).map_err(Error::sys("clone", SELF))? as i32;
    if child == 0 {
        // SAFETY: the path and the arguments end with a NUL, their list with a null pointer.
        unsafe {
            libc::dup2(null.as_raw_fd(), 1);
            libc::dup2(null.as_raw_fd(), 2);
            libc::execv(path.as_ptr(), pointers.as_ptr());
            libc::_exit(127);
        }
    }
    let mut status = 0;
    // SAFETY: numbers only, for which zero is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: it is our child, for which nobody else waits, and both are written whole.
        let ended = unsafe { libc::wait4(child, &raw mut status, 0, &raw mut usage) };
        match Errno::result(ended) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys("wait4", SELF)(errno)),
        }
    }
    let ok = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
    Ok(Ended { ok, time: start.elapsed(), max_rss: usage.ru_maxrss as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_children_end() {
        // This is the tests' binary.
        let done = run(&["--list"]).expect("runs");
        assert!(done.ok && done.max_rss > 0 && done.time < Duration::from_secs(10), "{done:?}");
        assert!(!run(&["--no-such-option"]).expect("runs").ok);
        assert!(run(&["a\0b"]).is_err());
    }
}
