//! `xhop doctor`: what this kernel can do, and what becomes of packets between two containers.

mod account;
mod answer;
mod cause;
mod diagnose;
mod filter;
mod frame;
mod kernel;
mod probe;
mod show;
mod side;
mod standing;
mod taps;
#[cfg(test)]
mod tests;
mod wording;

use std::rc::Rc;

use serde::Serialize;

use self::account::{Account, Counting};
use self::cause::Finding;
use self::diagnose::{Seen, Way, diagnose};
use self::kernel::Kernel;
use self::probe::{Probe, Route};
use self::side::Side;
use super::rights::Rights;
use super::{lock, print_json};
use crate::container::{Name, Namespaces};
use crate::plan::record;
use crate::sys::netns::Netns;
use crate::sys::signal::PutOff;
use crate::{Error, Result};

/// What to look at.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Two containers: probes are sent from one to the other, both ways.
    #[arg(num_args = 2, value_names = ["A", "B"])]
    containers: Vec<Name>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    healthy: bool,
    kernel: &'a Kernel,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<[Told<'a>; 2]>,
    findings: &'a [Finding],
}

/// One direction of the path.
#[derive(Serialize)]
struct Told<'a> {
    from: &'a str,
    to: &'a str,
    probes: &'a [Probe],
    unseen: &'a [&'static str],
    account: &'a Account,
}

/// Runs the command. An error unless all is well.
pub fn run(args: Args) -> Result<()> {
    // Tracing is to be ended, whoever wants to end us.
    let _signals = PutOff::begin()?;
    let seen = match args.containers.as_slice() {
        [a, b] => {
            Rights::DOCTOR.take()?;
            Some(look(a, b)?)
        }
        _ => {
            // Who may not try learns that.
            Rights::KERNEL.take()?;
            None
        }
    };
    let kernel = kernel::try_all();
    let findings = diagnose(&kernel, seen.as_ref());
    match args.json {
        true => print_json(&Answer {
            version: 1,
            healthy: findings.is_empty(),
            kernel: &kernel,
            path: seen.as_ref().map(told),
            findings: &findings,
        })?,
        false => {
            match &seen {
                None => show::kernel(&kernel),
                Some(seen) => {
                    show::kernel_briefly(&kernel);
                    show::path(seen);
                }
            }
            show::findings(&findings);
        }
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Error::Unhealthy { count }),
    }
}

fn told(seen: &Seen) -> [Told<'_>; 2] {
    let ([a, b], [there, back]) = (&seen.sides, &seen.ways);
    [(a, b, there), (b, a, back)].map(|(from, to, way)| Told {
        from: &from.name,
        to: &to.name,
        probes: &way.probes,
        unseen: &way.unseen,
        account: &way.account,
    })
}

/// Looks at the two, and sends probes. Nobody joins or takes out meanwhile.
fn look(a: &Name, b: &Name) -> Result<Seen> {
    let _lock = lock(true)?;
    let namespaces = Namespaces::find()?;
    let members = record::all()?;
    let sides = Side::pair([a, b], &members, &namespaces)?;
    let [one, other] = &sides;
    let [near, far] = [one.namespaces(&namespaces)?, other.namespaces(&namespaces)?];
    let ways = [way(one, other, &near, &far)?, way(other, one, &far, &near)?];
    let bridge = one.attachment.bridge.as_ref();
    let br_netfilter = bridge.map_or(Ok([None, None]), |bridge| filter::on(bridge, &namespaces))?;
    Ok(Seen { sides, ways, br_netfilter })
}

/// Sends probes from one to the other.
fn way(from: &Side, to: &Side, near: &[Rc<Netns>; 2], far: &[Rc<Netns>; 2]) -> Result<Way> {
    let ([from_netns, from_host], [to_netns, to_host]) = (near, far);
    let route = Route {
        from: &from.attachment,
        from_netns,
        from_host,
        to: &to.attachment,
        to_netns,
        to_host,
    };
    let counting = Counting::begin(route, from.member())?;
    let (probes, unseen) = probe::send(&route)?;
    Ok(Way { probes, unseen, account: counting.end()? })
}
