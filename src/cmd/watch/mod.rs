//! `xhop watch`: joins who comes to a bridge, takes out who goes, and mends what others have changed.

mod names;
mod round;
mod tell;

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::names::Names;
use self::round::Watch;
use self::tell::Teller;
use super::rights::Rights;
use super::unread;
use super::up::Join;
use crate::plan::segment::{RUN, WATCH};
use crate::sys::bpffs;
use crate::sys::netlink::{Change, Monitor};
use crate::sys::netns::{self, Netns};
use crate::sys::notify::Supervisor;
use crate::sys::signal::PutOff;
use crate::{Error, Result};

/// What to watch.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A bridge; may be given several times [default: all bridges of this namespace].
    #[arg(long = "bridge", value_name = "IFNAME")]
    bridges: Vec<String>,
    /// How who comes is joined. Who is joined already stays joined as he is.
    #[command(flatten)]
    join: Join,
    /// Take all of them out when it ends; else they stay joined.
    #[arg(long)]
    down_on_exit: bool,
    /// Print a JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::WATCH.take()?;
    let put_off = PutOff::begin()?;
    let ended = put_off.descriptor()?;
    let supervisor = Supervisor::find()?;
    netns::allow_descriptors();
    let _only = only_one()?;
    // From here on nothing is missed.
    let monitor = Monitor::open(&Netns::current()?)?;
    let mut watch = Watch::new(args.bridges, args.join, Teller { json: args.json });
    let mut names = Names::default();
    let mut changes = vec![Change::Lost];
    let mut ready = false;
    loop {
        let next = watch.round(&mut changes)?;
        let next = next.into_iter().chain(names.round(&mut watch)?).min();
        if !ready && changes.is_empty() {
            supervisor.tell("READY=1");
            watch.tell_watching();
            ready = true;
        }
        supervisor.tell("WATCHDOG=1");
        let fds = [Some(monitor.as_fd()), Some(ended.as_fd()), names.as_fd()];
        let [changed, over, heard] = wait(fds, earlier(next, supervisor.watchdog))?;
        if over || unread() {
            break;
        }
        if heard {
            names.take();
        }
        if changed {
            changes.extend(monitor.changes()?);
        }
    }
    supervisor.tell("STOPPING=1");
    if args.down_on_exit {
        watch.take_all_out()?;
    }
    Ok(())
}

/// Until something is to be done again; and until somebody wants a sign of life.
fn earlier(next: Option<Instant>, watchdog: Option<Duration>) -> Option<Duration> {
    let next = next.map(|next| next.saturating_duration_since(Instant::now()));
    next.into_iter().chain(watchdog).min()
}

/// Waits until one of those that are there is readable, for at most this long. Says which are.
fn wait<const N: usize>(
    fds: [Option<BorrowedFd>; N],
    limit: Option<Duration>,
) -> Result<[bool; N]> {
    let there = fds.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN));
    let mut polled: Vec<_> = there.collect();
    // A millisecond late rather than early, and again and again.
    let limit = limit.map(|limit| limit + Duration::from_millis(1));
    let limit = match limit.map(PollTimeout::try_from) {
        Some(limit) => limit.unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    };
    match poll(&mut polled, limit) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(Error::sys("poll", "this process")(errno)),
    }
    let mut polled = polled.iter();
    let mut readable = || polled.next().is_some_and(|fd| fd.any().unwrap_or(true));
    Ok(fds.map(|fd| fd.is_some() && readable()))
}

/// The file that says that it runs; gone when it ends.
struct OnlyOne(#[allow(dead_code, reason = "the lock is held while it lives")] Flock<File>);

/// Two would undo each other's work.
fn only_one() -> Result<OnlyOne> {
    bpffs::create_dir(RUN.as_ref())?;
    let file = File::create(WATCH).map_err(Error::io(WATCH))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(OnlyOne(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(Error::Watched),
        Err((_, errno)) => Err(Error::io(WATCH)(errno.into())),
    }
}

/// Whether somebody watches, and joins again whom others take out.
pub fn runs() -> bool {
    let Ok(file) = File::open(WATCH) else { return false };
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
}

impl Drop for OnlyOne {
    fn drop(&mut self) {
        let _ = fs::remove_file(WATCH);
    }
}
