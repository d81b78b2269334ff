//! A command, stepped from one system call to the next: ptrace(2).

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Lab;

impl Lab {
    /// Runs a command in the laboratory's own namespace, and kills it (SIGKILL) when it is about to make its
    /// `nth` system call, from 1 on: that call is not made. Gives whether it was killed; it was not if it
    /// has ended before.
    ///
    /// Steps its first thread; another one would run on until all are killed.
    pub fn kill_at(&self, argv: &[&str], nth: usize) -> bool {
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: between fork and exec there is one system call, which allocates nothing.
        unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
        // It is waited for below, by its number.
        let id = command.spawn().map(|child| child.id());
        let id = id.unwrap_or_else(|e| panic!("{argv:?}: {e}"));
        let pid = Pid::from_raw(i32::try_from(id).expect("a process id"));
        let wait = || waitpid(pid, None).expect("a child");
        assert_eq!(wait(), WaitStatus::Stopped(pid, Signal::SIGTRAP), "it stands at its beginning");
        let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(pid, options).expect("options");
        let (mut entered, mut inside, mut signal) = (0, false, None);
        loop {
            ptrace::syscall(pid, signal.take()).expect("it goes on");
            match wait() {
                WaitStatus::PtraceSyscall(_) => {
                    inside = !inside;
                    entered += usize::from(inside);
                    if inside && entered == nth {
                        kill(pid, Signal::SIGKILL).expect("a signal to a child");
                    }
                }
                WaitStatus::Stopped(_, other) => signal = Some(other),
                WaitStatus::Signaled(_, Signal::SIGKILL, _) => return true,
                WaitStatus::Exited(..) => return false,
                other => panic!("{argv:?}: {other:?}"),
            }
            if entered == nth {
                // It may be gone already, and is waited for here.
                assert!(matches!(wait(), WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{argv:?}");
                return true;
            }
        }
    }
}
