//! pcapng files that are written: one section, its interfaces, and packets each with what is said of it.

use std::io::{self, Write};

use super::{ETHERNET, Frame, ng};

/// Options (draft-ietf-opsawg-pcapng): of any block, of a section, of an interface, of its statistics.
const COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;
const ISB_FILTERACCEPT: u16 = 6;
/// Time stamps are in nanoseconds: ten to the minus ninth.
const NANOSECONDS: u8 = 9;

/// An interface of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub description: String,
}

/// Writes a capture as it comes, little-endian.
pub struct Writer<W: Write> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a file, of a capture by this program.
    pub fn new(out: W, by: &str) -> io::Result<Self> {
        let mut writer = Self { out };
        let mut section = ng::BYTE_ORDER.to_le_bytes().to_vec();
        // Version 1.0, of a length that is not known yet.
        section.extend([1, 0, 0, 0]);
        section.extend(u64::MAX.to_le_bytes());
        option(&mut section, SHB_USERAPPL, by.as_bytes());
        end_of_options(&mut section);
        writer.block(u32::from_le_bytes(ng::MAGIC), &section)?;
        Ok(writer)
    }

    /// Adds an interface, with at most `snaplen` bytes of a packet.
    pub fn interface(&mut self, interface: &Interface, snaplen: u32) -> io::Result<()> {
        let mut body = (ETHERNET as u16).to_le_bytes().to_vec();
        body.extend([0, 0]);
        body.extend(snaplen.to_le_bytes());
        option(&mut body, IF_NAME, interface.name.as_bytes());
        option(&mut body, IF_DESCRIPTION, interface.description.as_bytes());
        option(&mut body, ng::IF_TSRESOL, &[NANOSECONDS]);
        end_of_options(&mut body);
        self.block(ng::INTERFACE, &body)
    }

    /// Adds a packet of an interface, by its place among them, and what is said of it.
    pub fn packet(&mut self, interface: u32, frame: &Frame, comment: &str) -> io::Result<()> {
        let mut body = interface.to_le_bytes().to_vec();
        body.extend(halves(frame.time));
        body.extend((frame.data.len() as u32).to_le_bytes());
        body.extend(frame.original_len.to_le_bytes());
        body.extend(frame.data);
        fill(&mut body);
        option(&mut body, COMMENT, comment.as_bytes());
        end_of_options(&mut body);
        self.block(ng::ENHANCED_PACKET, &body)
    }

    /// Says of an interface how many packets came by, how many of them were lost to the capture, and how many are
    /// in the file.
    pub fn statistics(&mut self, interface: u32, time: u64, counts: [u64; 3]) -> io::Result<()> {
        const STATISTICS: u32 = 5;
        let mut body = interface.to_le_bytes().to_vec();
        body.extend(halves(time));
        for (code, count) in [ISB_IFRECV, ISB_IFDROP, ISB_FILTERACCEPT].into_iter().zip(counts) {
            option(&mut body, code, &count.to_le_bytes());
        }
        end_of_options(&mut body);
        self.block(STATISTICS, &body)
    }

    /// Where it is written to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// What was written can be read.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let total = (body.len() as u32 + 12).to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&total)?;
        self.out.write_all(body)?;
        self.out.write_all(&total)
    }
}

/// A time stamp: its upper half, then its lower.
fn halves(time: u64) -> Vec<u8> {
    [(time >> 32) as u32, time as u32].into_iter().flat_map(u32::to_le_bytes).collect()
}

/// An option; of a value that is too long for it, the beginning.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    fill(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

/// Up to whole words.
fn fill(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
