//! BPF programs in traffic control: classifiers and actions on an interface's qdiscs.

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Rtm, Tca};
use nix::errno::Errno;

use super::msg::{Message, attr, attrs, text, u32_at};
use super::socket::{About, Item, malformed};
use super::{Rtnl, clsact};
use crate::{Error, Result};

/// include/uapi/linux/pkt_sched.h
pub(super) const TC_H_CLSACT_INGRESS: u32 = 0xffff_fff2;
pub(super) const TC_H_CLSACT_EGRESS: u32 = 0xffff_fff3;
/// `TCA_BPF_*`, `TCA_ACT_*` (include/uapi/linux/pkt_cls.h), `TCA_ACT_BPF_*` (tc_act/tc_bpf.h)
pub(super) const TCA_BPF_NAME: u16 = 7;
pub(super) const TCA_BPF_FLAGS: u16 = 8;
pub(super) const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
const TCA_BPF_ID: u16 = 11;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_ACT_BPF_NAME: u16 = 6;
const TCA_ACT_BPF_ID: u16 = 9;

/// The hook of what comes in.
const INGRESS: &str = "ingress";

/// A program that traffic control runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcProgram {
    /// Where: `ingress`, `egress`, or the handle of the qdisc or class as tc(8) prints it.
    pub hook: String,
    /// Its id; `None` for classic BPF, which has none.
    pub prog_id: Option<u32>,
    /// What tc(8) was told to call it.
    pub name: String,
    /// Whether it stands just where and how [`Rtnl::set_ingress`] puts ours: a classifier of every packet that
    /// comes in, whose verdict counts.
    pub as_ours: bool,
}

impl Rtnl {
    /// The BPF classifiers and actions on all qdiscs of an interface.
    pub fn tc_programs(&self, ifindex: u32) -> Result<Vec<TcProgram>> {
        let mut found = Vec::new();
        for (parent, hook) in self.filter_parents(ifindex)? {
            let on = format!("ifindex {ifindex}, {hook}");
            let about = About { call: "RTM_GETTFILTER", on: &on };
            for (_, body) in
                self.traffic(about, Rtm::Gettfilter, Rtm::Newtfilter, ifindex, parent)?
            {
                let tail = body.get(20..).ok_or_else(|| malformed(about))?;
                let place = hook == INGRESS && clsact::is_ours(&body);
                found.extend(programs(tail).into_iter().map(|(prog_id, name, direct)| TcProgram {
                    hook: hook.clone(),
                    prog_id,
                    name,
                    as_ours: place && direct,
                }));
            }
        }
        Ok(found)
    }

    /// What filters can hang on: the two ends of clsact, every other qdisc, and their classes.
    fn filter_parents(&self, ifindex: u32) -> Result<Vec<(u32, String)>> {
        let on = format!("ifindex {ifindex}");
        let about = About { call: "RTM_GETQDISC", on: &on };
        let mut parents = Vec::new();
        for (_, body) in self.traffic(about, Rtm::Getqdisc, Rtm::Newqdisc, ifindex, 0)? {
            let (of, handle) =
                u32_at(&body, 4).zip(u32_at(&body, 8)).ok_or_else(|| malformed(about))?;
            if of != ifindex {
                continue; // Old kernels list those of all interfaces.
            }
            let kind = body.get(20..).and_then(|tail| attr(tail, Tca::Kind)).map(text);
            match kind.as_deref() {
                Some("clsact") => {
                    parents.push((TC_H_CLSACT_INGRESS, INGRESS.to_owned()));
                    parents.push((TC_H_CLSACT_EGRESS, "egress".to_owned()));
                }
                Some("ingress") => parents.push((handle, INGRESS.to_owned())),
                _ => parents.push((handle, shown(handle))),
            }
        }
        let about = About { call: "RTM_GETTCLASS", on: &on };
        for (_, body) in self.traffic(about, Rtm::Gettclass, Rtm::Newtclass, ifindex, 0)? {
            let class = u32_at(&body, 8).ok_or_else(|| malformed(about))?;
            parents.push((class, shown(class)));
        }
        Ok(parents)
    }

    /// A dump by `struct tcmsg`; nothing from a kernel without traffic control.
    pub(super) fn traffic(
        &self,
        about: About,
        get: Rtm,
        new: Rtm,
        ifindex: u32,
        parent: u32,
    ) -> Result<Vec<Item>> {
        let fixed = tcmsg(ifindex, 0, parent, 0);
        let flags = NlmF::REQUEST | NlmF::DUMP;
        match self.socket.dump(about, || Message::new(get, flags, &fixed)) {
            Err(Error::Netlink { errno: Errno::EOPNOTSUPP, .. }) => Ok(Vec::new()),
            items => Ok(items?.into_iter().filter(|(kind, _)| *kind == u16::from(new)).collect()),
        }
    }
}

/// `struct tcmsg`
pub(super) fn tcmsg(ifindex: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut fixed = [0; 20];
    let values = [ifindex, handle, parent, info];
    for (field, value) in fixed.chunks_exact_mut(4).skip(1).zip(values) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
    fixed
}

/// A handle as tc(8) prints it.
fn shown(handle: u32) -> String {
    format!("{:x}:{:x}", handle >> 16, handle & 0xffff)
}

/// Ids and names of the programs in one filter, and whether their verdict is the filter's: its own program,
/// and those of its actions.
fn programs(filter: &[u8]) -> Vec<(Option<u32>, String, bool)> {
    let named = |options, id, name, direct| {
        let id = attr(options, id).and_then(|id| u32_at(id, 0));
        (id, attr(options, name).map(text).unwrap_or_default(), direct)
    };
    let Some(options) = attr(filter, Tca::Options) else { return Vec::new() };
    let mut found = Vec::new();
    if attr(filter, Tca::Kind).map(text).as_deref() == Some("bpf") {
        let flags = attr(options, TCA_BPF_FLAGS).and_then(|flags| u32_at(flags, 0)).unwrap_or(0);
        let direct = flags & TCA_BPF_FLAG_ACT_DIRECT != 0;
        found.push(named(options, TCA_BPF_ID, TCA_BPF_NAME, direct));
    }
    // Each kind of filter has a number of its own for the list of actions.
    for (_, list) in attrs(options) {
        for (_, action) in attrs(list) {
            let kind = attr(action, TCA_ACT_KIND);
            if let (Some(b"bpf\0"), Some(options)) = (kind, attr(action, TCA_ACT_OPTIONS)) {
                found.push(named(options, TCA_ACT_BPF_ID, TCA_ACT_BPF_NAME, false));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = (payload.len() as u16 + 4).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(payload);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn classifiers_and_actions() {
        let action = [
            attribute(TCA_ACT_KIND, b"bpf\0"),
            attribute(TCA_ACT_OPTIONS, &attribute(TCA_ACT_BPF_ID, &7u32.to_ne_bytes())),
        ];
        let own = [
            attribute(TCA_BPF_ID, &5u32.to_ne_bytes()),
            attribute(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes()),
            attribute(TCA_BPF_NAME, b"x\0"),
            attribute(1, &attribute(1, &action.concat())),
        ];
        let filter = [attribute(1, b"bpf\0"), attribute(2, &own.concat())].concat();
        assert_eq!(
            programs(&filter),
            [(Some(5), "x".to_owned(), true), (Some(7), String::new(), false)]
        );
        for len in 0..filter.len() {
            let _ = programs(&filter[..len]);
        }
        let classic = [attribute(1, b"bpf\0"), attribute(2, &[])].concat();
        assert_eq!(programs(&classic), [(None, String::new(), false)]);
        let other = [attribute(1, b"u32\0"), attribute(2, &own[0])].concat();
        assert_eq!(programs(&other), []);
    }
}
