//! The rules of nf_tables, read as the kernel gives them: none is kept that names nobody.

use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;
use nix::errno::Errno;

use super::super::socket::{About, Socket};
use super::chain::read_chains;
use super::expr::parse;
use super::set::add_named;
use super::{ARP, NFTABLES, is_there, request};
use crate::sys::netns::Netns;
use crate::sys::rule::{Lookup, Part, Rule, Sought};
use crate::{Error, Result};

/// `NFT_MSG_GETRULE`, `NFT_MSG_NEWRULE`
const GETRULE: u16 = 7;
const NEWRULE: u16 = NFTABLES | 6;
/// How many sets without a name are looked into, each of one rule's: the kernel takes the longer for each, the more
/// there are (10,000 took it three seconds).
const SETS: usize = 1000;

/// Gives `each` the rules of a namespace that name somebody, and whom, as [`Sought::named_by`] does. None where the
/// kernel has not loaded nf_tables.
pub fn rules(netns: &Netns, sought: &Sought, each: &mut dyn FnMut(&Rule, &[bool])) -> Result<()> {
    if !is_there()? {
        return Ok(());
    }
    match read(netns, sought, each) {
        // There is no nfnetlink, or no nf_tables in it.
        Err(error) if matches!(error.errno(), Some(Errno::EPROTONOSUPPORT | Errno::EINVAL)) => {
            Ok(())
        }
        read => read,
    }
}

fn read(netns: &Netns, sought: &Sought, each: &mut dyn FnMut(&Rule, &[bool])) -> Result<()> {
    let socket = Socket::open_in(netns, NlFamily::Netfilter)?;
    let chains = read_chains(&socket)?;
    let about = About { call: "NFT_MSG_GETRULE", on: "all rules" };
    let mut found: Vec<(Rule, Vec<bool>)> = Vec::new();
    let mut sets = 0;
    socket.dump_each(about, &|| request(GETRULE, 0, NlmF::DUMP), &mut |item| {
        let Some((kind, body)) = item else {
            (found, sets) = (Vec::new(), 0);
            return Some(());
        };
        if kind == NEWRULE && body.first() != Some(&ARP) {
            let mut rule = parse(body)?;
            if let Some(chain) = chains.iter().find(|chain| chain.name == rule.place) {
                rule.parts.extend(at_interfaces(&chain.to, sought));
                rule.is_local = chain.is_local;
            }
            let named = sought.named_by(&rule);
            let is_one = named.contains(&true) || !rule.lookups.is_empty();
            if is_one && !sought.is_elsewhere(&rule) {
                sets += rule.lookups.iter().filter(|lookup| is_nameless(lookup)).count();
                if sets <= SETS || named.contains(&true) {
                    found.push((rule, named));
                }
            }
        }
        Some(())
    })?;
    let mut known: Vec<(Lookup, Vec<bool>)> = Vec::new();
    for (rule, mut named) in found {
        for lookup in &rule.lookups {
            // Many rules may ask for the same set, if it has a name.
            let at = known.iter().position(|(asked, _)| asked == lookup);
            let at = at.unwrap_or(known.len());
            if at == known.len() {
                let mut has = vec![false; named.len()];
                add_named(&socket, lookup, sought, &mut has)?;
                known.push((lookup.clone(), has));
            }
            let has = known.get(at).map_or(&[][..], |(_, has)| has);
            named.iter_mut().zip(has).for_each(|(named, has)| *named |= has);
            if is_nameless(lookup) {
                known.truncate(at);
            }
        }
        if named.contains(&true) {
            each(&rule, &named);
        }
    }
    if sets > SETS { Err(Error::ManySets { most: SETS }) } else { Ok(()) }
}

/// Whether the set has no name, and is of this rule alone.
fn is_nameless(lookup: &Lookup) -> bool {
    lookup.set.starts_with("__")
}

/// The interfaces that a chain is bound to: those by which the joined come, or if there are none all.
fn at_interfaces(all: &[Part], sought: &Sought) -> Vec<Part> {
    let here = all.iter().filter(|part| sought.is_here(part));
    let here: Vec<Part> = here.copied().collect();
    if here.is_empty() { all.to_vec() } else { here }
}
