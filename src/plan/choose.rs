//! Which bridge it is that containers are to be joined on, and whether they may be.

use super::ground::Ground;
use super::segment::Segment;
use crate::container::{Attachment, Container, Interface};
use crate::sys::netlink::LinkInfo;
use crate::{Error, Result};

/// What `up` is about.
pub struct Chosen<'a> {
    /// The bridge.
    pub segment: Segment,
    /// Each container's name, and the veth by which it is on the bridge.
    pub attachments: Vec<(&'a str, &'a Attachment)>,
}

/// The one bridge that all containers are on. With `force` also if the kernel's own path keeps them apart.
pub fn choose<'a>(containers: &'a [Container], force: bool, ground: Ground) -> Result<Chosen<'a>> {
    choose_on(shared_bridge(containers)?, containers, force, ground)
}

/// The same, where the bridge is known; there may be no containers.
pub fn choose_on<'a>(
    bridge: Interface,
    containers: &'a [Container],
    force: bool,
    ground: Ground,
) -> Result<Chosen<'a>> {
    if !force && ground.is_own(&bridge)? && ground.isolates(&bridge.name)? {
        return Err(Error::NotAllowed {
            name: bridge.name,
            why: "Docker keeps its containers from each other (enable_icc=false): --force joins them all the same",
        });
    }
    let mut attachments: Vec<(&str, &Attachment)> = Vec::new();
    for container in containers {
        let found = the_one_on(container, &bridge)?;
        refuse_filtered(&container.name, found, force)?;
        if let Some((one, _)) = attachments.iter().find(|(_, other)| other.host == found.host) {
            let one = (*one).to_string();
            return Err(Error::Same { one, other: container.name.clone() });
        }
        attachments.push((&container.name, found));
    }
    Ok(Chosen { segment: Segment { bridge }, attachments })
}

fn shared_bridge(containers: &[Container]) -> Result<Interface> {
    let bridges = |container: &Container| -> Result<Vec<Interface>> {
        let mut on: Vec<Interface> = Vec::new();
        for bridge in container.attachments.iter().filter_map(|a| a.bridge.as_ref()) {
            if !on.contains(&bridge.interface) {
                on.push(bridge.interface.clone());
            }
        }
        match on.is_empty() {
            true => Err(no_bridge(container)),
            false => Ok(on),
        }
    };
    let names = |list: &[Interface]| {
        list.iter().map(|bridge| bridge.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut shared: Option<(Vec<Interface>, &str)> = None;
    for container in containers {
        let on = bridges(container)?;
        let common = match &shared {
            None => on,
            Some((before, first)) => {
                let common: Vec<_> = on.iter().filter(|b| before.contains(b)).cloned().collect();
                if common.is_empty() {
                    return Err(Error::DifferentBridges {
                        one: (*first).to_string(),
                        one_on: names(before),
                        other: container.name.clone(),
                        other_on: names(&on),
                    });
                }
                common
            }
        };
        shared = Some((common, shared.map_or(&container.name, |(_, first)| first)));
    }
    let (shared, _) = shared.unwrap_or_default();
    match shared.as_slice() {
        [one] => Ok(one.clone()),
        several => Err(Error::SeveralBridges { bridges: names(several) }),
    }
}

fn no_bridge(container: &Container) -> Error {
    let host = container.attachments.first().map_or(String::new(), |a| a.host.name.clone());
    Error::NoBridge { name: container.name.clone(), host }
}

fn the_one_on<'a>(container: &'a Container, bridge: &Interface) -> Result<&'a Attachment> {
    let on = |a: &&Attachment| a.bridge.as_ref().is_some_and(|b| b.interface == *bridge);
    let mut found = container.attachments.iter().filter(on);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => Err(Error::Ambiguous {
            name: container.name.clone(),
            candidates: format!("veth:{}, veth:{}", one.host.name, other.host.name),
        }),
        (None, _) => Err(no_bridge(container)),
    }
}

/// What the bridge would not carry is not joined behind its back.
fn refuse_filtered(name: &str, attachment: &Attachment, force: bool) -> Result<()> {
    let refused = |why| Err(Error::NotAllowed { name: name.into(), why });
    if let Some(why) = not_ready(attachment) {
        return refused(why);
    }
    match attachment.bridge.as_ref().and_then(|on| apart(&attachment.host_link, &on.link)) {
        Some(why) if !force => refused(why),
        _ => Ok(()),
    }
}

/// Why it can't take part in anything yet, if so.
pub fn not_ready(attachment: &Attachment) -> Option<&'static str> {
    let bridge = attachment.bridge.as_ref().map(|bridge| &bridge.link);
    let mute = mute(&attachment.host_link, &attachment.inside_link, bridge);
    let no_address = attachment.addresses.is_empty();
    mute.or(no_address.then_some("it has no IP address yet: give it one, then run up again"))
}

/// Why nothing gets through a veth and its bridge, if so: both ends of the veth, and the bridge.
pub fn mute(host: &LinkInfo, inside: &LinkInfo, bridge: Option<&LinkInfo>) -> Option<&'static str> {
    if !host.up || !inside.up {
        return Some("its veth is down: `ip link set IFNAME up` on both ends");
    }
    if bridge.is_some_and(|bridge| !bridge.up) {
        return Some("its bridge is down: `ip link set BRIDGE up`");
    }
    let blocked = host.forwarding == Some(false);
    blocked.then_some("its port does not forward: see `bridge link` for its spanning tree state")
}

/// Why the bridge may keep a port's container from others, if so, though nothing is down.
pub fn apart(port: &LinkInfo, bridge: &LinkInfo) -> Option<&'static str> {
    match () {
        () if port.isolated == Some(true) => {
            Some("its port is isolated on the bridge: --force joins it all the same")
        }
        () if port.locked == Some(true) => {
            Some("its port is locked on the bridge: --force joins it all the same")
        }
        () if bridge.vlan_filtering == Some(true) => Some(
            "its bridge filters VLANs, and may keep the containers apart: --force joins them all the same",
        ),
        () => None,
    }
}
