//! What must be in the kernel, by the members' records and by what this binary would load.

use std::collections::BTreeSet;
use std::path::PathBuf;

use xhop_asm::programs::Shipped;
use xhop_asm::{MapDecl, Program};

use crate::container::Interface;
use crate::plan::member::{Attach, Member, Readiness};
use crate::plan::{MemberPins, Segment};
use crate::{Error, Result};

/// A program of ours in its place.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The program itself.
    pub program: Program,
    /// Which it is.
    pub shipped: Shipped,
    /// Where it runs, natively.
    pub at: Interface,
    /// How it got there.
    pub attach: Attach,
    /// What holds it there: a link, or for netlink the program.
    pub pin: PathBuf,
    /// Its maps, in the order of the program's, each with its pin.
    pub maps: Vec<(MapDecl, PathBuf)>,
}

impl Expected {
    /// A member's programs.
    pub fn of(member: &Member) -> Result<Vec<Self>> {
        let pins = MemberPins::of(&member.segment, &member.host);
        let one = |shipped: Shipped, at: &Interface, pin| {
            let program = shipped.program().map_err(Error::Assemble)?;
            let maps = program.maps().iter().map(|decl| (decl.clone(), pins.map(decl))).collect();
            Ok(Self { program, shipped, at: at.clone(), attach: member.attach, pin, maps })
        };
        let mut all = vec![one(member.checksum.program(), &member.host, pins.forward())?];
        if member.readiness == Readiness::Pass {
            all.push(one(Shipped::Pass, &member.inside, pins.pass())?);
        }
        Ok(all)
    }
}

/// All pins that there may be, by the records.
pub fn pins(members: &[Member]) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for member in members {
        let pins = MemberPins::of(&member.segment, &member.host);
        all.extend([pins.forward(), pins.stats()]);
        all.extend((member.readiness == Readiness::Pass).then(|| pins.pass()));
        all.extend(member.replaced.map(|_| pins.foreign()));
        all.extend(Segment::maps().map(|decl| member.segment.pins().join(decl.name)));
    }
    all
}
