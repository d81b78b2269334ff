//! Where a program of ours runs: its interface, its mode, and what holds it there.

use super::expected::Expected;
use super::finding::Finding;
use super::world::World;
use crate::Result;
use crate::plan::Ground;
use crate::plan::way::Attach;
use crate::sys::bpf::{Link, LinkInfo, Prog, XdpMode};
use crate::sys::netlink::XdpAttached;

const AGAIN: &str =
    "look at the interface with `bpftool net`, then join the container again with `xhop up`";

/// What runs in the place of a program of ours, if anything does.
#[derive(Debug, Default)]
pub struct Place {
    /// The program, as the interface has it.
    pub running: Option<XdpAttached>,
    /// The program that the pin holds, on the interface or not.
    pub held: Option<u32>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Looks at a place.
pub fn check(expected: &Expected, ground: Ground, world: &World) -> Result<Place> {
    let mut place = Place::default();
    let at = &expected.at;
    let link = ground.link(at)?.map(|(_, link)| link);
    // The native one, or else whatever runs in its stead.
    let xdp = link.as_ref().map_or(&[][..], |link| &link.xdp);
    let native = xdp.iter().find(|xdp| xdp.mode == XdpMode::Native);
    place.running = native.or(xdp.first()).copied();
    let (held, hold) = match expected.attach {
        Attach::Link => by_link(expected, &place),
        Attach::Netlink => by_netlink(expected, &place, world),
    };
    place.held = held;
    let Some(link) = link else {
        place.findings.push(Finding::deviates(
            "attached",
            format!("{at} is gone"),
            "the container has ended or its interface was moved: nothing of it runs",
            "clear it away with `xhop down`, or join the container again with `xhop up`",
        ));
        return Ok(place);
    };
    let found = match (place.running, hold) {
        (None, _) => Finding::deviates(
            "attached",
            format!("nothing runs on {}", link.name),
            "the program was taken off: the container's packets take the kernel's own path",
            AGAIN,
        ),
        (Some(xdp), _) if xdp.mode != XdpMode::Native => Finding::deviates(
            "attached",
            format!("program {} runs on {} in mode {:?}", xdp.prog_id, link.name, xdp.mode),
            "it does not run in the driver, where it was put: large packets are dropped",
            AGAIN,
        ),
        (Some(_), Err(finding)) => finding,
        (Some(_), Ok(by)) => Finding::ok(
            "attached",
            format!(
                "native on {}, ifindex {} of net:[{}], by {by}",
                link.name, at.ifindex, at.netns
            ),
        ),
    };
    place.findings.push(found);
    Ok(place)
}

type Hold = (Option<u32>, std::result::Result<String, Finding>);

fn unheld(found: String) -> Finding {
    Finding::deviates(
        "attached",
        found,
        "what runs there is not what xhop attached and holds by its pin",
        AGAIN,
    )
}

fn by_link(expected: &Expected, place: &Place) -> Hold {
    let info = match Link::open_pinned(&expected.pin).and_then(|link| link.info()) {
        Ok(info) => info,
        Err(error) => return (None, Err(unheld(error.to_string()))),
    };
    let LinkInfo { id, prog_id, ifindex, .. } = info;
    let runs = place.running.is_some_and(|xdp| xdp.prog_id == prog_id);
    let hold = match runs && ifindex == expected.at.ifindex {
        true => Ok(format!("link {id}")),
        false => Err(unheld(format!(
            "the pinned link {id} holds program {prog_id} on ifindex {ifindex}, on ifindex {} runs {}",
            expected.at.ifindex,
            place.running.map_or("nothing".into(), |xdp| format!("program {}", xdp.prog_id)),
        ))),
    };
    (Some(prog_id), hold)
}

fn by_netlink(expected: &Expected, place: &Place, world: &World) -> Hold {
    let pinned = Prog::open_pinned(&expected.pin).and_then(|prog| prog.info());
    let held = match pinned {
        Ok(info) => info.id,
        Err(error) => return (None, Err(unheld(error.to_string()))),
    };
    let running = place.running.map(|xdp| xdp.prog_id);
    let ifindex = expected.at.ifindex;
    let link =
        world.links.iter().find(|link| link.ifindex == ifindex && Some(link.prog_id) == running);
    let hold = match (running == Some(held), link) {
        (true, None) => Ok("netlink".into()),
        (true, Some(link)) => {
            Err(unheld(format!("program {held} is held by link {}, not by netlink", link.id)))
        }
        (false, _) => Err(unheld(format!(
            "the pinned program is {held}, on ifindex {ifindex} runs {}",
            running.map_or("nothing".into(), |id| format!("program {id}")),
        ))),
    };
    (Some(held), hold)
}
