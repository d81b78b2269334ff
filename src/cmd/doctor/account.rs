//! What the kernel and our programs count while probes are on their way: where each packet went that left.

use serde::Serialize;
use xhop_asm::blocks::count::{VERDICTS, Verdict};

use super::probe::Route;
use crate::Result;
use crate::cmd::status::packets;
use crate::container::Interface;
use crate::plan::Member;
use crate::sys::ethtool::Ethtool;
use crate::sys::netlink::{LinkStats, Rtnl};
use crate::sys::netns::Netns;
use crate::sys::tracing::{Failure, Tracing};

/// What was counted from one look to the next, of everybody's packets.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Account {
    /// Sent by the sender's interface.
    pub sent: u64,
    /// To be sent by it besides, and not taken by the host's end.
    pub refused: u64,
    /// What our program at the host's end said of them; empty if it is not joined.
    pub verdicts: Vec<Counted>,
    /// Sent, and not seen by our program. On a busy interface what came between the two looks.
    pub unaccounted: i64,
    /// Seen by it, and dropped by the driver of the host's end: redirects that it could not do.
    pub dropped: u64,
    /// Counters of the drivers that have risen: `ethtool -S` of both ends of both veths.
    pub driver: Vec<DriverCounter>,
    /// Redirects that failed, as the kernel's tracepoints of XDP tell.
    pub failures: Vec<Failed>,
    /// Why those can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
}

/// Packets of a verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Counted {
    /// Which.
    pub verdict: &'static str,
    /// How many.
    pub packets: u64,
}

/// A counter of a driver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DriverCounter {
    /// The interface.
    pub at: String,
    /// Its name there.
    pub counter: String,
    /// By how much it has risen.
    pub rise: u64,
}

/// Redirects that failed in one way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Failed {
    /// As the kernel has it: -6.
    pub err: i32,
    /// Its name: ENXIO.
    pub name: String,
    /// How many packets.
    pub packets: usize,
}

impl Account {
    /// How many packets had this verdict.
    pub fn of(&self, verdict: Verdict) -> u64 {
        let of = |counted: &&Counted| counted.verdict == verdict.name();
        self.verdicts.iter().find(of).map_or(0, |counted| counted.packets)
    }

    /// Whether redirects failed for this reason.
    pub fn failed(&self, err: i32) -> bool {
        self.failures.iter().any(|failed| failed.err == err)
    }
}

/// Counts while it lives.
pub struct Counting<'a> {
    route: Route<'a>,
    member: Option<&'a Member>,
    before: Snapshot,
    tracing: Result<Tracing>,
}

/// All counters at one time.
#[derive(Default)]
struct Snapshot {
    sender: LinkStats,
    host: LinkStats,
    verdicts: Vec<(Verdict, u64)>,
    driver: Vec<(String, String, u64)>,
}

impl<'a> Counting<'a> {
    /// From now on. `member` is the sender, if it is joined.
    pub fn begin(route: Route<'a>, member: Option<&'a Member>) -> Result<Self> {
        let tracing = Tracing::begin();
        Ok(Self { before: look(&route, member)?, route, member, tracing })
    }

    /// Until now.
    pub fn end(self) -> Result<Account> {
        let Self { route, member, before, tracing } = self;
        let after = look(&route, member)?;
        let verdicts: Vec<Counted> = after
            .verdicts
            .iter()
            .zip(&before.verdicts)
            .map(|((verdict, after), (_, before))| Counted {
                verdict: verdict.name(),
                packets: after.wrapping_sub(*before),
            })
            .collect();
        let rise = |of: fn(&Snapshot) -> u64| of(&after).wrapping_sub(of(&before));
        let sent = rise(|at| at.sender.tx_packets);
        let refused = rise(|at| at.sender.tx_dropped);
        let dropped = rise(|at| at.host.rx_dropped);
        let seen: u64 = verdicts.iter().map(|counted| counted.packets).sum();
        let unaccounted = match verdicts.is_empty() {
            true => 0,
            false => (sent as i64).wrapping_sub(seen as i64),
        };
        let (failures, untold) = match tracing.and_then(|tracing| tracing.failures()) {
            Ok(failures) => (ours(&failures, &route), None),
            Err(error) => (Vec::new(), Some(super::answer::why(&error))),
        };
        let driver = risen(before.driver, after.driver);
        Ok(Account { sent, refused, verdicts, unaccounted, dropped, driver, failures, untold })
    }
}

fn look(route: &Route, member: Option<&Member>) -> Result<Snapshot> {
    let stats = |netns: &Netns, at: &Interface| -> Result<LinkStats> {
        Ok(Rtnl::open_in(netns)?.link_stats(at.ifindex)?.unwrap_or_default())
    };
    let mut driver = Vec::new();
    let (from, to) = (route.from, route.to);
    for (netns, at) in [
        (route.from_netns, &from.inside),
        (route.from_host, &from.host),
        (route.to_host, &to.host),
        (route.to_netns, &to.inside),
    ] {
        let shown = match at.netns == from.inside.netns || at.netns == to.inside.netns {
            true => {
                format!("{at} behind {}", if *at == from.inside { &from.host } else { &to.host })
            }
            false => at.to_string(),
        };
        for (counter, value) in Ethtool::open_in(netns)?.statistics(at.ifindex)? {
            driver.push((shown.clone(), counter, value));
        }
    }
    // What is seen is counted after what is sent: then nothing is seen that was not sent.
    let counted = |member: &Member| -> Result<Vec<(Verdict, u64)>> {
        VERDICTS.into_iter().map(|verdict| Ok((verdict, packets(member, verdict)?))).collect()
    };
    let sender = stats(route.from_netns, &from.inside)?;
    // They may be gone.
    let verdicts = member.map_or(Vec::new(), |member| counted(member).unwrap_or_default());
    let host = stats(route.from_host, &from.host)?;
    Ok(Snapshot { sender, host, verdicts, driver })
}

/// The counters of drivers that tell of XDP or of drops, and have risen.
fn risen(
    before: Vec<(String, String, u64)>,
    after: Vec<(String, String, u64)>,
) -> Vec<DriverCounter> {
    let told = |name: &str| {
        let loads = name.ends_with("_packets") || name.ends_with("_bytes");
        !loads && (name.contains("xdp_") || name.contains("drop"))
    };
    let rise = |(at, counter, value): (String, String, u64)| {
        let was = before.iter().find(|(a, c, _)| *a == at && *c == counter)?.2;
        let rise = value.checked_sub(was).filter(|rise| *rise > 0 && told(&counter))?;
        Some(DriverCounter { at, counter, rise })
    };
    after.into_iter().filter_map(rise).collect()
}

/// Those between the two host's ends, by their reason.
fn ours(failures: &[Failure], route: &Route) -> Vec<Failed> {
    let (from, to) = (route.from.host.ifindex, route.to.host.ifindex);
    let mut all: Vec<Failed> = Vec::new();
    let is_it = |f: &&Failure| f.ours && f.from == from && (f.to == 0 || f.to == to);
    for failure in failures.iter().filter(is_it) {
        let err = -(failure.errno as i32);
        match all.iter_mut().find(|failed| failed.err == err) {
            Some(failed) => failed.packets += failure.frames,
            None => all.push(Failed {
                err,
                name: format!("{:?}", failure.errno),
                packets: failure.frames,
            }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_have_risen() {
        let at = |counter: &str, value| ("veth-a".to_owned(), counter.to_owned(), value);
        let names = ["rx_queue_0_xdp_packets", "rx_queue_0_drops", "tx_queue_0_xdp_xmit_errors"];
        let [before, after] = [1, 3].map(|value| names.map(|name| at(name, value)).to_vec());
        let found = risen(before.clone(), after);
        let told: Vec<_> = found.iter().map(|c| (c.counter.as_str(), c.rise)).collect();
        assert_eq!(told, [(names[1], 2), (names[2], 2)]);
        assert_eq!(risen(before.clone(), before), []);
    }
}
