//! What changes: the kernel's notices of interfaces, addresses and traffic control, of the namespace and of
//! all others that it has numbers for (`NETLINK_LISTEN_ALL_NSID`, netlink(7)).

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use neli::consts::socket::NlFamily;
use neli::socket::NlSocket;
use neli::utils::Groups;
use nix::errno::Errno;

use super::Rtnl;
use super::msg::{replies, u32_at};
use crate::Result;
use crate::error::Error;
use crate::sys::netns::Netns;

/// `RTNLGRP_*` (include/uapi/linux/rtnetlink.h): links, qdiscs and filters, addresses.
const GROUPS: [u32; 4] = [1, 4, 5, 9];
/// include/uapi/linux/netlink.h
const NETLINK_LISTEN_ALL_NSID: i32 = 8;
/// Room for what comes while we are at work; the kernel gives what it may. Less means to look at all again.
const ROOM: usize = 1 << 20;
/// The kernel makes no notice larger than this (`NLMSG_GOODSIZE`), where pages have 4 KiB.
const NOTICE: usize = 1 << 14;

/// Something has changed about an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// One of the namespace itself, by its index.
    Here(u32),
    /// One of another namespace, by the number that this one has for it.
    There(i32),
    /// Notices were lost: anything may have changed.
    Lost,
}

/// Hears what changes from when it is opened.
pub struct Monitor {
    socket: NlSocket,
    /// The namespace's number for itself, if it has one.
    own: Option<i32>,
}

impl AsFd for Monitor {
    /// Readable when there is something to read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open while it is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

impl Monitor {
    /// Opens one in the caller's namespace. Needs CAP_NET_BROADCAST to hear of others.
    pub fn open(netns: &Netns) -> Result<Self> {
        let open = || {
            let socket = NlSocket::connect(NlFamily::Route, None, Groups::new_groups(&GROUPS))?;
            socket.nonblock()?;
            listen_to_all(&socket)?;
            // Either is only a wish.
            let _ = socket.set_recv_buffer_size(ROOM);
            Ok(socket)
        };
        let failed = |error: io::Error| match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::EPERM => Error::Privileges { missing: "CAP_NET_BROADCAST".into() },
            errno => Error::sys("NETLINK_LISTEN_ALL_NSID", netns.path().display())(errno),
        };
        let socket = netns.run(open)?.map_err(failed)?;
        Ok(Self { socket, own: Rtnl::open_in(netns)?.nsid_of(netns)? })
    }

    /// What has changed since; none if nothing has. Does not wait.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let (mut buffer, mut changes) = (vec![0; NOTICE], Vec::new());
        loop {
            let (len, nsid) = match receive(&self.socket, &mut buffer) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return Ok(changes),
                Err(Errno::EINTR) => continue,
                Err(Errno::ENOBUFS) => {
                    changes.push(Change::Lost);
                    continue;
                }
                Err(errno) => return Err(Error::sys("recvmsg", "netlink notices")(errno)),
            };
            let nsid = nsid.filter(|nsid| self.own != Some(*nsid));
            for reply in replies(buffer.get(..len).unwrap_or(&buffer)) {
                // ifinfomsg, ifaddrmsg and tcmsg all have the index there.
                let ifindex = reply.and_then(|reply| u32_at(reply.body, 4));
                changes.push(match (ifindex, nsid) {
                    (None, _) => Change::Lost,
                    (Some(_), Some(nsid)) => Change::There(nsid),
                    (Some(ifindex), None) => Change::Here(ifindex),
                });
            }
        }
    }
}

fn listen_to_all(socket: &NlSocket) -> io::Result<()> {
    let on = 1i32;
    // SAFETY: the kernel reads an int at this address.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            NETLINK_LISTEN_ALL_NSID,
            (&raw const on).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One datagram's length, and the number of the namespace that it is of, if that is another one.
fn receive(socket: &NlSocket, buffer: &mut [u8]) -> nix::Result<(usize, Option<i32>)> {
    /// Room for one control message with an int, aligned as `struct cmsghdr`.
    #[repr(align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: numbers and pointers, for which zero is valid.
    let header = unsafe { header.assume_init_mut() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: the header leads to two buffers that live, with their lengths.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), header, 0) };
    let len = Errno::result(len)? as usize;
    // SAFETY: the kernel has written the control messages and their length; these two stay within.
    let nsid = unsafe {
        let first = libc::CMSG_FIRSTHDR(header);
        let is_nsid = |first: &libc::cmsghdr| {
            (first.cmsg_level, first.cmsg_type) == (libc::SOL_NETLINK, NETLINK_LISTEN_ALL_NSID)
        };
        let has = first.as_ref().is_some_and(is_nsid);
        has.then(|| libc::CMSG_DATA(first).cast::<i32>().read_unaligned())
    };
    Ok((len, nsid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{in_new_netns, privileged};

    #[test]
    fn here_and_there() {
        if !privileged("monitor::here_and_there") {
            return;
        }
        let container = in_new_netns(|| Netns::current().expect("current"));
        in_new_netns(|| {
            let host = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&host).expect("socket");
            let monitor = Monitor::open(&host).expect("monitor");
            assert_eq!(monitor.changes().expect("changes"), []);

            rtnl.add_veth("vetha", "eth0", &container).expect("veth");
            let veth = rtnl.link("vetha").expect("links").expect("vetha").ifindex;
            assert!(monitor.changes().expect("changes").contains(&Change::Here(veth)));

            // What the container does is heard by its number.
            let nsid = rtnl.nsid_of(&container).expect("nsid").expect("has one");
            let inside = Rtnl::open_in(&container).expect("socket");
            let eth0 = inside.link("eth0").expect("links").expect("eth0").ifindex;
            monitor.changes().expect("changes");
            inside.add_addr(eth0, [10, 0, 0, 2].into(), 24).expect("address");
            assert_eq!(monitor.changes().expect("changes"), [Change::There(nsid)]);

            // What goes is heard too.
            rtnl.del_link(veth).expect("delete");
            assert!(monitor.changes().expect("changes").contains(&Change::Here(veth)));
        });
    }

    #[test]
    fn what_is_lost_is_told() {
        if !privileged("monitor::what_is_lost_is_told") {
            return;
        }
        in_new_netns(|| {
            let host = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&host).expect("socket");
            let monitor = Monitor::open(&host).expect("monitor");
            monitor.socket.set_recv_buffer_size(1).expect("less room");
            for mtu in 1000..1100 {
                rtnl.set_mtu(1, mtu).expect("mtu");
            }
            let changes = monitor.changes().expect("changes");
            assert!(changes.contains(&Change::Lost), "{changes:?}");
            assert_eq!(monitor.changes().expect("changes"), []);
        });
    }
}
