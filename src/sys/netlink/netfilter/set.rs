//! What is in the sets and maps of rules. They may have many elements: none is kept.

use neli::consts::nl::NlmF;
use nix::errno::Errno;

use super::super::msg::{attr, attrs};
use super::super::socket::{About, Socket};
use super::{NFTABLES, number, request, value};
use crate::Result;
use crate::sys::rule::{Lookup, Named, Part, Side, Sought};

/// `NFT_MSG_GETSETELEM`, `NFT_MSG_NEWSETELEM`
const GETSETELEM: u16 = 13;
const NEWSETELEM: u16 = NFTABLES | 12;
/// `NFTA_SET_ELEM_LIST_*` and `NFTA_SET_ELEM_*`
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
/// `NFT_SET_ELEM_INTERVAL_END`
const INTERVAL_END: u32 = 1;

/// Adds whom a set names.
pub(super) fn add_named(
    socket: &Socket,
    lookup: &Lookup,
    sought: &Sought,
    named: &mut [bool],
) -> Result<()> {
    let about = About { call: "NFT_MSG_GETSETELEM", on: &lookup.set };
    let make = || {
        let mut message = request(GETSETELEM, lookup.family, NlmF::DUMP);
        message.attr_str(NFTA_SET_ELEM_LIST_TABLE, &lookup.table);
        message.attr_str(NFTA_SET_ELEM_LIST_SET, &lookup.set);
        message
    };
    let mut found: Vec<Around> = Vec::new();
    let done = socket.dump_each(about, &make, &mut |item| {
        let Some((kind, body)) = item else {
            found = sought.joined.iter().map(Around::new).collect();
            return Some(());
        };
        if kind == NEWSETELEM {
            let elements = attr(body.get(4..)?, NFTA_SET_ELEM_LIST_ELEMENTS);
            for (_, element) in attrs(elements.unwrap_or_default()) {
                found.iter_mut().for_each(|around| around.look(element, lookup));
            }
        }
        Some(())
    });
    named.iter_mut().zip(&found).for_each(|(named, around)| *named |= around.is_named());
    match done {
        // It went with its rule.
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(()),
        done => done,
    }
}

/// What a set has around one who is sought.
pub(super) struct Around<'s> {
    one: &'s Named,
    /// Whether an element is it, or goes from before it to behind it, where elements have two keys.
    named: bool,
    /// Of a set of intervals the elements are where these begin and end, in any order. Whether it is one: it has an
    /// end, since nft(8) puts one before all.
    is_cut: bool,
    /// The last at or before it, and whether an interval begins there.
    before: (u128, bool),
    /// The first after it.
    after: u128,
}

impl<'s> Around<'s> {
    pub(super) fn new(one: &'s Named) -> Self {
        Self { one, named: false, is_cut: false, before: (0, false), after: u128::MAX }
    }

    pub(super) fn look(&mut self, element: &[u8], lookup: &Lookup) {
        let Lookup { at, kind, given, .. } = *lookup;
        let part = |attr| value(element, attr).and_then(|key| key.get(at..at + kind.size()));
        let key = if given { NFTA_SET_ELEM_DATA } else { NFTA_SET_ELEM_KEY };
        let Some(first) = part(key).filter(|_| kind == self.one.kind) else { return };
        let last = part(NFTA_SET_ELEM_KEY_END).filter(|_| !given).unwrap_or(first);
        let ends = number(element, NFTA_SET_ELEM_FLAGS).unwrap_or(0) & INTERVAL_END != 0;
        self.named |= !ends && self.one.is_in(&Part::between(kind, Side::From, first, last));
        self.is_cut |= ends && !given;
        match kind.number(first, 0) {
            cut if cut > self.one.number => self.after = self.after.min(cut),
            cut => self.before = self.before.max((cut, !ends)),
        }
    }

    pub(super) fn is_named(&self) -> bool {
        if !self.is_cut {
            return self.named;
        }
        let ((from, begins), to) = (self.before, self.after.saturating_sub(1));
        let kind = self.one.kind;
        let part = Part { kind, side: Side::From, from, to, mask: kind.max(), negated: false };
        begins && self.one.is_in(&part)
    }
}
