//! Processors: their time (proc_stat(5)), and who runs on which (sched_setaffinity(2)).

use std::io;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::{Error, Result};

/// To the kernel, 0 is who asks.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The time of all processors together since boot, in steps of a clock tick (10 ms).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// When they were not idle: user, system, interrupts, whoever it was for. Not what a hypervisor gave
    /// to others.
    pub busy: Duration,
    /// All that there was, with what was idle or given to others.
    pub all: Duration,
}

impl Times {
    /// Until now.
    pub fn read() -> Result<Self> {
        let path = "/proc/stat";
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        // SAFETY: no pointers; the kernel gives every process this number.
        let a_second = unsafe { libc::getauxval(libc::AT_CLKTCK) }.max(1);
        let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000) / a_second);
        let (busy, all) = ticks(&text);
        Ok(Self { busy: time(busy), all: time(all) })
    }

    /// What has passed since.
    pub fn since(&self, before: &Self) -> Self {
        let busy = self.busy.saturating_sub(before.busy);
        Self { busy, all: self.all.saturating_sub(before.all) }
    }
}

/// Busy ones and all. The first line has the sums: user, nice, system, idle, iowait, irq, softirq, steal.
/// Guests' time, which follows, is in the user's already.
fn ticks(stat: &str) -> (u64, u64) {
    let first = stat.lines().next().unwrap_or("");
    let fields = first.split_whitespace().skip(1).take(8);
    let (mut busy, mut all) = (0, 0);
    for (at, field) in fields.enumerate() {
        let ticks: u64 = field.parse().unwrap_or(0);
        all += ticks;
        busy += if matches!(at, 3 | 4 | 7) { 0 } else { ticks };
    }
    (busy, all)
}

/// Two processors that the calling thread may use; none where there is one alone, or where they can't be
/// told (more than 1024).
pub fn two() -> [Option<usize>; 2] {
    let Ok(usable) = sched_getaffinity(THIS_THREAD) else { return [None; 2] };
    let mut cpus = (0..CpuSet::count()).filter(|cpu| usable.is_set(*cpu).unwrap_or(false));
    match (cpus.next(), cpus.next()) {
        (first, second @ Some(_)) => [first, second],
        _ => [None; 2],
    }
}

/// Runs `f` with the calling thread on this processor alone, and then lets it go where it might before.
/// Threads that `f` starts inherit it. Without a processor it just runs.
pub fn on<T>(cpu: Option<usize>, f: impl FnOnce() -> T) -> io::Result<T> {
    let Some(cpu) = cpu else { return Ok(f()) };
    let before = sched_getaffinity(THIS_THREAD)?;
    let mut alone = CpuSet::new();
    alone.set(cpu)?;
    sched_setaffinity(THIS_THREAD, &alone)?;
    let result = f();
    sched_setaffinity(THIS_THREAD, &before)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_stolen_time_is_not_busy() {
        let stat = "cpu  1 20 300 100000 200000 5000 60000 400000 4444 4444\ncpu0 1 1 1\n";
        assert_eq!(ticks(stat), (65_321, 765_321));
        assert_eq!(ticks(""), (0, 0));
        let now = Times::read().expect("a stat");
        assert!(now.busy > Duration::ZERO && now.busy < now.all);
        assert_eq!(now.since(&now), Times { busy: Duration::ZERO, all: Duration::ZERO });
    }

    #[test]
    fn a_thread_is_pinned_and_let_go() {
        let usable = || sched_getaffinity(THIS_THREAD).expect("affinity");
        let before = usable();
        let [Some(first), Some(second)] = two() else { return };
        assert_ne!(first, second);
        for cpu in [first, second] {
            let inside = on(Some(cpu), usable).expect("pinned");
            let set = |at| inside.is_set(at).expect("a number");
            assert!((0..CpuSet::count()).all(|at| set(at) == (at == cpu)), "{cpu}");
            assert_eq!(usable(), before);
        }
        assert_eq!(on(None, usable).expect("runs"), before);
        // One alone is nothing to choose from.
        assert_eq!(on(Some(first), two).expect("pinned"), [None; 2]);
    }
}
