//! Slots: instructions as the kernel has them, whatever they hold.

use xhop_asm::insn::SLOT;
use xhop_asm::{ByteOrder, Insn, Slot, disassemble};

/// Whole slots in the machine's byte order; what is left over is dropped.
pub fn read(bytes: &[u8]) -> Vec<Slot> {
    let whole = bytes.chunks_exact(SLOT).filter_map(|bytes| bytes.try_into().ok());
    whole.map(|bytes| Slot::from_bytes(bytes, ByteOrder::NATIVE)).collect()
}

/// The slots of one of our instructions.
pub fn of(insn: Insn) -> Vec<Slot> {
    let mut bytes = Vec::with_capacity(2 * SLOT);
    insn.encode(ByteOrder::NATIVE, &mut bytes);
    read(&bytes)
}

/// The first instruction of these as text.
pub fn shown(slots: &[Slot]) -> String {
    let order = ByteOrder::Little;
    let bytes: Vec<u8> = slots.iter().take(2).flat_map(|slot| slot.to_bytes(order)).collect();
    let first = disassemble(&bytes, order).into_iter().next();
    first.map_or("nothing".into(), |item| item.to_string())
}
