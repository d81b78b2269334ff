//! Where a program of ours runs: its interface, its hook and mode, and what holds it there.

use super::expected::Expected;
use super::finding::Finding;
use super::seen::{self, Seat, Seen};
use super::world::World;
use crate::plan::Ground;
use crate::plan::way::{Attach, Spot};
use crate::sys::bpf::{Link, LinkInfo, Prog, TcxHook, XdpMode, kernels_name};
use crate::{Error, Result};

const AGAIN: &str =
    "look at the interface with `bpftool net`, then join the container again with `xhop up`";

/// What runs in the place of a program of ours, if anything does.
#[derive(Debug, Default)]
pub struct Place {
    /// The program, as the interface has it.
    pub running: Option<Seen>,
    /// The program that the pin holds, on the interface or not.
    pub held: Option<u32>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Looks at a place.
pub fn check(expected: &Expected, ground: Ground, world: &World) -> Result<Place> {
    let at = &expected.at;
    let pin = Pin::open(expected);
    let held = pin.as_ref().map(Pin::prog_id).ok();
    let Some((netns, link)) = ground.link(at)? else {
        const CLEAR: &str =
            "clear it away with `xhop down`, or join the container again with `xhop up`";
        let finding = match &pin {
            // Detached, a link has no interface.
            Ok(Pin::Link(LinkInfo { id, prog_id, ifindex, .. })) if *ifindex != 0 => {
                Finding::deviates(
                    "attached",
                    format!(
                        "{at} was moved: in another namespace link {id} runs program {prog_id}, on ifindex {ifindex}"
                    ),
                    "the container is not where it was joined",
                    CLEAR,
                )
            }
            _ => Finding::deviates(
                "attached",
                format!("{at} is gone"),
                "the container has ended or its interface was moved: nothing of it runs",
                CLEAR,
            ),
        };
        return Ok(Place { running: None, held, findings: vec![finding] });
    };
    let running = standing(expected, seen::on(&netns, &link)?, held, world);
    let found = match &running {
        None => Finding::deviates(
            "attached",
            format!("nothing runs on {}", link.name),
            "the program was taken off: the container's packets take the kernel's own path",
            AGAIN,
        ),
        Some(Seen { prog_id, seat: Seat::Xdp(mode) })
            if expected.spot.xdp_mode() != Some(*mode) =>
        {
            let id = prog_id.unwrap_or_default();
            Finding::deviates(
                "attached",
                format!("program {id} runs on {} in mode {mode:?}", link.name),
                wrong_mode(*mode),
                AGAIN,
            )
        }
        Some(seen) => match pin.and_then(|pin| pin.holds(expected, seen, world)) {
            Ok(by) => {
                let (seat, index, netns) = (&seen.seat, at.ifindex, at.netns);
                let found = format!("{seat} on {}, ifindex {index} of net:[{netns}]", link.name);
                Finding::ok("attached", format!("{found}, by {by}"))
            }
            Err(found) => Finding::deviates(
                "attached",
                found,
                "what runs there is not what xhop attached and holds by its pin",
                AGAIN,
            ),
        },
    };
    Ok(Place { running, held, findings: vec![found] })
}

const fn wrong_mode(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Generic => {
            "it does not run in the driver, where it was put: large packets are dropped"
        }
        XdpMode::Native | XdpMode::Offload => {
            "it does not run on skbs, where it was put: checksums that are not whole are lost"
        }
    }
}

/// What runs in our place, or in its stead. On XDP there is room for just one; in traffic control others stand
/// beside it, so that it is told by its pin, its filter's place or at least its name.
fn standing(
    expected: &Expected,
    seen: Vec<Seen>,
    held: Option<u32>,
    world: &World,
) -> Option<Seen> {
    let fits = |seen: &&Seen| seen.seat.fits(expected.spot, expected.attach);
    let is_held = |seen: &&Seen| held.is_some() && seen.prog_id == held;
    let ours = seen.iter().filter(fits);
    let found = match (expected.spot, expected.attach) {
        (Spot::Native | Spot::Generic, _) => {
            let xdp = |seen: &&Seen| matches!(seen.seat, Seat::Xdp(_));
            ours.clone().next().or_else(|| seen.iter().find(xdp))
        }
        (Spot::Ingress, attach) => {
            let place = ours.clone().find(is_held);
            let place = place.or_else(|| ours.clone().next().filter(|_| attach == Attach::Netlink));
            let name = kernels_name(&expected.program.symbol());
            let named = |seen: &&Seen| {
                let info = seen.prog_id.and_then(|id| world.programs.get(&id));
                info.is_some_and(|info| info.name == name)
            };
            let incoming = |seen: &&Seen| match &seen.seat {
                Seat::Xdp(_) => false,
                Seat::Tcx(hook) => *hook == TcxHook::Ingress,
                Seat::Filter { hook, .. } => hook == "ingress",
            };
            let incoming = seen.iter().filter(incoming);
            place
                .or_else(|| incoming.clone().find(is_held))
                .or_else(|| incoming.clone().find(named))
        }
    };
    found.cloned()
}

/// What the pin holds: a link, or for netlink the program.
enum Pin {
    Link(LinkInfo),
    Prog(u32),
}

impl Pin {
    fn open(expected: &Expected) -> std::result::Result<Self, String> {
        let text = |error: Error| error.to_string();
        match expected.attach {
            Attach::Link => {
                let info = Link::open_pinned(&expected.pin).and_then(|link| link.info());
                info.map(Self::Link).map_err(text)
            }
            Attach::Netlink => {
                let info = Prog::open_pinned(&expected.pin).and_then(|prog| prog.info());
                info.map(|info| Self::Prog(info.id)).map_err(text)
            }
        }
    }

    fn prog_id(&self) -> u32 {
        match self {
            Self::Link(info) => info.prog_id,
            Self::Prog(id) => *id,
        }
    }

    /// By what it holds the program that was seen; or else what is wrong.
    fn holds(&self, expected: &Expected, seen: &Seen, world: &World) -> Hold {
        let runs = seen.prog_id == Some(self.prog_id());
        let fits = seen.seat.fits(expected.spot, expected.attach);
        let at = expected.at.ifindex;
        let id = seen.prog_id.unwrap_or_default();
        match self {
            Self::Link(LinkInfo { id: link, ifindex, .. }) if runs && fits && *ifindex == at => {
                Ok(format!("link {link}"))
            }
            Self::Link(LinkInfo { id: link, prog_id, ifindex, .. }) => Err(format!(
                "the pinned link {link} holds program {prog_id} on ifindex {ifindex}, on ifindex {at} runs program {id} ({})",
                seen.seat
            )),
            Self::Prog(held) if !runs => {
                Err(format!("the pinned program is {held}, on ifindex {at} runs program {id}"))
            }
            Self::Prog(held) => {
                let linked = world.links.iter();
                let mut linked = linked.filter(|link| (link.ifindex, link.prog_id) == (at, *held));
                match (&seen.seat, linked.next()) {
                    (Seat::Xdp(_) | Seat::Tcx(_), Some(link)) => {
                        Err(format!("program {held} is held by link {}, not by netlink", link.id))
                    }
                    (Seat::Xdp(_), None) => Ok("netlink".into()),
                    (Seat::Filter { .. }, _) if fits => Ok("a filter".into()),
                    (seat, _) => {
                        Err(format!("program {held} is on {seat} otherwise than xhop puts it"))
                    }
                }
            }
        }
    }
}

type Hold = std::result::Result<String, String>;
