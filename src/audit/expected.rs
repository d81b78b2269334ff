//! What must be in the kernel, by the members' records and by what this binary would load.

use std::collections::BTreeSet;
use std::path::PathBuf;

use xhop_asm::programs::Shipped;
use xhop_asm::{MapDecl, Program};

use crate::container::Interface;
use crate::plan::member::Member;
use crate::plan::way::{Attach, Spot, inside_spot};
use crate::plan::{MemberPins, Segment};
use crate::{Error, Result};

/// A program of ours in its place.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The program itself.
    pub program: Program,
    /// Which it is.
    pub shipped: Shipped,
    /// The interface that it is on.
    pub at: Interface,
    /// Where there.
    pub spot: Spot,
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
        let one = |shipped: Shipped, at: &Interface, spot, pin| {
            let program = shipped.program().map_err(Error::Assemble)?;
            let maps = program.maps().iter().map(|decl| (decl.clone(), pins.map(decl))).collect();
            Ok(Self { program, shipped, at: at.clone(), spot, attach: member.attach, pin, maps })
        };
        let (program, spot) = member.on_host();
        let mut all = vec![one(program, &member.host, spot, pins.forward())?];
        for program in member.inside_programs() {
            all.push(one(program, &member.inside, inside_spot(program), pins.inside(program))?);
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
        all.extend(member.inside_programs().into_iter().map(|program| pins.inside(program)));
        all.extend(member.replaced.map(|_| pins.foreign()));
        all.extend(Segment::maps().map(|decl| member.segment.pins().join(decl.name)));
    }
    all
}
