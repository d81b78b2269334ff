//! What must be in the kernel, by the members' records and by what this binary would load.

use std::collections::BTreeSet;
use std::path::PathBuf;

use xhop_asm::programs::Shipped;
use xhop_asm::{MapDecl, Program};

use super::Records;
use crate::container::Interface;
use crate::plan::chain::{self, Place};
use crate::plan::member::Member;
use crate::plan::way::{Attach, Spot, inside_spot};
use crate::plan::{Chain, MemberPins, Segment};
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
        let program = match pins.captured() {
            true => program.captured().unwrap_or(program),
            false => program,
        };
        let mut all = vec![one(program, &member.host, spot, pins.forward())?];
        for program in member.inside_programs() {
            all.push(one(program, &member.inside, inside_spot(program), pins.inside(program))?);
        }
        Ok(all)
    }

    /// A chain's programs.
    pub fn of_chain(chain: &Chain) -> Result<Vec<Self>> {
        let one = |place: Place| {
            let (shipped, pins) = (place.program, chain.pins(place.host));
            let program = shipped.program().map_err(Error::Assemble)?;
            let maps = program.maps().iter().map(|decl| (decl.clone(), pins.map(decl))).collect();
            let (at, pin) = (place.at.clone(), place.pin(chain));
            let (spot, attach) = (Spot::Native, Attach::Link);
            Ok(Self { program, shipped, at, spot, attach, pin, maps })
        };
        chain.places().into_iter().map(one).collect()
    }
}

/// All maps that our programs share or have, by their pins.
pub fn map_pins(records: Records) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for member in records.members {
        let pins = MemberPins::of(&member.segment, &member.host);
        all.push(pins.stats());
        if pins.captured() {
            all.extend(pins.capture().map(|(_, pin)| pin));
        }
        all.extend(Segment::maps().map(|decl| member.segment.pins().join(decl.name)));
    }
    for chain in records.chains {
        let on_host = chain.places().into_iter().filter(Place::is_on_host);
        all.extend(on_host.map(|place| chain.pins(place.host).stats()));
        all.extend(
            chain::maps(chain).into_iter().map(|decl| chain.segment().pins().join(decl.name)),
        );
    }
    all
}

/// All pins that there may be, by the records.
pub fn pins(records: Records) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::from_iter(map_pins(records));
    for chain in records.chains {
        all.extend(chain.places().iter().map(|place| place.pin(chain)));
    }
    for member in records.members {
        let pins = MemberPins::of(&member.segment, &member.host);
        all.insert(pins.forward());
        all.extend(member.inside_programs().into_iter().map(|program| pins.inside(program)));
        all.extend(member.replaced.map(|_| pins.foreign()));
    }
    all
}
