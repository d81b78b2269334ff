//! What a run sees: the context, the packet and the maps, and what it leaves behind.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use xhop_asm::xdp::xdp_md;
use xhop_asm::{Helper, Program};

use crate::buffer::Buffer;
use crate::map::Map;
use crate::memory;

/// Everything that programs and helpers work on.
pub(crate) struct State {
    pub(crate) maps: Vec<Map>,
    pub(crate) packet: Buffer,
    ctx: Cell<[u8; xdp_md::SIZE]>,
    ingress_ifindex: Cell<u32>,
    /// Where `bpf_redirect_map` last said the packet goes.
    pub(crate) redirect: Cell<Option<u32>>,
    /// The first thing a helper could not do.
    pub(crate) fault: RefCell<Option<(Helper, String)>>,
    /// `/proc/self/mem`: a read of an address that is not there is an error, not a fault.
    memory: File,
}

impl State {
    pub(crate) fn new(program: &Program, grows: bool) -> io::Result<Self> {
        Ok(Self {
            maps: program.maps().iter().map(Map::new).collect(),
            packet: Buffer::new(grows)?,
            ctx: Cell::new([0; xdp_md::SIZE]),
            ingress_ifindex: Cell::new(0),
            redirect: Cell::new(None),
            fault: RefCell::new(None),
            memory: File::open("/proc/self/mem")?,
        })
    }

    /// Makes ready for a run.
    pub(crate) fn start(&self, packet: &[u8], ingress_ifindex: u32) {
        self.packet.place(packet);
        self.ingress_ifindex.set(ingress_ifindex);
        self.ctx.set(self.xdp_md());
        self.redirect.set(None);
        self.fault.replace(None);
    }

    /// The context's bytes, where `r1` points at entry.
    pub(crate) fn ctx(&self) -> &[Cell<u8>] {
        let ctx: &Cell<[u8]> = &self.ctx;
        ctx.as_slice_of_cells()
    }

    /// Whether the program wrote to the context, which the kernel refuses.
    pub(crate) fn ctx_written(&self) -> bool {
        self.ctx.get() != self.xdp_md()
    }

    /// `struct xdp_md` for the packet as it lies now, without metadata.
    fn xdp_md(&self) -> [u8; xdp_md::SIZE] {
        let packet = memory::addresses(self.packet.cells());
        let mut ctx = [0; xdp_md::SIZE];
        let mut put = |offset: i16, value: u32| {
            let field = ctx.iter_mut().skip(offset as usize);
            field.zip(value.to_ne_bytes()).for_each(|(to, byte)| *to = byte);
        };
        // The packet is below 4 GiB: nothing is cut off.
        put(xdp_md::DATA, packet.start as u32);
        put(xdp_md::DATA_END, packet.end as u32);
        put(xdp_md::DATA_META, packet.start as u32);
        put(xdp_md::INGRESS_IFINDEX, self.ingress_ifindex.get());
        ctx
    }

    /// `bpf_xdp_adjust_tail`: moves the packet and tells the context.
    pub(crate) fn adjust_tail(&self, delta: i32) -> bool {
        let moved = self.packet.adjust_tail(delta);
        if moved {
            self.ctx.set(self.xdp_md());
        }
        moved
    }

    /// Reads what a program points a helper to. Packet and values are checked to the byte; `rbpf`
    /// does not tell where its stack is, so anything else must only be there.
    pub(crate) fn read(&self, addr: u64, len: usize) -> Option<Vec<u8>> {
        let end = addr.checked_add(len as u64)?;
        let packet = memory::addresses(self.packet.cells());
        if packet.start <= addr && end <= packet.end {
            let start = (addr - packet.start) as usize;
            return self.packet.cells().get(start..start + len).map(memory::copy);
        }
        if self.packet.owns(addr) {
            return None;
        }
        let mut values = self.maps.iter().flat_map(Map::addresses);
        if values.any(|value| value.contains(&addr) && value.end < end) {
            return None;
        }
        let mut bytes = vec![0; len];
        self.memory.read_exact_at(&mut bytes, addr).ok().map(|()| bytes)
    }

    /// Where an access went that is not allowed, from the packet's point of view if it is near.
    pub(crate) fn describe(&self, addr: u64, size: u64) -> String {
        if !self.packet.owns(addr) {
            return format!(
                "{size} bytes at {addr:#x} are not in the context, the packet, the stack or a map's value"
            );
        }
        let packet = memory::addresses(self.packet.cells());
        let start = addr as i64 - packet.start as i64;
        let (end, len) = (start + size as i64, packet.end - packet.start);
        format!("bytes {start}..{end} of the packet, which has {len}")
    }

    /// Notes what a helper could not do; the run goes on, and then fails with it.
    pub(crate) fn fail(&self, helper: Helper, what: String) {
        self.fault.borrow_mut().get_or_insert((helper, what));
    }
}
