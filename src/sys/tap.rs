//! Taps: the frames with a mark that an interface receives and sends (packet(7)).
//!
//! What is received is seen before traffic control and after XDP; what is sent, when the stack hands it to the
//! driver. What a program redirects does not come by.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::socket::{bind_packet, open, set_option, unspecified};
use crate::{Error, Result};

/// The longest frame: 64 KiB of IP, its Ethernet header, and some.
const ROOM: usize = (1 << 16) + 64;
/// Where the mark stands in a frame: after an Ethernet header, one of IP without options, and 8 bytes of
/// UDP or ICMP.
pub const MARK_AT: [u32; 2] = [14 + 20 + 8, 14 + 40 + 8];

/// Bytes of marked frames that are kept in one go: a mark is seen by others, who may send it too.
const KEPT: usize = 8 << 20;
/// How many are looked at in one go.
const MOST: usize = 1 << 14;
/// Bytes of frames that wait to be taken: no filter is given to the kernel, so that a busy interface fills it soon.
const BUFFER: i32 = 32 << 20;

/// A frame that came by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// From its Ethernet header on.
    pub bytes: Vec<u8>,
    /// The interface sends it.
    pub outgoing: bool,
    /// The kernel knows that its checksum is still to be made, by a device: it is not to be looked at.
    pub unfinished: bool,
}

/// The same, with its bytes in a buffer.
struct Passed {
    len: usize,
    outgoing: bool,
    unfinished: bool,
}

/// A socket that gets them.
#[derive(Debug)]
pub struct Tap {
    socket: OwnedFd,
}

impl Tap {
    /// On an interface of the calling thread's namespace, from now on.
    pub fn on(ifindex: u32) -> Result<Self> {
        // Opened for no protocol: nothing comes before it is bound.
        let socket = open(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0, "packet")?;
        let buffer = (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE);
        set_option(&socket, buffer, "SO_RCVBUFFORCE", BUFFER)?;
        let auxdata = (libc::SOL_PACKET, libc::PACKET_AUXDATA);
        set_option(&socket, auxdata, "PACKET_AUXDATA", 1)?;
        bind_packet(&socket, ifindex)?;
        Ok(Self { socket })
    }

    /// Those since the last call that have this word at [`MARK_AT`], as far as there was room for all that came;
    /// and whether there was.
    pub fn take(&self, mark: u32) -> Result<(Vec<Frame>, bool)> {
        let mut buf = vec![0; ROOM];
        let (mut frames, mut kept) = (Vec::new(), 0);
        // No more than were there by now: on a busy interface there is no end of them.
        for _ in 0..MOST {
            let Some(Passed { len, outgoing, unfinished }) = self.next(&mut buf)? else { break };
            let bytes = buf.get(..len).unwrap_or_default();
            let word = |at: u32| bytes.get(at as usize..)?.first_chunk().copied();
            if MARK_AT.into_iter().any(|at| word(at) == Some(mark.to_be_bytes())) {
                kept += len;
                if kept > KEPT {
                    return Ok((frames, false));
                }
                frames.push(Frame { bytes: bytes.to_vec(), outgoing, unfinished });
            }
        }
        Ok((frames, self.dropped()? == 0))
    }

    /// How many the kernel had no room for since the last call (packet(7), PACKET_STATISTICS).
    fn dropped(&self) -> Result<u32> {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut len = size_of_val(&stats) as libc::socklen_t;
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
        let to = (&raw mut stats).cast();
        // SAFETY: the numbers are written, which are as long as `len` says.
        let got =
            unsafe { libc::getsockopt(self.socket.as_raw_fd(), level, option, to, &raw mut len) };
        Errno::result(got).map_err(Error::sys("getsockopt", "PACKET_STATISTICS"))?;
        Ok(stats.tp_drops)
    }

    fn next(&self, buf: &mut [u8]) -> Result<Option<Passed>> {
        let mut from = unspecified();
        // Aligned as control messages are.
        let mut control = [0u64; 16];
        let mut piece = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
        // SAFETY: numbers and null addresses, for which zero is a valid value.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = size_of_val(&from) as libc::socklen_t;
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: name, buffer and control are writable, and as long as the message says.
        let got = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let len = match Errno::result(got) {
            Ok(len) => len as usize,
            Err(Errno::EAGAIN) => return Ok(None),
            // Told once, of an interface that is or was down; what came before is still to be had.
            Err(Errno::ENETDOWN) => return self.next(buf),
            Err(errno) => return Err(Error::sys("recvmsg", "packet socket")(errno)),
        };
        let unfinished = status(&message) & libc::TP_STATUS_CSUMNOTREADY != 0;
        let outgoing = from.sll_pkttype == libc::PACKET_OUTGOING;
        Ok(Some(Passed { len, outgoing, unfinished }))
    }
}

/// `tp_status` of the message's `PACKET_AUXDATA`.
fn status(message: &libc::msghdr) -> u32 {
    // SAFETY: the kernel has filled in the control messages, of which there is at most this one, and says how
    // long they are.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        let is_it = !header.is_null()
            && (*header).cmsg_level == libc::SOL_PACKET
            && (*header).cmsg_type == libc::PACKET_AUXDATA;
        match is_it {
            true => libc::CMSG_DATA(header).cast::<u32>().read_unaligned(),
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::Rtnl;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, privileged};
    use std::net::{SocketAddr, UdpSocket};

    /// A tap on the loopback of the calling thread's namespace, and a socket that can send to itself there.
    fn on_loopback() -> (Tap, UdpSocket, SocketAddr) {
        let rtnl = Rtnl::open_in(&Netns::current().expect("current")).expect("socket");
        rtnl.set_up(1, true).expect("up");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        let to = socket.local_addr().expect("address");
        (Tap::on(1).expect("tap"), socket, to)
    }

    #[test]
    fn what_is_marked_comes_by() {
        if !privileged("tap::what_is_marked_comes_by") {
            return;
        }
        in_new_netns(|| {
            let (tap, socket, to) = on_loopback();
            // Another mark, and what is too short for one.
            for payload in [&b"\x01\x02\x03\x05"[..], b"\x01\x02", b"\x01\x02\x03\x04, the mark"] {
                socket.send_to(payload, to).expect("sent");
            }
            let (frames, all) = tap.take(0x0102_0304).expect("frames");
            assert!(all);
            let ways: Vec<bool> = frames.iter().map(|frame| frame.outgoing).collect();
            assert_eq!(ways, [true, false], "{frames:?}");
            assert!(frames.iter().all(|frame| frame.bytes.ends_with(b"the mark")));
            // The loopback leaves sums to the device that it is.
            assert!(frames.iter().all(|frame| frame.unfinished));
            assert_eq!(tap.take(0x0102_0304).expect("frames"), (vec![], true));
        });
    }

    /// Somebody who floods with the mark does not fill our memory, and it is known that not all was seen.
    #[test]
    fn a_flood_of_marks_is_not_kept() {
        if !privileged("tap::a_flood_of_marks_is_not_kept") {
            return;
        }
        in_new_netns(|| {
            let (tap, socket, to) = on_loopback();
            let mut payload = vec![0; 60_000];
            payload[..4].copy_from_slice(&[1, 2, 3, 4]);
            // Each is seen twice: more than is kept, and than the kernel has room for.
            for (count, least) in [(100, KEPT / 2), (3 * BUFFER as usize / payload.len(), 1)] {
                for _ in 0..count {
                    socket.send_to(&payload, to).expect("sent");
                }
                let (frames, all) = tap.take(0x0102_0304).expect("frames");
                let kept: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
                assert!(!all && (least..=KEPT).contains(&kept), "{all} {kept}");
            }
        });
    }
}
