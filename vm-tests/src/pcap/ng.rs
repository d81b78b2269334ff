//! pcapng files: blocks that name their type and length, in sections each with a byte order of its own.

use super::{Capture, ETHERNET, Error, Frame, Header, Order, SNAPLEN};

/// The first four bytes, the same in both orders: the type of a section header block.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The number by which a section header tells its order.
pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Types of blocks.
pub(super) const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
pub(super) const ENHANCED_PACKET: u32 = 6;

/// Options of an interface.
pub(super) const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// What packets of an interface need to be read.
struct Interface {
    link: u32,
    snaplen: u32,
    /// `if_tsresol`: a negative power of 10 or, with the highest bit, of 2.
    resolution: u8,
    /// Seconds to add to each time stamp.
    offset: i64,
}

/// A packet block's fields that precede the frame.
struct Packet {
    interface: usize,
    /// In units of the interface's own.
    ticks: Option<u64>,
    len: u32,
    original_len: u32,
    /// Where the frame starts in the block's body.
    at: usize,
}

pub(super) fn read(file: &[u8]) -> Result<Capture<'_>, Error> {
    let header = Header { nanos: false, snaplen: SNAPLEN, link: ETHERNET };
    let mut capture = Capture { header, frames: Vec::new() };
    let (mut order, mut interfaces, mut rest) = (Order::Little, Vec::new(), file);
    while !rest.is_empty() {
        let at = file.len() - rest.len();
        if rest.starts_with(&MAGIC) {
            order = section(rest, at)?;
            interfaces.clear();
        }
        let (kind, body);
        (kind, body, rest) = block(rest, order, at)?;
        let malformed = |what| Error::Malformed { at, what };
        match kind {
            INTERFACE => interfaces.push(
                interface(body, order).ok_or(malformed("an interface block that is too short"))?,
            ),
            OLD_PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {
                let packet = packet(kind, body, order, &interfaces)
                    .ok_or(malformed("a packet block that is too short"))?;
                capture.push(frame(packet, body, &interfaces, at)?, at)?;
            }
            // Names, statistics, comments, secrets.
            _ => {}
        }
    }
    capture.header.nanos = capture.frames.iter().any(|frame| frame.time % 1000 != 0);
    Ok(capture)
}

/// The order of the section that begins here.
fn section(bytes: &[u8], at: usize) -> Result<Order, Error> {
    let head = bytes.get(8..14).ok_or(Error::CutOff { at })?;
    let order = [Order::Little, Order::Big]
        .into_iter()
        .find(|order| order.u32_at(head, 0) == Some(BYTE_ORDER))
        .ok_or(Error::Malformed { at, what: "a section without byte order" })?;
    match order.u16_at(head, 4) {
        Some(1) => Ok(order),
        _ => Err(Error::Malformed { at, what: "not version 1 of pcapng" }),
    }
}

/// The first block's type and body, and what comes after.
fn block(bytes: &[u8], order: Order, at: usize) -> Result<(u32, &[u8], &[u8]), Error> {
    let cut_off = Error::CutOff { at };
    let head = order.u32_at(bytes, 0).zip(order.u32_at(bytes, 4));
    let (kind, len) = head.ok_or(cut_off.clone())?;
    if len < 12 || len % 4 != 0 {
        return Err(Error::Malformed { at, what: "a block with an impossible length" });
    }
    let (block, rest) = bytes.split_at_checked(len as usize).ok_or(cut_off)?;
    match block.get(8..block.len() - 4) {
        Some(body) if order.u32_at(block, block.len() - 4) == Some(len) => Ok((kind, body, rest)),
        _ => Err(Error::Malformed { at, what: "a block with two different lengths" }),
    }
}

fn interface(body: &[u8], order: Order) -> Option<Interface> {
    let mut interface = Interface {
        link: order.u16_at(body, 0)?.into(),
        snaplen: order.u32_at(body, 4)?,
        resolution: 6,
        offset: 0,
    };
    let mut options = body.get(8..)?;
    while let (Some(code), Some(len)) = (order.u16_at(options, 0), order.u16_at(options, 2)) {
        let len = usize::from(len);
        let value = options.get(4..4 + len)?;
        match (code, value) {
            (0, _) => break,
            (IF_TSRESOL, [resolution]) => interface.resolution = *resolution,
            (IF_TSOFFSET, _) => {
                let [low, high] = match order {
                    Order::Little => [0, 4],
                    Order::Big => [4, 0],
                };
                let word = |at| order.u32_at(value, at).map(u64::from);
                interface.offset = (word(high)? << 32 | word(low)?) as i64;
            }
            _ => {}
        }
        options = options.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(interface)
}

fn packet(kind: u32, body: &[u8], order: Order, interfaces: &[Interface]) -> Option<Packet> {
    let word = |at| order.u32_at(body, at);
    Some(match kind {
        // It has no length of its own, no interface but the first, and no time.
        SIMPLE_PACKET => {
            let original_len = word(0)?;
            let snaplen = interfaces.first().map(|interface| interface.snaplen);
            let len = original_len.min(snaplen.filter(|len| *len > 0).unwrap_or(u32::MAX));
            Packet { interface: 0, ticks: None, len, original_len, at: 4 }
        }
        _ => Packet {
            interface: match kind {
                OLD_PACKET => order.u16_at(body, 0)?.into(),
                _ => usize::try_from(word(0)?).ok()?,
            },
            ticks: Some(u64::from(word(4)?) << 32 | u64::from(word(8)?)),
            len: word(12)?,
            original_len: word(16)?,
            at: 20,
        },
    })
}

fn frame<'a>(
    packet: Packet,
    body: &'a [u8],
    interfaces: &[Interface],
    at: usize,
) -> Result<Frame<'a>, Error> {
    let malformed = |what| Error::Malformed { at, what };
    let interface = interfaces
        .get(packet.interface)
        .ok_or(malformed("a packet of an interface that is not described"))?;
    if interface.link != ETHERNET {
        return Err(Error::Link { link: interface.link });
    }
    let time = packet.ticks.map_or(Some(0), |ticks| interface.time(ticks));
    let time = time.ok_or(malformed("a time stamp out of range"))?;
    let data = body.get(packet.at..).and_then(|data| data.get(..packet.len as usize));
    let data = data.ok_or(malformed("a packet longer than its block"))?;
    Ok(Frame { time, original_len: packet.original_len, data })
}

impl Interface {
    /// Nanoseconds since 1970; `None` if they do not fit.
    fn time(&self, ticks: u64) -> Option<u64> {
        let nanos = u128::from(ticks) * 1_000_000_000;
        let exponent = u32::from(self.resolution & 0x7f);
        let nanos = match self.resolution & 0x80 {
            0 => nanos / 10u128.checked_pow(exponent).unwrap_or(u128::MAX),
            _ => nanos >> exponent,
        };
        let offset = i128::from(self.offset) * 1_000_000_000;
        u64::try_from(i128::try_from(nanos).ok()? + offset).ok()
    }
}
