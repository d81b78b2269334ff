//! The packet in memory.
//!
//! Its last byte always touches a guard page, and the memory that `rbpf` checks to the byte ends
//! there too. So when `bpf_xdp_adjust_tail` moves the end, the packet is moved instead and
//! `data_end` stays: a program must load both pointers again, as the kernel's verifier makes it
//! do, and one that does not reads [`POISON`].

use std::cell::Cell;
use std::io;
use std::ops::Range;

use crate::memory::{self, Room};

/// What is left where the packet was.
pub(crate) const POISON: u8 = 0xa5;
/// `ETH_HLEN`: the kernel shortens no packet below it.
const ETH_HLEN: usize = 14;
/// The longest packet: an IP packet of 64 KiB with an Ethernet header and two VLAN tags.
pub(crate) const MAX_PACKET: usize = 65535 + ETH_HLEN + 2 * 4;
/// How far `bpf_xdp_adjust_tail` can grow a packet: a page of 4 KiB less 256 bytes of headroom
/// and 320 of `skb_shared_info`, which is what `BPF_PROG_TEST_RUN` gives.
const MAX_GROWN: usize = 4096 - 256 - 320;

/// The place of one packet.
pub(crate) struct Buffer {
    main: Room,
    /// A packet that grew over its first length comes here. `rbpf` can check this room's end only
    /// by the guard page, so only programs that move the tail have it.
    grown: Option<Room>,
    first_len: Cell<usize>,
    len: Cell<usize>,
}

impl Buffer {
    /// Memory for packets; `grows` if the program may make them longer.
    pub(crate) fn new(grows: bool) -> io::Result<Self> {
        let grown = if grows { Some(Room::new(MAX_GROWN)?) } else { None };
        Ok(Self { main: Room::new(MAX_PACKET)?, grown, first_len: Cell::new(0), len: Cell::new(0) })
    }

    /// Puts a packet into it, at most [`MAX_PACKET`] bytes.
    pub(crate) fn place(&self, packet: &[u8]) {
        self.first_len.set(packet.len());
        self.len.set(packet.len());
        memory::fill(self.cells(), packet);
    }

    /// The packet's bytes where they are now.
    pub(crate) fn cells(&self) -> &[Cell<u8>] {
        let len = self.len.get();
        let grown = self.grown.as_ref().filter(|_| len > self.first_len.get());
        grown.unwrap_or(&self.main).tail(len)
    }

    /// What `rbpf` can't check to the byte: where a packet may grow to.
    pub(crate) fn growth(&self) -> Option<Range<u64>> {
        self.grown.as_ref().map(|room| memory::addresses(room.tail(MAX_GROWN)))
    }

    /// Whether the address is in the packet's memory or its guards.
    pub(crate) fn owns(&self, addr: u64) -> bool {
        let grown = self.grown.as_ref().is_some_and(|room| room.addresses().contains(&addr));
        grown || self.main.addresses().contains(&addr)
    }

    /// Moves the packet's end by `delta` bytes; `false` where the kernel says -EINVAL
    /// (`bpf_xdp_adjust_tail`, net/core/filter.c).
    pub(crate) fn adjust_tail(&self, delta: i32) -> bool {
        let Some(len) = self.len.get().checked_add_signed(delta as isize) else { return false };
        if len < ETH_HLEN || (delta > 0 && (len > MAX_GROWN || self.grown.is_none())) {
            return false;
        }
        let mut packet = memory::copy(self.cells());
        packet.resize(len, 0);
        self.cells().iter().for_each(|cell| cell.set(POISON));
        self.len.set(len);
        memory::fill(self.cells(), &packet);
        true
    }
}
