//! How many packets an interface has seen.

use super::Rtnl;
use super::msg::{attr, u64_at};
use crate::Result;

/// `IFLA_STATS64` (include/uapi/linux/if_link.h)
const IFLA_STATS64: u16 = 23;

/// The beginning of `struct rtnl_link_stats64`, but for bytes and errors.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LinkStats {
    /// Received. What `bpf_redirect_peer` brings is among them on kernels from 6.7.
    pub rx_packets: u64,
    /// Sent.
    pub tx_packets: u64,
    /// Received, and no room for it.
    pub rx_dropped: u64,
    /// To be sent, and not taken.
    pub tx_dropped: u64,
}

impl Rtnl {
    /// The counters of an interface; `None` if there is none.
    pub fn link_stats(&self, ifindex: u32) -> Result<Option<LinkStats>> {
        let body = self.newlink(&format!("ifindex {ifindex}"), ifindex, |_| {})?;
        Ok(body.and_then(|body| {
            let stats = attr(body.get(16..)?, IFLA_STATS64)?;
            Some(LinkStats {
                rx_packets: u64_at(stats, 0)?,
                tx_packets: u64_at(stats, 8)?,
                rx_dropped: u64_at(stats, 48)?,
                tx_dropped: u64_at(stats, 56)?,
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, privileged};

    #[test]
    fn what_is_sent_is_counted() {
        if !privileged("stats::what_is_sent_is_counted") {
            return;
        }
        in_new_netns(|| {
            let rtnl = Rtnl::open_in(&Netns::current().expect("current")).expect("socket");
            rtnl.set_up(1, true).expect("up");
            let stats = || rtnl.link_stats(1).expect("asks").expect("the loopback");
            let before = stats();
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
            let to = socket.local_addr().expect("address");
            socket.send_to(b"x", to).expect("sent");
            let after = stats();
            let rise = [after.tx_packets - before.tx_packets, after.rx_packets - before.rx_packets];
            assert_eq!(rise, [1, 1]);
            assert_eq!(rtnl.link_stats(999).expect("asks"), None);
        });
    }
}
