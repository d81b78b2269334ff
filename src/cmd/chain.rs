//! `xhop chain`: from a NIC through containers, one after the other.

use super::rights::Rights;
use super::{execute, lock};
use crate::Result;
use crate::container::{Name, Namespaces, find, interface_named};
use crate::plan::{Ground, Match, chain, record};

/// What the chain is of.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The interface that frames come in by. Its driver must have native XDP.
    nic: String,
    /// The containers, in order; the last one's stack gets what goes in.
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<Name>,
    /// What goes in: dst=ADDR, and after commas proto=tcp|udp|icmp|icmpv6|N, port=N, vlan=N; may be given several
    /// times [default: all that is for the last container's addresses].
    ///
    /// ADDR is the last container's. Of TCP or UDP a port can be said; of frames with a VLAN tag, which keep it,
    /// the VLAN.
    #[arg(long = "match", value_name = "MATCH")]
    matches: Vec<Match>,
    /// Let what the last one answers go back through the others, from the nearest to the first.
    ///
    /// From the first one's host side it goes where the last one has sent it, by bridge or routes. All are on one
    /// bridge then. The last one's stack sums what it sends.
    #[arg(long)]
    back: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the plan and the chain as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::JOIN.take()?;
    let _lock = lock(args.dry_run)?;
    let namespaces = Namespaces::find()?;
    let nic = interface_named(&args.nic, &namespaces)?;
    let find = |name| find(name, &namespaces);
    let containers = args.containers.iter().map(find).collect::<Result<Vec<_>>>()?;
    let ground = Ground::new(&namespaces);
    let made = chain::Made { chains: chain::record::all()?, joined: record::places()? };
    let plan = chain::up(nic, &containers, args.matches, args.back, &made, ground)?;
    execute(plan, ground, args.dry_run, args.json, "made")
}
