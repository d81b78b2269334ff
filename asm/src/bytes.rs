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

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        });
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        });
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        });
        self
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
