//! Whether iptables sees what a bridge forwards, and has anything to say of it.

use std::fs;

use crate::Result;
use crate::container::{Bridge, Namespaces};
use crate::plan::{Ground, Segment, br_netfilter};
use crate::sys::netlink::netfilter::{Chain, chains};

/// What is asked of what passes a bridge, for people: of IPv4, and of IPv6. `None` where br_netfilter is off, or
/// nobody has rules.
pub fn on(bridge: &Bridge, namespaces: &Namespaces) -> Result<[Option<String>; 2]> {
    let segment = Segment { bridge: bridge.interface.clone() };
    let called = br_netfilter(&segment, Ground::new(namespaces))?;
    let Some(netns) = namespaces.by_inode(bridge.interface.netns)? else { return Ok([None, None]) };
    // A kernel without nf_tables has no chains of it.
    let chains = chains(&netns).unwrap_or_default();
    let legacy = netns.run(|| {
        ["ip_tables_names", "ip6_tables_names"].map(|file| {
            let names = fs::read_to_string(format!("/proc/thread-self/net/{file}"));
            names.is_ok_and(|names| names.lines().any(|name| name == "filter"))
        })
    })?;
    let sees: [fn(&&Chain) -> bool; 2] = [|chain| chain.v4, |chain| chain.v6];
    let mut asked = called.into_iter().zip(legacy).zip(sees).map(|((called, legacy), sees)| {
        let chain = chains.iter().filter(sees).max_by_key(|chain| chain.drops);
        let chain = chain.map(|chain| match chain.drops {
            true => format!("the policy of {} is drop", chain.name),
            false => format!("{} has rules", chain.name),
        });
        let asked = chain.or(legacy.then(|| "iptables-legacy has a table filter".into()));
        asked.filter(|_| called)
    });
    Ok([asked.next().flatten(), asked.next().flatten()])
}
