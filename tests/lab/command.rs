//! Commands in the laboratory.

use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Lab, Where, wait_until};

/// The xhop under test: cargo's, or another build, as CI has the one that ships.
pub const XHOP: &str = match option_env!("XHOP_BINARY") {
    Some(path) => path,
    None => env!("CARGO_BIN_EXE_xhop"),
};

/// Seconds after which coreutils' timeout(1) ends a command that hangs.
const PATIENCE: &str = "120";

/// What a command has left.
#[derive(Clone, Debug)]
pub struct Output {
    command: String,
    /// The exit status; its `code()` is `None` after a signal.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The standard output of a command that must succeed; panics with all of it otherwise.
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}\n{}{}", self.command, self.status, self.stdout, self.stderr)
    }
}

impl Lab {
    /// Runs a command in the namespace `at` and waits for its end.
    pub fn run_in(&self, at: impl Into<Where>, argv: &[&str]) -> Output {
        let done = self.in_netns(at, || {
            Command::new("timeout").args(["--foreground", PATIENCE]).args(argv).output()
        });
        let done = done.unwrap_or_else(|e| panic!("{argv:?}: {e}"));
        Output {
            command: argv.join(" "),
            status: done.status,
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// The standard output of a command that must succeed.
    pub fn ok_in(&self, at: impl Into<Where>, argv: &[&str]) -> String {
        self.run_in(at, argv).ok()
    }

    /// Runs xhop with `args` in the laboratory's own namespace.
    pub fn xhop(&self, args: &[&str]) -> Output {
        self.run_in(Where::Own, &[&[XHOP], args].concat())
    }

    /// Starts a command in the namespace `at`. What is returned ends it when dropped.
    pub fn spawn_in(&self, at: impl Into<Where>, argv: &[&str]) -> Running {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let stem = format!("/run/lab-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let [out, err] = ["out", "err"].map(|kind| PathBuf::from(format!("{stem}.{kind}")));
        let create = |path| File::create(path).expect("a file in /run");
        let child = self.in_netns(at, || {
            Command::new(argv[0])
                .args(&argv[1..])
                .stdin(Stdio::null())
                .stdout(create(&out))
                .stderr(create(&err))
                .spawn()
        });
        let child = child.unwrap_or_else(|e| panic!("{argv:?}: {e}"));
        Running { command: argv.join(" "), child, out, err }
    }
}

/// A command that was started by [`Lab::spawn_in`]. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    /// Its process id, for `pid:N` and the like.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard output until now.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// What it has written to its standard error until now.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("a signal to a child");
    }

    /// Whether it has not ended by itself.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; panics when `patience` is over.
    pub fn wait(mut self, patience: Duration) -> Output {
        wait_until(patience, &self.command.clone(), || !self.alive());
        let status = self.child.wait().expect("the status of a child");
        let (stdout, stderr) = (self.stdout(), self.stderr());
        Output { command: self.command.clone(), status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended and was waited for: nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
