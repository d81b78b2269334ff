//! Loads and stores.

use std::ops::Range;

use super::call::DEVMAP;
use super::facts::{Way, touch};
use super::field::Field;
use super::finding::{Checked, Rule, broken};
use super::scalar::Scalar;
use super::state::{Slot, State};
use super::step::Machine;
use super::value::{PacketAddr, Value};
use crate::hook::Hook;
use crate::reg::{Mem, Size};
use crate::tc::sk_buff;
use crate::xdp::xdp_md;

/// Bytes of stack that a program has (`MAX_BPF_STACK`).
const STACK: i32 = 512;

impl Machine<'_> {
    /// What a load gives.
    pub(super) fn load(&mut self, state: &State, mem: Mem) -> Checked<Value> {
        let size = mem.size.bytes() as u32;
        match state.get(mem.base)? {
            Value::Ctx => self.load_context(mem),
            Value::Stack(base) => self.load_stack(state, base + i32::from(mem.off), mem.size),
            Value::Packet(addr) => {
                self.packet(state, addr, mem.off.into(), size, Way::Read)?;
                let off = (addr.off + i32::from(mem.off)) as u32;
                let field = (addr.id == 0).then_some(Field { off, len: size, swapped: false });
                Ok(Value::Scalar(Scalar::loaded(mem.size.bytes()).of(field)))
            }
            Value::Looked { map, off } => {
                self.map_value(map, off + i32::from(mem.off), size, Way::Read)?;
                Ok(Value::Scalar(Scalar::loaded(mem.size.bytes())))
            }
            other => no_memory(other, mem),
        }
    }

    /// A store of a value.
    pub(super) fn store(&mut self, state: &mut State, mem: Mem, value: Value) -> Checked<()> {
        let size = mem.size.bytes() as u32;
        let base = state.get(mem.base)?;
        if !matches!((base, value), (Value::Stack(_) | Value::Ctx, _) | (_, Value::Scalar(_))) {
            return broken(Rule::PointerLeak, format!("stores {} outside the stack", value.kind()));
        }
        match base {
            Value::Ctx => self.store_context(mem, value),
            Value::Stack(base) => {
                self.store_stack(state, base + i32::from(mem.off), mem.size, value)
            }
            Value::Packet(addr) => {
                let bytes = self.packet(state, addr, mem.off.into(), size, Way::Write)?;
                state.forget(bytes.start, bytes.end);
                Ok(())
            }
            Value::Looked { map, off } => {
                self.map_value(map, off + i32::from(mem.off), size, Way::Write)
            }
            other => no_memory(other, mem),
        }
    }

    /// `size` bytes that a helper reads.
    pub(super) fn argument(&mut self, state: &State, value: Value, size: u32) -> Checked<()> {
        match value {
            Value::Stack(off) => {
                self.stack_range(off, size)?;
                for at in off..off + size as i32 {
                    let slot = stack_slot(state, at);
                    if slot.spilled.is_some() || slot.written & bits(at, 1) == 0 {
                        return broken(
                            Rule::Stack,
                            format!("a call reads byte {at} of the stack, where no number is"),
                        );
                    }
                }
                Ok(())
            }
            Value::Packet(addr) => self.packet(state, addr, 0, size, Way::Read).map(drop),
            Value::Looked { map, off } => self.map_value(map, off, size, Way::Read),
            other => broken(Rule::Call, format!("is given {} where it reads", other.kind())),
        }
    }

    /// As `xdp_is_valid_access` and `tc_cls_act_is_valid_access` (net/core/filter.c) have it, without the
    /// fields that no program of ours wants.
    fn load_context(&mut self, mem: Mem) -> Checked<Value> {
        if mem.size != Size::U32 {
            return broken(Rule::Context, "reads other than 4 bytes of the context");
        }
        let (data, data_end) = (Value::Packet(PacketAddr::START), Value::PacketEnd);
        let number = Value::Scalar(Scalar::loaded(4));
        let field = match self.facts.hook {
            Hook::Xdp | Hook::XdpFrags => match mem.off {
                xdp_md::DATA => Some(("data", data)),
                xdp_md::DATA_END => Some(("data_end", data_end)),
                xdp_md::INGRESS_IFINDEX => Some(("ingress_ifindex", number)),
                xdp_md::RX_QUEUE_INDEX => Some(("rx_queue_index", number)),
                _ => None,
            },
            Hook::Tc => match mem.off {
                sk_buff::DATA => Some(("data", data)),
                sk_buff::DATA_END => Some(("data_end", data_end)),
                sk_buff::LEN => Some(("len", number)),
                sk_buff::PKT_TYPE => Some(("pkt_type", number)),
                sk_buff::VLAN_PRESENT => Some(("vlan_present", number)),
                sk_buff::IFINDEX => Some(("ifindex", number)),
                _ => None,
            },
        };
        let Some((name, value)) = field else {
            let what = "which is no field that programs like this one may read";
            return broken(Rule::Context, format!("reads byte {} of the context, {what}", mem.off));
        };
        if !self.facts.context.contains(&name) {
            self.facts.context.push(name);
        }
        Ok(value)
    }

    /// Likewise: a field of an skb that is only of use to who is next.
    fn store_context(&mut self, mem: Mem, value: Value) -> Checked<()> {
        let name = match (self.facts.hook, mem.off, mem.size) {
            (Hook::Tc, sk_buff::MARK, Size::U32) => "mark (written)",
            (Hook::Tc, sk_buff::PRIORITY, Size::U32) => "priority (written)",
            _ => return broken(Rule::Context, "writes to the context where it is read-only"),
        };
        if !matches!(value, Value::Scalar(_)) {
            return broken(Rule::PointerLeak, format!("stores {} in the context", value.kind()));
        }
        if !self.facts.context.contains(&name) {
            self.facts.context.push(name);
        }
        Ok(())
    }

    /// As in the kernel, only the constant part of the offset is compared with what was checked: the
    /// variable part is the same in both. Gives the bytes that may be meant.
    fn packet(
        &mut self,
        state: &State,
        addr: PacketAddr,
        off: i32,
        size: u32,
        way: Way,
    ) -> Checked<Range<u32>> {
        let start = addr.off + off;
        let Some(start) = u32::try_from(start).ok().filter(|at| at + size <= addr.checked) else {
            let end = start + size as i32;
            let from = if addr.id == 0 { "the packet" } else { "where its address was checked" };
            return broken(
                Rule::PacketBounds,
                format!(
                    "bytes {start}..{end} of {from}, of which {} are known to be there: compare with data_end first",
                    addr.checked
                ),
            );
        };
        let (from, to) = (start + addr.min, start + addr.max + size);
        match addr.min == addr.max {
            true => self.facts.packet(way, &state.headers, from, to),
            false => self.facts.packet_within(way, &state.headers, from, to),
        }
        Ok(from..to)
    }

    pub(super) fn map_value(&mut self, map: u32, off: i32, size: u32, way: Way) -> Checked<()> {
        let value_size = self.maps.get(map as usize).map_or(0, |map| map.value_size);
        let start = u32::try_from(off).ok();
        let Some(start) = start.filter(|at| at.saturating_add(size) <= value_size) else {
            let end = i64::from(off) + i64::from(size);
            let what = format!("bytes {off}..{end} of a value that has {value_size}");
            return broken(Rule::ValueBounds, what);
        };
        if start % size.min(8) != 0 && size.is_power_of_two() {
            let what = format!("{size} bytes at {start} of a value: not aligned");
            return broken(Rule::ValueBounds, what);
        }
        let devmap = self.maps.get(map as usize).is_some_and(|map| DEVMAP.contains(&map.kind));
        if devmap && way == Way::Write {
            return broken(Rule::ValueBounds, "writes to a value of a devmap: it is read-only");
        }
        let uses = self.facts.map(map);
        let ranges = if way == Way::Read { &mut uses.read } else { &mut uses.written };
        touch(ranges, start, start + size);
        Ok(())
    }

    fn stack_range(&mut self, at: i32, size: u32) -> Checked<()> {
        if at < -STACK || at + size as i32 > 0 {
            let end = at + size as i32;
            return broken(
                Rule::Stack,
                format!("bytes {at}..{end} of the stack, which is -512..0"),
            );
        }
        self.facts.stack = self.facts.stack.max(at.unsigned_abs());
        Ok(())
    }

    fn load_stack(&mut self, state: &State, at: i32, size: Size) -> Checked<Value> {
        self.stack_range(at, size.bytes() as u32)?;
        aligned(at, size)?;
        let slot = stack_slot(state, at);
        match slot.spilled {
            Some(value) if size == Size::U64 => Ok(value),
            Some(value) => broken(Rule::Stack, format!("reads a part of {}", value.kind())),
            None if bits(at, size.bytes()) & !slot.written != 0 => {
                let what = format!("reads {} bytes at {at}, not all written", size.bytes());
                broken(Rule::Stack, what)
            }
            None if size == Size::U8 => Ok(Value::Scalar(Scalar::kept(slot.constant(byte(at))))),
            None => Ok(Value::Scalar(Scalar::loaded(size.bytes()))),
        }
    }

    fn store_stack(&mut self, state: &mut State, at: i32, size: Size, value: Value) -> Checked<()> {
        self.stack_range(at, size.bytes() as u32)?;
        aligned(at, size)?;
        let index = stack_index(at);
        if state.stack.len() <= index {
            state.stack.resize(index + 1, Slot::default());
        }
        let Some(slot) = state.stack.get_mut(index) else { return Ok(()) };
        let is_number = matches!(value, Value::Scalar(_));
        if size != Size::U64 && (!is_number || slot.spilled.is_some()) {
            return broken(Rule::Stack, "writes a part of an address");
        }
        slot.spilled = (!is_number).then_some(value);
        slot.written |= bits(at, size.bytes());
        let constant = match (size, value) {
            (Size::U8, Value::Scalar(scalar)) => scalar.known().map(|known| known as u8),
            _ => None,
        };
        slot.keep(bits(at, size.bytes()), byte(at), constant);
        Ok(())
    }
}

fn no_memory<T>(base: Value, mem: Mem) -> Checked<T> {
    match base {
        Value::LookedOrNull { .. } => {
            broken(Rule::NullCheck, format!("{} may be NULL: compare it with 0 first", mem.base))
        }
        other => broken(Rule::NoPointer, format!("{} holds {}", mem.base, other.kind())),
    }
}

/// Which eight bytes below the frame pointer hold the byte at `at`, which is negative.
fn stack_index(at: i32) -> usize {
    (at.unsigned_abs() as usize).saturating_sub(1) / 8
}

fn stack_slot(state: &State, at: i32) -> Slot {
    state.stack.get(stack_index(at)).copied().unwrap_or_default()
}

/// Which byte of its slot the one at `at` is.
fn byte(at: i32) -> usize {
    at.rem_euclid(8) as usize
}

/// The bits of `len` bytes from `at` on in their slot. They do not cross its end.
fn bits(at: i32, len: usize) -> u8 {
    let bits = if len >= 8 { 0xff } else { (1_u8 << len) - 1 };
    bits << byte(at)
}

fn aligned(at: i32, size: Size) -> Checked<()> {
    match at % size.bytes() as i32 {
        0 => Ok(()),
        _ => {
            broken(Rule::Stack, format!("{} bytes at {at} of the stack: not aligned", size.bytes()))
        }
    }
}
