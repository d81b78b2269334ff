//! Why a file is no capture that can be run.

use std::fmt;

/// What is wrong with a file, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// Shorter than the number that tells what it is.
    Short,
    /// Neither pcap nor pcapng.
    Unknown {
        /// Its first bytes.
        magic: [u8; 4],
    },
    /// It ends within a header, a frame or a block.
    CutOff {
        /// Where that starts, in bytes from the file's begin.
        at: usize,
    },
    /// It contradicts itself.
    Malformed {
        /// Where, in bytes from the file's begin.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// Its frames are not Ethernet.
    Link {
        /// The number of their link type (`LINKTYPE_*`).
        link: u32,
    },
    /// More frames than are taken.
    TooMany {
        /// Where the first that is too many starts.
        at: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "too short for a capture: make one with `tcpdump -w FILE`"),
            Self::Unknown { magic: [a, b, c, d] } => write!(
                f,
                "begins with {a:02x} {b:02x} {c:02x} {d:02x}, neither pcap nor pcapng: make one with `tcpdump -w FILE`"
            ),
            Self::CutOff { at } => write!(
                f,
                "ends within what starts at byte {at}: `tcpdump -r FILE -w OTHER` keeps what is whole"
            ),
            Self::Malformed { at, what } => {
                write!(f, "{what} (at byte {at}): capture or copy it again")
            }
            Self::Link { link } => write!(
                f,
                "link type {link}, not Ethernet (1): capture on one Ethernet interface, not on `any`"
            ),
            Self::TooMany { at } => write!(
                f,
                "more than {} packets (at byte {at}): `tcpdump -r FILE -c N -w OTHER` takes fewer",
                super::MAX_FRAMES
            ),
        }
    }
}

impl std::error::Error for Error {}
