//! The commands, one file each, thin: they ask the plan and tell the user.

pub mod audit;
pub mod bench;
pub mod capture;
pub mod chain;
pub mod demo;
pub mod disasm;
pub mod doctor;
pub mod down;
mod input;
pub mod lint;
mod load;
pub mod programs;
pub mod rights;
mod scene;
pub mod show;
pub mod status;
pub mod up;
pub mod vm;
pub mod watch;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use xhop_asm::programs::Shipped;

use crate::plan::segment::RUN;
use crate::plan::{Ground, Plan, carry_out};
use crate::sys::bpffs;
use crate::{Error, Result};

/// Keeps other commands waiting until this one is through; those that only read do not wait for each
/// other, and change nothing: for them there is no lock (`None`) where nothing was ever joined.
fn lock(read_only: bool) -> Result<Option<Flock<File>>> {
    let how = if read_only {
        FlockArg::LockShared
    } else {
        bpffs::create_dir(RUN.as_ref())?;
        FlockArg::LockExclusive
    };
    match File::open(RUN) {
        Err(error) if read_only && error.kind() == ErrorKind::NotFound => Ok(None),
        folder => {
            let locked = Flock::lock(folder.map_err(Error::io(RUN))?, how);
            locked.map(Some).map_err(|(_, errno)| Error::io(RUN)(errno.into()))
        }
    }
}

/// The same, of one that changes something, if no other command has it.
fn lock_now() -> Result<Option<Flock<File>>> {
    bpffs::create_dir(RUN.as_ref())?;
    let folder = File::open(RUN).map_err(Error::io(RUN))?;
    match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(Error::io(RUN)(errno.into())),
    }
}

/// A program that is named as an argument.
fn program(name: &str) -> std::result::Result<Shipped, String> {
    Shipped::named(name).ok_or_else(|| format!("no such program: there are {}", names()))
}

/// The names of all programs.
fn names() -> String {
    Shipped::ALL.map(Shipped::name).join(", ")
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    done: bool,
    #[serde(flatten)]
    plan: &'a Plan,
}

/// Carries a plan out, or only shows it. `word` is what has been done, for people: "joined".
fn execute(mut plan: Plan, ground: Ground, dry_run: bool, json: bool, word: &str) -> Result<()> {
    if !dry_run {
        plan.warnings.extend(carry_out(&plan, ground)?);
    }
    if json {
        // Who reads it wants them all.
        for place in std::mem::take(&mut plan.others) {
            plan.members.push(place.read()?);
        }
        return print_json(&Answer { version: 1, done: !dry_run, plan: &plan });
    }
    for warning in &plan.warnings {
        warn(format_args!("xhop: warning: {warning}"));
    }
    let mut actions = plan.clear.iter().chain(&plan.actions).peekable();
    match (actions.peek().is_none(), dry_run) {
        (true, _) => say(format_args!("nothing to do")),
        (false, true) => actions.for_each(|action| say(format_args!("would {action}"))),
        (false, false) => {
            for member in plan.left_out() {
                say(format_args!(
                    "took out {} ({}): it is gone or has moved",
                    member.name, member.host
                ));
            }
            for member in &plan.members {
                say(format_args!("{word} {} ({})", member.name, member.host));
            }
            plan.chains.iter().for_each(|chain| say(format_args!("{word} the chain {chain}")));
        }
    }
    Ok(())
}

/// Whether nobody reads standard output any more.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// Whether who read standard output has gone away. He has seen enough, and that is no error: but files are
/// still to be written, and the exit code is still to be right.
fn unread() -> bool {
    UNREAD.load(Ordering::Relaxed)
}

/// One line to standard output.
fn say(line: std::fmt::Arguments) {
    put(format!("{line}\n").as_bytes());
}

/// All of it to standard output, and nothing else.
fn put(bytes: &[u8]) {
    if unread() {
        return;
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            UNREAD.store(true, Ordering::Relaxed);
        }
        Err(error) => {
            warn(format_args!("xhop: {}", Error::io("standard output")(error)));
            std::process::exit(1);
        }
    }
}

/// One line to standard error. If nobody reads there, nobody can be told.
pub fn warn(line: std::fmt::Arguments) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn print_json(value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Error::Json(error.to_string()))?;
    say(format_args!("{text}"));
    Ok(())
}
