//! Taps: where on their way probes are seen, and how often each was.

use std::cell::RefCell;

use super::frame::{Marked, probe_of};
use super::probe::{L4, Probe, Route};
use crate::Result;
use crate::container::Interface;
use crate::sys::netns::Netns;
use crate::sys::tap::{Frame, Tap};

/// Where the probes are seen, from end to end.
pub struct Taps {
    run: u32,
    places: [Tapped; 4],
}

/// Bytes of frames that are kept of a place, of all probes: these are less than half of it. Who sees a mark may
/// send it too, as often as he likes.
const KEPT: usize = 2 << 20;

/// One of these places.
struct Tapped {
    /// For people.
    name: &'static str,
    tap: Tap,
    /// Whether it is where the interface sends.
    outgoing: bool,
    /// What counts them.
    count: fn(&mut Probe) -> &mut usize,
    /// What has come by until now.
    kept: RefCell<Kept>,
}

/// Frames, as many as there is room for.
#[derive(Default)]
struct Kept {
    frames: Vec<Frame>,
    bytes: usize,
    /// Whether some are not here.
    lacks: bool,
}

impl Kept {
    fn keep(&mut self, frame: Frame) {
        self.bytes = self.bytes.saturating_add(frame.bytes.len());
        match self.bytes <= KEPT {
            true => self.frames.push(frame),
            false => self.lacks = true,
        }
    }
}

impl Taps {
    pub fn open(route: &Route, run: u32) -> Result<Self> {
        let (from, to) = (route.from, route.to);
        let on = |name, netns: &Netns, at: &Interface, outgoing, count| -> Result<Tapped> {
            let tap = netns.run(|| Tap::on(at.ifindex))??;
            Ok(Tapped { name, tap, outgoing, count, kept: RefCell::default() })
        };
        let places = [
            on("left", route.from_netns, &from.inside, true, |probe| &mut probe.left)?,
            on("at-host", route.from_host, &from.host, false, |probe| &mut probe.at_host)?,
            on("by-bridge", route.to_host, &to.host, true, |probe| &mut probe.by_bridge)?,
            on("arrived", route.to_netns, &to.inside, false, |probe| &mut probe.arrived)?,
        ];
        Ok(Self { run, places })
    }

    /// Takes what has come by, before there is no more room for it.
    pub fn drain(&self) -> Result<()> {
        for Tapped { tap, outgoing, kept, .. } in &self.places {
            let (frames, all) = tap.take(self.run)?;
            let mut kept = kept.borrow_mut();
            kept.lacks |= !all;
            frames.into_iter().filter(|f| f.outgoing == *outgoing).for_each(|f| kept.keep(f));
        }
        Ok(())
    }

    /// The places where more came by than could be looked at.
    pub fn blind(&self) -> Vec<&'static str> {
        let lacks = |place: &&Tapped| place.kept.borrow().lacks;
        self.places.iter().filter(lacks).map(|place| place.name).collect()
    }

    /// Notes of each probe how often it has come by at each place.
    pub fn count(&self, route: &Route, probes: &mut [Probe]) -> Result<()> {
        self.drain()?;
        for (at, place) in self.places.iter().enumerate() {
            let last = at + 1 == self.places.len();
            for frame in &place.kept.borrow().frames {
                let Some(marked) = Marked::read(&frame.bytes) else { continue };
                // The answer to an echo request has its mark too.
                if !route.to.addresses.contains(&marked.to) {
                    continue;
                }
                let number = probe_of(marked.payload, self.run).map(usize::from);
                let Some(probe) = number.and_then(|at| probes.get_mut(at)) else { continue };
                let data = probe.bytes.saturating_sub(probe.header() + L4).max(1);
                let datagrams = marked.payload.len().div_ceil(data);
                *(place.count)(probe) += datagrams;
                // A packet that is still to be cut up is not summed yet, nor is what is left to a device.
                if last && !frame.unfinished && datagrams == 1 && !marked.right {
                    probe.wrong_sums += 1;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut kept = Kept::default();
        let frame = Frame { bytes: vec![0; 60_000], outgoing: true, unfinished: false };
        // As many as the probes are, and some.
        (0..16).for_each(|_| kept.keep(frame.clone()));
        assert!(!kept.lacks && kept.frames.len() == 16);
        (0..1000).for_each(|_| kept.keep(frame.clone()));
        assert!(kept.lacks && kept.frames.len() * 60_000 <= KEPT);
    }
}
