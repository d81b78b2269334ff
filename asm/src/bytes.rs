//! Numbers in the byte order of a target: out, and in from what may be anything.

use crate::insn::ByteOrder;

/// Bytes that grow, in one order.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) order: ByteOrder,
    pub(crate) bytes: Vec<u8>,
}

impl Out {
    pub(crate) fn new(order: ByteOrder) -> Self {
        Self { order, bytes: Vec::new() }
    }

    /// A number, given in little-endian order.
    fn put<const N: usize>(&mut self, mut bytes: [u8; N]) -> &mut Self {
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        self.bytes.extend_from_slice(&bytes);
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.put([value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.put(value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.put(value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.put(value.to_le_bytes())
    }

    /// Several of 32 bits.
    pub(crate) fn u32s(&mut self, values: &[u32]) -> &mut Self {
        values.iter().for_each(|value| {
            self.u32(*value);
        });
        self
    }

    pub(crate) fn len(&self) -> u32 {
        self.bytes.len() as u32
    }
}

/// Bytes from outside, in one order. What is not there is `None`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct In<'a> {
    pub(crate) order: ByteOrder,
    pub(crate) bytes: &'a [u8],
}

impl<'a> In<'a> {
    /// The bytes of a number, in little-endian order.
    fn take<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        let mut bytes: [u8; N] = *self.bytes.get(at..)?.first_chunk()?;
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        Some(bytes)
    }

    pub(crate) fn u8(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(crate) fn u16(self, at: usize) -> Option<u16> {
        self.take(at).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(self, at: usize) -> Option<u32> {
        self.take(at).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(self, at: usize) -> Option<u64> {
        self.take(at).map(u64::from_le_bytes)
    }

    /// A part of it.
    pub(crate) fn part(self, at: u64, len: u64) -> Option<Self> {
        let at = usize::try_from(at).ok()?;
        let len = usize::try_from(len).ok()?;
        Some(Self { bytes: self.bytes.get(at..at.checked_add(len)?)?, ..self })
    }

    /// The string at `at`, without its NUL. No name is longer than the kernel's longest
    /// (`KSYM_NAME_LEN`): a longer one is cut, so that many that overlap can't take all memory.
    pub(crate) fn name(self, at: u32) -> Option<&'a [u8]> {
        const MOST: usize = 512;
        let rest = self.bytes.get(at as usize..)?;
        let rest = rest.get(..MOST).unwrap_or(rest);
        Some(rest.split(|b| *b == 0).next().unwrap_or(rest))
    }
}
