//! Who is joined gets the name that his user knows: a container's veth may be there before anybody can tell
//! whose it is, and Docker's may be given another name.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::round::{Watch, is_nameless};
use crate::Result;
use crate::cmd::lock_now;
use crate::container::{Events, Name, Namespaces};
use crate::plan::{Ground, Member, Plan, carry_out, record};

/// How soon it is asked again whose somebody is: twice as late each time.
const SOON: Duration = Duration::from_millis(200);
/// And at the latest: after that he is somebody without a name.
const LATE: Duration = Duration::from_secs(30);
/// How soon an engine that has gone is looked for.
const BACK: Duration = Duration::from_secs(10);

/// When to ask for names.
#[derive(Default)]
pub struct Names {
    events: Option<Events>,
    /// When to look again for an engine that has gone.
    back: Option<Instant>,
    /// When to ask, and how long it was waited for that.
    due: Option<(Instant, Duration)>,
}

impl Names {
    /// What the engine tells is read here.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    /// Takes what the engine has told.
    pub fn take(&mut self) {
        let now = Instant::now();
        match self.events.as_mut().is_some_and(Events::take) {
            true => self.due = Some((now, Duration::ZERO)),
            false => (self.events, self.back) = (None, Some(now + BACK)),
        }
    }

    /// Asks for names, if it is time to. Gives when to ask again.
    pub fn round(&mut self, watch: &mut Watch) -> Result<Option<Instant>> {
        let now = Instant::now();
        if self.events.is_none() {
            self.listen(now);
        }
        if watch.has_nameless() && self.due.is_none_or(|(_, waited)| waited > SOON) {
            self.due = Some((now, Duration::ZERO));
        }
        if let Some((_, waited)) = self.due.filter(|(due, _)| *due <= now) {
            let step = (waited * 2).max(SOON);
            let again = name_anew(watch)? && step <= LATE;
            self.due = again.then(|| (Instant::now() + step, step));
        }
        Ok(self.due.map(|(due, _)| due).into_iter().chain(self.back).min())
    }

    /// There may be an engine whenever something has changed; one that has gone comes back.
    fn listen(&mut self, now: Instant) {
        if self.back.is_some_and(|back| now < back) {
            return;
        }
        self.events = Events::listen();
        match (&self.events, self.back.take()) {
            // Meanwhile it has told nothing.
            (Some(_), Some(_)) => self.due = Some((now, Duration::ZERO)),
            (None, Some(_)) => self.back = Some(now + BACK),
            (_, None) => {}
        }
    }
}

/// Names those who are joined on the watched bridges. Says whether somebody has still none, or whether
/// another command kept it from asking.
fn name_anew(watch: &Watch) -> Result<bool> {
    let Some(_lock) = lock_now()? else { return Ok(true) };
    let namespaces = Namespaces::find()?;
    let own = namespaces.own()?.inode();
    let mut left = false;
    for place in record::places()?.into_iter().filter(|place| place.netns == own) {
        let member = place.read()?;
        if !watch.watches(&member.segment.bridge.name) || !may_change(&member) {
            continue;
        }
        // That an engine does not answer is no reason to end.
        match namespaces.owner(member.inside.netns).ok().flatten().map(|name| name.to_string()) {
            Some(name) if name != member.name => {
                let plan = Plan::rename(&member, name.clone());
                carry_out(&plan, Ground::new(&namespaces))?;
                let before = format!("before, {}", member.name);
                watch.tell("named", &member.segment.bridge.name, &name, Some(&before), None);
            }
            Some(_) => {}
            None => left |= is_nameless(&member.name),
        }
    }
    Ok(left)
}

/// Whether his name is not what the user himself has called him.
fn may_change(member: &Member) -> bool {
    is_nameless(&member.name) || matches!(member.name.parse(), Ok(Name::Docker(_)))
}
