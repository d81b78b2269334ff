//! A scene of throw-away containers, on a stage of the process's own (`sys::stage`).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::sys::netlink::Rtnl;
use crate::sys::netns::Netns;
use crate::sys::stage;
use crate::{Error, Result};

/// How long a veth may take to have its carrier.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes a bridge, up; gives its number.
pub fn bridge(host: &Rtnl, name: &str) -> Result<u32> {
    host.add_bridge(name)?;
    let bridge = index(host, name)?;
    host.set_up(bridge, true)?;
    Ok(bridge)
}

/// Makes a container with a name and an address: `eth0` in it, `veth-NAME` on the bridge.
pub fn container(host: &Rtnl, bridge: u32, name: &str, address: Ipv4Addr) -> Result<Netns> {
    stage::add_netns(name)?;
    let netns = Netns::open(format!("/run/netns/{name}"))?;
    let veth = format!("veth-{name}");
    host.add_veth(&veth, "eth0", &netns)?;
    let ifindex = index(host, &veth)?;
    host.set_master(ifindex, Some(bridge))?;
    host.set_up(ifindex, true)?;
    let inside = Rtnl::open_in(&netns)?;
    inside.set_up(index(&inside, "lo")?, true)?;
    let eth0 = index(&inside, "eth0")?;
    inside.set_up(eth0, true)?;
    inside.add_addr(eth0, address.into(), 24)?;
    Ok(netns)
}

/// Its number.
pub fn index(rtnl: &Rtnl, name: &str) -> Result<u32> {
    let link = rtnl.link(name)?.ok_or_else(|| Error::InterfaceGone { ifname: name.into() })?;
    Ok(link.ifindex)
}

/// The bridge forwards once its ports have their carrier.
pub fn wait_for_carrier(rtnl: &Rtnl) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if rtnl.links()?.iter().filter(|link| link.master.is_some()).all(|link| link.carrier) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Error::InterfaceGone { ifname: "veth-server".into() })
}
