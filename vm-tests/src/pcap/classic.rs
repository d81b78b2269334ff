//! Classic pcap files: a header of 24 bytes, then records: 16 bytes and the frame.

use std::io::{self, Write};

use super::{Capture, ETHERNET, Error, Frame, Header, Order};

/// The first four bytes, where time stamps are in microseconds.
pub(super) const MICROS: u32 = 0xa1b2_c3d4;
/// Where they are in nanoseconds.
pub(super) const NANOS: u32 = 0xa1b2_3c4d;
/// Major and minor version, since 1998.
const VERSION: (u16, u16) = (2, 4);
/// The bits of the link field that are the link type; above are those about the FCS.
const LINKTYPE: u32 = 0x03ff_ffff;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

pub(super) fn read(file: &[u8], order: Order, nanos: bool) -> Result<Capture<'_>, Error> {
    let (head, mut rest) = file.split_first_chunk::<24>().ok_or(Error::CutOff { at: 0 })?;
    let version = (order.u16([head[4], head[5]]), order.u16([head[6], head[7]]));
    if version != VERSION {
        return Err(Error::Malformed { at: 4, what: "not version 2.4 of pcap" });
    }
    let word = |at| order.u32_at(head, at).unwrap_or_default();
    let header = Header { nanos, snaplen: word(16), link: word(20) };
    if header.link & LINKTYPE != ETHERNET {
        return Err(Error::Link { link: header.link & LINKTYPE });
    }
    let mut capture = Capture { header, frames: Vec::new() };
    while !rest.is_empty() {
        let at = file.len() - rest.len();
        let frame;
        (frame, rest) = record(rest, order, nanos).ok_or(Error::CutOff { at })?;
        capture.push(frame, at)?;
    }
    Ok(capture)
}

/// The first record's frame and what comes after; `None` if the file ends within it.
fn record(bytes: &[u8], order: Order, nanos: bool) -> Option<(Frame<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<16>()?;
    let word = |at| order.u32_at(head, at).unwrap_or_default();
    let (data, rest) = rest.split_at_checked(usize::try_from(word(8)).ok()?)?;
    let unit = if nanos { 1 } else { 1000 };
    let time = u64::from(word(0)) * NANOS_PER_SECOND + u64::from(word(4)) * unit;
    Some((Frame { time, original_len: word(12), data }, rest))
}

impl Header {
    /// Begins a file, in little-endian order.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut bytes = if self.nanos { NANOS } else { MICROS }.to_le_bytes().to_vec();
        bytes.extend(VERSION.0.to_le_bytes());
        bytes.extend(VERSION.1.to_le_bytes());
        // Time zone and accuracy, which nobody uses.
        bytes.extend([0; 8]);
        bytes.extend(self.snaplen.to_le_bytes());
        bytes.extend(self.link.to_le_bytes());
        out.write_all(&bytes)
    }

    /// Adds a frame. Errors: `out`'s, a time after 2106, a frame of 4 GiB.
    pub fn write_frame(&self, frame: &Frame, out: &mut dyn Write) -> io::Result<()> {
        let unit = if self.nanos { 1 } else { 1000 };
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let seconds = u32::try_from(frame.time / NANOS_PER_SECOND)
            .map_err(|_| invalid("a time stamp after 2106 does not fit a pcap file"))?;
        let fraction = (frame.time % NANOS_PER_SECOND / unit) as u32;
        let len = u32::try_from(frame.data.len())
            .map_err(|_| invalid("a frame of 4 GiB does not fit a pcap file"))?;
        for word in [seconds, fraction, len, frame.original_len] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(frame.data)
    }
}
