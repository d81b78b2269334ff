//! `xhop down`: takes containers out again.

use super::rights::Rights;
use super::{execute, lock, watch};
use crate::container::{Name, Namespaces, find, interface_named};
use crate::plan::{Chain, Ground, Member, chain, down, record};
use crate::sys::tracing;
use crate::{Error, Result};

/// What to take out.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The containers.
    #[arg(required_unless_present_any = ["all", "chain"], conflicts_with_all = ["all", "chain"],
          value_name = "CONTAINER")]
    containers: Vec<Name>,
    /// All that are joined, and all chains.
    #[arg(long)]
    all: bool,
    /// The chain of this NIC.
    #[arg(long, value_name = "NIC", conflicts_with = "all")]
    chain: Option<String>,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the plan and the members as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::JOIN.take()?;
    let _lock = lock(args.dry_run)?;
    let namespaces = Namespaces::find()?;
    let members = record::all()?;
    let leaving = match args.all {
        true => members.clone(),
        false => named(&args.containers, &members, &namespaces)?,
    };
    let ground = Ground::new(&namespaces);
    let mut plan = down(&leaving, &members, ground)?;
    let chains = chain::record::all()?;
    let stays = |chain: &Chain| {
        !args.all && !args.chain.as_ref().is_some_and(|name| is_of(chain, name, &namespaces))
    };
    let (staying, down): (Vec<_>, Vec<_>) = chains.into_iter().partition(stays);
    if let (Some(nic), true) = (&args.chain, down.is_empty()) {
        return Err(Error::NoChain { nic: nic.escape_debug().to_string() });
    }
    let unmount = staying.is_empty() && leaving.len() == members.len();
    plan.clear.extend(chain::down(&down, unmount));
    plan.chains = down;
    if args.chain.is_none() && watch::runs() {
        plan.warnings
            .push("xhop watch runs, and joins again who is on a bridge that it watches".into());
    }
    if !args.dry_run {
        // What a doctor that was killed has left.
        tracing::sweep();
    }
    execute(plan, ground, args.dry_run, args.json, "took out")
}

/// Whether it is the chain of the NIC of this name: as it is now, or as it was.
fn is_of(chain: &Chain, nic: &str, namespaces: &Namespaces) -> bool {
    match interface_named(nic, namespaces) {
        Ok((now, _)) => now == chain.nic,
        Err(_) => chain.nic.name == nic,
    }
}

/// The members of these names.
pub(super) fn named(
    names: &[Name],
    members: &[Member],
    namespaces: &Namespaces,
) -> Result<Vec<Member>> {
    let mut leaving: Vec<Member> = Vec::new();
    for name in names {
        let found = match by_record(name, members).as_slice() {
            [] => by_interface(name, members, namespaces)?,
            // One container, on several bridges.
            [first, rest @ ..] if rest.iter().all(|other| other.name == first.name) => {
                [first].into_iter().chain(rest).map(|member| (*member).clone()).collect()
            }
            several => {
                let veths = several.iter().map(|member| format!("veth:{}", member.host));
                return Err(Error::Ambiguous {
                    name: name.to_string(),
                    candidates: veths.collect::<Vec<_>>().join(", "),
                });
            }
        };
        for member in found {
            if !leaving.contains(&member) {
                leaving.push(member);
            }
        }
    }
    Ok(leaving)
}

/// Those whose records have this name: the container itself may be gone.
fn by_record<'a>(name: &Name, members: &'a [Member]) -> Vec<&'a Member> {
    let matches = |member: &&Member| match name {
        Name::Veth(ifname) => member.host.name == *ifname || member.name == name.to_string(),
        Name::Bare(bare) => {
            member.name.split_once(':').is_some_and(|(_, name)| name == bare)
                || member.host.name == *bare
        }
        _ => member.name == name.to_string(),
    };
    members.iter().filter(matches).collect()
}

/// Those of the container's veths that were joined under another name.
fn by_interface(name: &Name, members: &[Member], namespaces: &Namespaces) -> Result<Vec<Member>> {
    let container = find(name, namespaces)?;
    let joined = |member: &&Member| container.attachments.iter().any(|a| a.host == member.host);
    let found: Vec<Member> = members.iter().filter(joined).cloned().collect();
    match found.is_empty() {
        true => Err(Error::NotJoined { name: name.to_string() }),
        false => Ok(found),
    }
}
