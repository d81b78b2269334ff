//! One request, its whole answer: the acknowledgement, the end of the dump, or the error with
//! the kernel's own words.

use std::cell::Cell;
use std::io;

use neli::consts::nl::{NlmF, Nlmsg, NlmsgerrAttr};
use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use nix::errno::Errno;

use super::msg::{Message, Reply, attr, replies, text, u32_at};
use crate::error::hint;
use crate::sys::netns::Netns;
use crate::{Error, Result};

/// How often a dump is asked again when it changed while it was read.
const DUMP_TRIES: usize = 8;
/// How much the kernel puts into one datagram of a dump at most, if there is room for it: what does not fit in
/// less may be left out without a word.
const ROOM: usize = 32 << 10;

/// A netlink socket; it belongs to the namespace that it was opened in.
pub(crate) struct Socket {
    socket: NlSocket,
    seq: Cell<u32>,
}

/// What a request is about, for its errors.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) call: &'static str,
    pub(crate) on: &'a str,
}

/// A message of the answer: its kind and what follows the header.
pub(crate) type Item = (u16, Vec<u8>);
/// Who takes them as they come.
pub(crate) type Each<'e> = &'e mut dyn FnMut(Option<(u16, &[u8])>) -> Option<()>;

impl Socket {
    pub(crate) fn open_in(netns: &Netns, family: NlFamily) -> Result<Self> {
        let open = || {
            let socket = NlSocket::connect(family, None, Groups::empty())?;
            socket.enable_ext_ack(true)?;
            Ok(socket)
        };
        let socket = netns.run(open)?.map_err(|error: io::Error| {
            Error::sys("netlink socket", netns.path().display())(errno_of(&error))
        })?;
        Ok(Self { socket, seq: Cell::new(0) })
    }

    /// Asks for one thing, or to do one. Gives the messages before the acknowledgement.
    pub(crate) fn ask(&self, about: About, message: Message) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        self.talk(about, message, &mut |item| keep(&mut items, item))?;
        Ok(items)
    }

    /// Asks for all of a kind; `make` makes the request, again if things changed meanwhile.
    pub(crate) fn dump(&self, about: About, make: impl Fn() -> Message) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        self.dump_each(about, &make, &mut |item| keep(&mut items, item))?;
        Ok(items)
    }

    /// The same, where `each` takes what it needs of each message as it comes: its kind and what follows the header.
    /// Given nothing, it begins, also again. What it can't read (`None`) is malformed.
    pub(crate) fn dump_each(
        &self,
        about: About,
        make: &dyn Fn() -> Message,
        each: Each,
    ) -> Result<()> {
        for _ in 0..DUMP_TRIES {
            each(None);
            if !self.talk(about, make(), each)? {
                return Ok(());
            }
        }
        Err(refused(about, Errno::EINTR, None))
    }

    /// Gives the messages of the answer to `each`. Says whether they may contradict each other.
    fn talk(&self, about: About, message: Message, each: Each) -> Result<bool> {
        let failed = |error: io::Error| refused(about, errno_of(&error), None);
        let seq = self.seq.get().wrapping_add(1);
        self.seq.set(seq);
        self.socket.send(message.finish(seq), Msg::empty()).map_err(failed)?;
        let (mut buffer, mut interrupted) = (vec![0; ROOM], false);
        loop {
            let len = self.receive(&mut buffer).map_err(failed)?;
            for reply in replies(buffer.get(..len).unwrap_or_default()) {
                let reply = reply.ok_or(malformed(about))?;
                if reply.seq != seq {
                    continue; // left over from a request that failed half-way
                }
                interrupted |= reply.flags & NlmF::DUMP_INTR.bits() != 0;
                match Nlmsg::from(reply.kind) {
                    Nlmsg::Error | Nlmsg::Done => {
                        return verdict(about, &reply).map(|()| interrupted);
                    }
                    _ => each(Some((reply.kind, reply.body))).ok_or_else(|| malformed(about))?,
                }
            }
        }
    }

    /// One datagram, whole. Gives its length; the buffer grows if need be.
    fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        // With MSG_TRUNC the length is the datagram's, not the buffer's.
        let len = self.recv(buffer, Msg::PEEK | Msg::TRUNC)?;
        buffer.resize(buffer.len().max(len), 0);
        self.recv(buffer, Msg::empty())
    }

    /// A signal is no reason to leave an answer half read.
    fn recv(&self, buf: &mut [u8], flags: Msg) -> io::Result<usize> {
        loop {
            match self.socket.recv(&mut *buf, flags) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received.map(|(len, _)| len),
            }
        }
    }
}

/// Keeps a message; without one, none.
fn keep(items: &mut Vec<Item>, item: Option<(u16, &[u8])>) -> Option<()> {
    match item {
        Some((kind, body)) => items.push((kind, body.to_vec())),
        None => items.clear(),
    }
    Some(())
}

/// What `NLMSG_ERROR` or `NLMSG_DONE` says: a negative errno, or zero if all is well. After it
/// an error has the request's header, the request's body unless `NLM_F_CAPPED`, and the
/// extended ack's attributes if `NLM_F_ACK_TLVS`.
fn verdict(about: About, reply: &Reply) -> Result<()> {
    let code = match u32_at(reply.body, 0) {
        Some(code) => code as i32,
        None if reply.kind == u16::from(Nlmsg::Done) => 0,
        None => return Err(malformed(about)),
    };
    if code == 0 {
        return Ok(());
    }
    let has = |flag: NlmF| reply.flags & flag.bits() != 0;
    let request = match u32_at(reply.body, 4) {
        _ if reply.kind == u16::from(Nlmsg::Done) => 0,
        _ if has(NlmF::CAPPED) => 16,
        len => len.unwrap_or(u32::MAX) as usize,
    };
    let tlvs = request.saturating_add(4 + 3) & !3;
    let tlvs = reply.body.get(tlvs..).filter(|_| has(NlmF::ACK_TLVS)).unwrap_or(&[]);
    Err(refused(about, Errno::from_raw(code.saturating_neg()), attr(tlvs, NlmsgerrAttr::Msg)))
}

fn refused(about: About, errno: Errno, words: Option<&[u8]>) -> Error {
    let message = words.map(text).filter(|words| !words.is_empty());
    Error::Netlink { call: about.call, on: about.on.into(), errno, message, hint: hint(errno) }
}

pub(super) fn malformed(about: About) -> Error {
    Error::Reply { call: about.call, on: about.on.into() }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About = About { call: "RTM_SETLINK", on: "veth0" };

    fn error_reply(flags: u16, request_len: u32) -> Vec<u8> {
        let mut body = (-34i32).to_ne_bytes().to_vec();
        body.extend(request_len.to_ne_bytes());
        body.resize(4 + 16, 0);
        if flags & NlmF::CAPPED.bits() == 0 {
            body.resize(4 + request_len as usize, 0);
        }
        body.extend([8u16.to_ne_bytes(), 1u16.to_ne_bytes()].concat());
        body.extend(b"why\0");
        body
    }

    #[test]
    fn the_kernels_words_are_told() {
        let tlvs = NlmF::ACK_TLVS.bits();
        for flags in [tlvs, tlvs | NlmF::CAPPED.bits()] {
            let body = error_reply(flags, 40);
            let error = verdict(ABOUT, &Reply { kind: 2, flags, seq: 0, body: &body });
            let error = error.expect_err("-34").to_string();
            assert!(error.ends_with("(ERANGE): why"), "{error}");
        }
    }

    #[test]
    fn truncated_errors_are_errors() {
        for flags in 0..=u16::MAX {
            let body = error_reply(flags, 40);
            for len in (0..body.len()).step_by(if flags & 0xff == 0 { 1 } else { 31 }) {
                let reply = Reply { kind: 2, flags, seq: 0, body: &body[..len] };
                assert!(verdict(ABOUT, &reply).is_err());
            }
        }
        // A length that would wrap.
        let mut body = error_reply(NlmF::ACK_TLVS.bits(), 40);
        body[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(verdict(ABOUT, &Reply { kind: 2, flags: 0x200, seq: 0, body: &body }).is_err());
    }
}
