//! Thousands of rounds in minutes: grace periods of RCU, in which attaching and detaching wait, are hurried.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of the whole kernel; Documentation/admin-guide/kernel-parameters.txt, `rcupdate.rcu_expedited`.
const SWITCH: &str = "/sys/kernel/rcu_expedited";

/// How many of this process's tests want it, and whether it was switched on for them.
static WANTED: Mutex<(usize, bool)> = Mutex::new((0, false));

fn wanted() -> MutexGuard<'static, (usize, bool)> {
    // A test that has failed leaves it as it should be.
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, a grace period is over in much less than the usual milliseconds. What is done is the same.
#[derive(Debug)]
pub struct Hurry(());

impl Hurry {
    /// From now on. Where it can't be switched, or is on already, it stays so.
    pub fn begin() -> Self {
        let (count, ours) = &mut *wanted();
        if *count == 0 {
            let off = fs::read_to_string(SWITCH).is_ok_and(|value| value.trim() == "0");
            *ours = off && fs::write(SWITCH, "1").is_ok();
        }
        *count += 1;
        Self(())
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        let (count, ours) = &mut *wanted();
        *count -= 1;
        if *count == 0 && *ours {
            let _ = fs::write(SWITCH, "0");
        }
    }
}
