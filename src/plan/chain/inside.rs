//! What chains have attached in containers: it is none of their own programs.

use super::super::ground::Ground;
use super::super::way::{Attach, Spot};
use super::record;
use crate::Result;
use crate::container::Interface;

/// The id of the program that a chain has attached to this container's end.
pub fn attached_inside(inside: &Interface, ground: Ground) -> Result<Option<u32>> {
    for chain in record::all()? {
        for place in chain.places().iter().filter(|place| place.at == inside) {
            let held = ground.held(inside, Spot::Native, Attach::Link, &place.pin(&chain))?;
            if let Some(prog) = held {
                return prog.info().map(|info| Some(info.id));
            }
        }
    }
    Ok(None)
}
