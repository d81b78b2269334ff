//! What a run sees: the context, the packet and the maps, and what it leaves behind.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use xhop_asm::tc::sk_buff;
use xhop_asm::xdp::xdp_md;
use xhop_asm::{Helper, Hook, Program};

use crate::buffer::Buffer;
use crate::map::Map;
use crate::memory;

/// The longer of the two contexts.
const CTX: usize = sk_buff::SIZE;
/// What an skb on a host's veth is: for somebody else (include/uapi/linux/if_packet.h).
const PACKET_OTHERHOST: u32 = 3;

/// Everything that programs and helpers work on.
pub(crate) struct State {
    pub(crate) maps: Vec<Map>,
    pub(crate) packet: Buffer,
    hook: Hook,
    ctx: Cell<[u8; CTX]>,
    ingress_ifindex: Cell<u32>,
    /// Whether a VLAN tag goes beside the packet.
    pub(crate) vlan: Cell<bool>,
    /// `PACKET_*`
    pub(crate) pkt_type: Cell<u32>,
    /// The mark and the priority that packets come with.
    pub(crate) notes: Cell<[u32; 2]>,
    /// How often `bpf_csum_level` was told that a checksum is right.
    pub(crate) csum_level: Cell<u32>,
    /// Where `bpf_redirect_map` or `bpf_redirect_peer` last said the packet goes.
    pub(crate) redirect: Cell<Option<u32>>,
    /// What `bpf_ringbuf_output` told in this run.
    pub(crate) told: RefCell<Vec<Vec<u8>>>,
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
            hook: program.hook(),
            ctx: Cell::new([0; CTX]),
            ingress_ifindex: Cell::new(0),
            vlan: Cell::new(false),
            pkt_type: Cell::new(0),
            notes: Cell::new([0; 2]),
            csum_level: Cell::new(0),
            redirect: Cell::new(None),
            told: RefCell::default(),
            fault: RefCell::new(None),
            memory: File::open("/proc/self/mem")?,
        })
    }

    /// Makes ready for a run.
    pub(crate) fn start(&self, packet: &[u8], ingress_ifindex: u32) {
        self.packet.place(packet);
        self.ingress_ifindex.set(ingress_ifindex);
        self.pkt_type.set(PACKET_OTHERHOST);
        self.csum_level.set(0);
        self.ctx.set(self.context(self.notes.get()));
        self.redirect.set(None);
        self.told.take();
        self.fault.replace(None);
    }

    /// The context's bytes, where `r1` points at entry.
    pub(crate) fn ctx(&self) -> &[Cell<u8>] {
        let ctx: &Cell<[u8]> = &self.ctx;
        let ctx = ctx.as_slice_of_cells();
        ctx.get(..self.ctx_len()).unwrap_or(ctx)
    }

    fn ctx_len(&self) -> usize {
        match self.hook {
            Hook::Tc => sk_buff::SIZE,
            Hook::Xdp | Hook::XdpFrags => xdp_md::SIZE,
        }
    }

    /// The offsets of the context's fields that hold addresses.
    pub(crate) fn ctx_pointers(&self) -> &'static [i16] {
        match self.hook {
            Hook::Tc => &[sk_buff::DATA, sk_buff::DATA_END],
            Hook::Xdp | Hook::XdpFrags => &[xdp_md::DATA, xdp_md::DATA_END, xdp_md::DATA_META],
        }
    }

    /// Whether the program wrote to the context where the kernel refuses it.
    pub(crate) fn ctx_written(&self) -> bool {
        self.ctx.get() != self.context(self.left_notes())
    }

    /// What a helper has changed is to be seen in the context.
    pub(crate) fn refresh_ctx(&self) {
        self.ctx.set(self.context(self.left_notes()));
    }

    /// The packet's mark and priority as they are now; an `xdp_md` has none.
    pub(crate) fn left_notes(&self) -> [u32; 2] {
        if self.hook != Hook::Tc {
            return [0; 2];
        }
        let ctx = self.ctx.get();
        sk_buff::WRITABLE.map(|off| {
            let field = ctx.get(off as usize..).and_then(|ctx| ctx.first_chunk());
            field.map_or(0, |field| u32::from_ne_bytes(*field))
        })
    }

    /// Whether a program may write there.
    pub(crate) fn may_write(&self, off: u64, size: usize) -> bool {
        let writable = sk_buff::WRITABLE.iter().any(|field| *field as u64 == off);
        self.hook == Hook::Tc && writable && size == 4
    }

    /// The context for the packet as it lies now, in one piece, without metadata.
    fn context(&self, notes: [u32; 2]) -> [u8; CTX] {
        let packet = memory::addresses(self.packet.cells());
        let mut ctx = [0; CTX];
        let mut put = |offset: i16, value: u32| {
            let field = ctx.iter_mut().skip(offset as usize);
            field.zip(value.to_ne_bytes()).for_each(|(to, byte)| *to = byte);
        };
        // The packet is below 4 GiB: nothing is cut off.
        let (start, end) = (packet.start as u32, packet.end as u32);
        match self.hook {
            Hook::Tc => {
                put(sk_buff::LEN, end - start);
                put(sk_buff::PKT_TYPE, self.pkt_type.get());
                sk_buff::WRITABLE.into_iter().zip(notes).for_each(|(off, note)| put(off, note));
                put(sk_buff::VLAN_PRESENT, self.vlan.get().into());
                put(sk_buff::IFINDEX, self.ingress_ifindex.get());
                put(sk_buff::DATA, start);
                put(sk_buff::DATA_END, end);
            }
            Hook::Xdp | Hook::XdpFrags => {
                put(xdp_md::DATA, start);
                put(xdp_md::DATA_END, end);
                put(xdp_md::DATA_META, start);
                put(xdp_md::INGRESS_IFINDEX, self.ingress_ifindex.get());
            }
        }
        ctx
    }

    /// `bpf_xdp_adjust_tail`: moves the packet and tells the context.
    pub(crate) fn adjust_tail(&self, delta: i32) -> bool {
        let moved = self.packet.adjust_tail(delta);
        if moved {
            self.refresh_ctx();
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
