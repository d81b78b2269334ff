//! Captures: classic pcap (pcap-savefile(5)) and pcapng (draft-ietf-opsawg-pcapng) are read and written.
//!
//! Reading is slicing: the frames stay where they lie in the file, so that no length that a file
//! claims is ever allocated, and a file takes time and memory by its true size alone.

mod classic;
mod error;
mod ng;
mod order;
mod writer;

pub use error::Error;
pub use writer::{Interface, Writer};

use order::Order;

/// `LINKTYPE_ETHERNET`, the only link type that is taken.
const ETHERNET: u32 = 1;
/// The most frames that are taken from one file.
pub const MAX_FRAMES: usize = 1_000_000;
/// The snap length that tcpdump writes, for captures that have none.
const SNAPLEN: u32 = 262_144;

/// A capture's frames, in its order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture<'a> {
    /// How a classic file with these frames begins.
    pub header: Header,
    /// All frames.
    pub frames: Vec<Frame<'a>>,
}

/// What a classic pcap file says of all of its frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whether time stamps are written in nanoseconds, not in microseconds.
    pub nanos: bool,
    /// The most bytes that were captured of a frame.
    pub snaplen: u32,
    /// The link type, which is Ethernet, with the bits about a frame check sequence above it.
    pub link: u32,
}

/// A frame as it was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// How long it was on the wire: more than `data` where the capture cut it.
    pub original_len: u32,
    /// From the Ethernet header on.
    pub data: &'a [u8],
}

impl Frame<'_> {
    /// Whether the capture cut it.
    pub fn is_cut(&self) -> bool {
        self.data.len() < self.original_len as usize
    }
}

impl<'a> Capture<'a> {
    /// Reads a whole file. Errors: it is none, it is broken, it has frames that are not Ethernet, or
    /// more than [`MAX_FRAMES`].
    pub fn read(file: &'a [u8]) -> Result<Self, Error> {
        let magic = file.first_chunk::<4>().ok_or(Error::Short)?;
        if *magic == ng::MAGIC {
            return ng::read(file);
        }
        for order in [Order::Little, Order::Big] {
            match order.u32(*magic) {
                classic::MICROS => return classic::read(file, order, false),
                classic::NANOS => return classic::read(file, order, true),
                _ => {}
            }
        }
        Err(Error::Unknown { magic: *magic })
    }

    /// Adds a frame that starts at byte `at` of the file.
    fn push(&mut self, frame: Frame<'a>, at: usize) -> Result<(), Error> {
        if self.frames.len() >= MAX_FRAMES {
            return Err(Error::TooMany { at });
        }
        self.frames.push(frame);
        Ok(())
    }
}
