//! The kernel's helpers, on a [`State`]. `rbpf` calls them as plain functions, so the state of the
//! current run is kept in a thread-local.

use std::cell::RefCell;
use std::rc::Rc;

use xhop_asm::{Helper, MapKind, tc, xdp};

use crate::map::Map;
use crate::memory;
use crate::state::State;

/// What `rbpf` calls.
pub(crate) type Function = fn(u64, u64, u64, u64, u64) -> u64;

const EAGAIN: i64 = 11;
const EFAULT: i64 = 14;
const EINVAL: i64 = 22;
const EACCES: i64 = 13;
/// Flags of `bpf_redirect_map` that send a packet to several interfaces.
const BROADCAST_FLAGS: u64 = 1 << 3 | 1 << 4;

thread_local! {
    static RUN: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
}

/// While it lives, the helpers of this thread work on one state.
pub(crate) struct Entered(());

impl Entered {
    pub(crate) fn new(state: &Rc<State>) -> Self {
        RUN.set(Some(Rc::clone(state)));
        Self(())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        RUN.set(None);
    }
}

/// The emulation of a helper; `None` if there is none.
pub(crate) fn emulation(helper: Helper) -> Option<Function> {
    match helper.number() {
        1 => Some(map_lookup_elem),
        5 => Some(ktime_get_ns),
        26 => Some(skb_load_bytes),
        28 => Some(csum_diff),
        32 => Some(skb_change_type),
        51 => Some(redirect_map),
        65 => Some(xdp_adjust_tail),
        130 => Some(ringbuf_output),
        135 => Some(csum_level),
        155 => Some(redirect_peer),
        188 => Some(xdp_get_buff_len),
        189 => Some(xdp_load_bytes),
        _ => None,
    }
}

/// Runs a helper on the state of the run; one that can't do its work says why and gives 0.
fn on_state(helper: Helper, work: impl FnOnce(&State) -> Result<u64, String>) -> u64 {
    RUN.with_borrow(|run| {
        let Some(state) = run else { return 0 };
        work(state).unwrap_or_else(|what| {
            state.fail(helper, what);
            0
        })
    })
}

/// The map that an argument names: `rbpf` loads the bare index.
fn map_of<'s>(state: &'s State, arg: &str, map: u64) -> Result<&'s Map, String> {
    let found = usize::try_from(map).ok().and_then(|index| state.maps.get(index));
    found.ok_or_else(|| format!("{arg} is {map:#x}, not a map: load it with load_map"))
}

/// The same, which must be of this kind.
fn map_of_kind<'s>(
    state: &'s State,
    arg: &str,
    map: u64,
    kind: MapKind,
) -> Result<&'s Map, String> {
    let map = map_of(state, arg, map)?;
    let (name, found) = (map.decl().name, map.decl().kind);
    match found == kind {
        true => Ok(map),
        false => Err(format!("`{name}` is a {}: it takes a {}", found.name(), kind.name())),
    }
}

fn read(state: &State, arg: &str, addr: u64, len: usize) -> Result<Vec<u8>, String> {
    state.read(addr, len).ok_or_else(|| {
        format!("{arg} is {addr:#x}, where {len} bytes can't be read: check the bounds first")
    })
}

fn map_lookup_elem(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    on_state(Helper::MAP_LOOKUP_ELEM, |state| {
        let map = map_of(state, "r1", map)?;
        let key = read(state, "r2", key, map.decl().key_size as usize)?;
        Ok(map.lookup(&key).map_or(0, |value| value.start))
    })
}

/// As kernels from 6.13: any sizes, and 16 bits. Older ones take whole words, at most 512 bytes, and fold to 32
/// bits: folding the result gives the same on all.
fn csum_diff(from: u64, from_size: u64, to: u64, to_size: u64, seed: u64) -> u64 {
    on_state(Helper::CSUM_DIFF, |state| {
        let from = bytes(state, "r1", from, from_size as u32)?;
        let to = bytes(state, "r3", to, to_size as u32)?;
        let seed = seed as u32;
        // These are of one class each, but zero has two forms: which one it is depends on the way.
        let sum = match (from.is_empty(), to.is_empty()) {
            (false, false) => add_with_carry(sum(&to, seed), !sum(&from, 0)),
            (false, true) => !sum(&from, !seed),
            (true, _) => sum(&to, seed),
        };
        Ok(u64::from(from32to16(sum)))
    })
}

/// The bytes at a pointer, which may be NULL where the size is 0.
fn bytes(state: &State, arg: &str, addr: u64, size: u32) -> Result<Vec<u8>, String> {
    if size == 0 { Ok(Vec::new()) } else { read(state, arg, addr, size as usize) }
}

/// `csum_partial`: the sum of words, the last one filled up with zeros.
fn sum(bytes: &[u8], seed: u32) -> u32 {
    let word = |chunk: &[u8]| {
        let mut word = [0; 4];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        u32::from_ne_bytes(word)
    };
    bytes.chunks(4).map(word).fold(seed, add_with_carry)
}

fn add_with_carry(sum: u32, word: u32) -> u32 {
    let (sum, carry) = sum.overflowing_add(word);
    sum + u32::from(carry)
}

/// `csum_from32to16`: the halves, with their carry.
fn from32to16(sum: u32) -> u16 {
    (add_with_carry(sum, sum.rotate_left(16)) >> 16) as u16
}

/// Time stands still: each run is as the one before.
fn ktime_get_ns(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    1_000_000_000
}

fn skb_load_bytes(ctx: u64, offset: u64, to: u64, len: u64, _: u64) -> u64 {
    on_state(Helper::SKB_LOAD_BYTES, |state| load_bytes(state, ctx, offset, to, len, EFAULT))
}

fn xdp_load_bytes(ctx: u64, offset: u64, to: u64, len: u64, _: u64) -> u64 {
    on_state(Helper::XDP_LOAD_BYTES, |state| load_bytes(state, ctx, offset, to, len, EINVAL))
}

/// Copies into a map's value; `beyond` is the error where the packet has fewer bytes.
fn load_bytes(
    state: &State,
    ctx: u64,
    offset: u64,
    to: u64,
    len: u64,
    beyond: i64,
) -> Result<u64, String> {
    is_context(state, ctx)?;
    let (offset, len) = (offset as u32 as usize, len as u32 as usize);
    let packet = memory::copy(state.packet.cells());
    let Some(bytes) = packet.get(offset..).and_then(|rest| rest.get(..len)) else {
        return Ok(-beyond as u64);
    };
    let mut copy = |cells: &[std::cell::Cell<u8>]| memory::fill(cells, bytes);
    match state.maps.iter().any(|map| map.access(to, len, &mut copy)) {
        true => Ok(0),
        false => Err(format!("r3 is {to:#x}, where no value of a map has {len} bytes")),
    }
}

/// With room for so many bytes as the ring has, in each run.
fn ringbuf_output(map: u64, data: u64, size: u64, flags: u64, _: u64) -> u64 {
    const HEADER: usize = 8;
    on_state(Helper::RINGBUF_OUTPUT, |state| {
        let map = map_of_kind(state, "r1", map, MapKind::Ringbuf)?;
        if flags != 0 {
            return Err(format!("flags {flags:#x} are not emulated"));
        }
        let record = read(state, "r2", data, size as usize)?;
        let mut told = state.told.borrow_mut();
        let taken = |record: &Vec<u8>| record.len().next_multiple_of(8) + HEADER;
        let room = map.decl().max_entries as usize;
        if told.iter().map(taken).sum::<usize>() + taken(&record) > room {
            return Ok(-EAGAIN as u64);
        }
        told.push(record);
        Ok(0)
    })
}

fn xdp_get_buff_len(ctx: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    on_state(Helper::XDP_GET_BUFF_LEN, |state| {
        is_context(state, ctx)?;
        Ok(state.packet.cells().len() as u64)
    })
}

/// `__bpf_xdp_redirect_map`, include/linux/filter.h
fn redirect_map(map: u64, key: u64, flags: u64, _: u64, _: u64) -> u64 {
    const ACTION_MASK: u64 = 3;
    on_state(Helper::REDIRECT_MAP, |state| {
        let map = map_of_kind(state, "r1", map, MapKind::DevmapHash)?;
        if flags & BROADCAST_FLAGS != 0 {
            return Err(format!("flags {flags:#x} ask for a broadcast, which is not emulated"));
        }
        if flags & !ACTION_MASK != 0 {
            return Ok(xdp::ABORTED as u64);
        }
        // The kernel takes the low half of the key, and the interface from the value's start.
        let value = map.get((key as u32).to_ne_bytes()).map_err(|error| error.to_string())?;
        let ifindex = value.as_deref().and_then(|value| value.first_chunk::<4>());
        state.redirect.set(ifindex.map(|ifindex| u32::from_ne_bytes(*ifindex)));
        Ok(if ifindex.is_some() { xdp::REDIRECT as u64 } else { flags & ACTION_MASK })
    })
}

fn is_context(state: &State, ctx: u64) -> Result<(), String> {
    match ctx == memory::addresses(state.ctx()).start {
        true => Ok(()),
        false => Err(format!("r1 is {ctx:#x}, not the context: keep r1 of the entry")),
    }
}

fn skb_change_type(ctx: u64, pkt_type: u64, _: u64, _: u64, _: u64) -> u64 {
    /// Of the types there are, those that a program may make of each other.
    const PACKET_OTHERHOST: u32 = 3;
    on_state(Helper::SKB_CHANGE_TYPE, |state| {
        is_context(state, ctx)?;
        if pkt_type as u32 > PACKET_OTHERHOST {
            return Ok(-EINVAL as u64);
        }
        state.pkt_type.set(pkt_type as u32);
        state.refresh_ctx();
        Ok(0)
    })
}

fn csum_level(ctx: u64, level: u64, _: u64, _: u64, _: u64) -> u64 {
    on_state(Helper::CSUM_LEVEL, |state| {
        is_context(state, ctx)?;
        let known = state.csum_level.get();
        match i32::try_from(level) {
            Ok(tc::CSUM_LEVEL_INC) => {}
            Ok(tc::CSUM_LEVEL_QUERY) => {
                return Ok(known.checked_sub(1).map_or(-EACCES as u64, u64::from));
            }
            _ => return Err(format!("level {level}: BPF_CSUM_LEVEL_QUERY and _INC are emulated")),
        }
        state.csum_level.set(known + 1);
        Ok(0)
    })
}

/// As net/core/filter.c has it, which looks for the interface only when the program is over.
fn redirect_peer(ifindex: u64, flags: u64, _: u64, _: u64, _: u64) -> u64 {
    on_state(Helper::REDIRECT_PEER, |state| {
        if flags != 0 {
            return Ok(tc::SHOT as u64);
        }
        state.redirect.set(Some(ifindex as u32));
        Ok(tc::REDIRECT as u64)
    })
}

fn xdp_adjust_tail(ctx: u64, delta: u64, _: u64, _: u64, _: u64) -> u64 {
    on_state(Helper::XDP_ADJUST_TAIL, |state| {
        is_context(state, ctx)?;
        Ok(if state.adjust_tail(delta as i32) { 0 } else { -EINVAL as u64 })
    })
}
