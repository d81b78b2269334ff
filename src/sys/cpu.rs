//! Processor time: proc_stat(5).

use std::time::Duration;

use crate::{Error, Result};

/// How long all processors together were not idle since boot: user, system, interrupts. Not what a
/// hypervisor gave to others. Whoever used it is in it, in steps of a clock tick (10 ms).
pub fn busy() -> Result<Duration> {
    let path = "/proc/stat";
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    // SAFETY: no pointers; the kernel gives every process this number.
    let a_second = unsafe { libc::getauxval(libc::AT_CLKTCK) }.max(1);
    Ok(Duration::from_millis(ticks(&text).saturating_mul(1000) / a_second))
}

/// The first line has the sum of all: user, nice, system, idle, iowait, irq, softirq, steal. Guests' time is
/// in the user's already.
fn ticks(stat: &str) -> u64 {
    let first = stat.lines().next().unwrap_or("");
    let fields = first.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0));
    let busy = fields.enumerate().filter(|(at, _)| [0, 1, 2, 5, 6].contains(at));
    busy.map(|(_, ticks): (usize, u64)| ticks).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_stolen_time_is_not_busy() {
        assert_eq!(ticks("cpu  1 20 300 4444 4444 5000 60000 4444 4444 4444\ncpu0 1 1 1\n"), 65321);
        assert_eq!(ticks(""), 0);
        assert!(busy().expect("a stat") > Duration::ZERO);
    }
}
