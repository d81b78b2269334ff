//! Calls of helpers: what each takes and gives (the kernel's `struct bpf_func_proto`).

use super::facts::Way;
use super::finding::{Checked, Rule, broken};
use super::scalar::Scalar;
use super::state::State;
use super::step::Machine;
use super::value::Value;
use crate::helper::Helper;
use crate::hook::Hook;
use crate::reg::{R0, R1, R2, R3, R4, R5, Reg};

/// Kinds whose values a lookup gives (`enum bpf_map_type`): hash, array, percpu_hash, percpu_array,
/// lru_hash, lru_percpu_hash, and the interfaces of a devmap.
const LOOKUP: [u32; 8] = [1, 2, 5, 6, 9, 10, DEVMAP[0], DEVMAP[1]];
/// devmap, devmap_hash
pub(super) const DEVMAP: [u32; 2] = [14, 25];
/// ringbuf
const RINGBUF: u32 = 27;
/// `BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG`
const RESTRICTED: u32 = 1 << 7 | 1 << 8;
/// A key must fit on the stack (`MAX_BPF_STACK`).
const KEY_MAX: u32 = 512;
/// More bytes than that no check of the packet covers (`MAX_PACKET_OFF`).
const CSUM_DIFF_MAX: u64 = 0xffff;

impl Machine<'_> {
    pub(super) fn call(&mut self, state: &mut State, helper: Helper) -> Checked<()> {
        let named = |(rule, what)| (rule, format!("{helper}: {what}"));
        let tc = self.facts.hook == Hook::Tc;
        let result = match (helper.number(), tc) {
            (1, _) => self.lookup(state),
            (5, _) => Ok(Value::UNKNOWN),
            (26, true) | (189, false) => self.load_bytes(state),
            (28, _) => self.csum_diff(state),
            (32 | 135, true) => of_context(state),
            (51, false) => self.redirect_map(state),
            (65, false) => self.adjust_tail(state),
            (130, _) => self.ringbuf_output(state),
            (155, true) => redirect_peer(state),
            (188, false) => context(state).map(|()| Value::UNKNOWN),
            (26 | 32 | 51 | 65 | 135 | 155 | 188 | 189, _) => {
                broken(Rule::Call, "not to be called on this hook")
            }
            _ => broken(Rule::Call, "not among the helpers that are known here"),
        }
        .map_err(named)?;
        for reg in [R1, R2, R3, R4, R5] {
            state.set(reg, Value::Void);
        }
        state.set(R0, result);
        if !self.facts.helpers.contains(&helper) {
            self.facts.helpers.push(helper);
        }
        Ok(())
    }

    fn lookup(&mut self, state: &State) -> Checked<Value> {
        let map = self.map(state, &LOOKUP)?;
        let key_size = self.maps.get(map as usize).map_or(0, |map| map.key_size);
        if !(1..=KEY_MAX).contains(&key_size) {
            return broken(Rule::Map, format!("keys of {key_size} bytes: there is no such map"));
        }
        self.argument(state, state.get(R2)?, key_size)?;
        self.facts.map(map).looked_up = true;
        Ok(Value::LookedOrNull { map, id: self.new_id() })
    }

    fn redirect_map(&mut self, state: &State) -> Checked<Value> {
        let map = self.map(state, &DEVMAP)?;
        number(state, R2)?;
        if number(state, R3)?.max > 3 {
            return broken(Rule::Call, "r3 may be more than an action: no other flags are known");
        }
        self.facts.map(map).redirects = true;
        Ok(Value::UNKNOWN)
    }

    /// Into a map's value alone: what may be there is known of it.
    fn load_bytes(&mut self, state: &State) -> Checked<Value> {
        context(state)?;
        number(state, R2)?;
        let size = size(state, R4)?;
        let Value::Looked { map, off } = state.get(R3)? else {
            return broken(Rule::Call, "r3 is not in a map's value");
        };
        self.map_value(map, off, size, Way::Write)?;
        Ok(Value::UNKNOWN)
    }

    fn ringbuf_output(&mut self, state: &State) -> Checked<Value> {
        self.map(state, &[RINGBUF])?;
        let size = size(state, R3)?;
        self.argument(state, state.get(R2)?, size)?;
        if number(state, R4)?.known() != Some(0) {
            return broken(Rule::Call, "r4 may be other than 0: no flags are known");
        }
        Ok(Value::UNKNOWN)
    }

    fn csum_diff(&mut self, state: &State) -> Checked<Value> {
        let mut total = 0;
        for (from, len) in [(R1, R2), (R3, R4)] {
            let Some(size) =
                number(state, len)?.known().filter(|size| *size <= CSUM_DIFF_MAX && size % 4 == 0)
            else {
                return broken(Rule::Call, format!("{len} is not a known number of whole words"));
            };
            total += size;
            match (state.get(from)?, size) {
                (Value::Scalar(null), 0) if null.known() == Some(0) => {}
                (_, 0) => return broken(Rule::Call, format!("{from} is not NULL, of length 0")),
                (at, _) => self.argument(state, at, size as u32)?,
            }
        }
        number(state, R5)?;
        // Too many for a kernel are an answer, not a reason to refuse the program: it is told in the facts.
        self.facts.summed = self.facts.summed.max(total as u32);
        Ok(Value::UNKNOWN)
    }

    fn adjust_tail(&mut self, state: &mut State) -> Checked<Value> {
        context(state)?;
        number(state, R2)?;
        state.values_mut().filter(|value| value.is_of_packet()).for_each(|v| *v = Value::Void);
        // What was cut off is zero when it comes back.
        state.forget(0, u32::MAX);
        Ok(Value::UNKNOWN)
    }

    /// The map in r1, which must be of one of these kinds.
    fn map(&self, state: &State, kinds: &[u32]) -> Checked<u32> {
        let value = state.get(R1)?;
        let Value::Map(index) = value else {
            return broken(Rule::Call, format!("r1 is {}, not a map", value.kind()));
        };
        match self.maps.get(index as usize) {
            Some(map) if kinds.contains(&map.kind) && map.flags & RESTRICTED == 0 => Ok(index),
            Some(map) => broken(Rule::Map, format!("does not take map `{}`", map.name)),
            None => broken(Rule::Map, format!("map {index} is not in the list")),
        }
    }
}

/// What takes the context and a number: `bpf_skb_change_type`, `bpf_csum_level`.
fn of_context(state: &State) -> Checked<Value> {
    context(state)?;
    number(state, R2)?;
    Ok(Value::UNKNOWN)
}

fn redirect_peer(state: &State) -> Checked<Value> {
    number(state, R1)?;
    if number(state, R2)?.known() != Some(0) {
        return broken(Rule::Call, "r2 may be other than 0: there are no flags");
    }
    Ok(Value::UNKNOWN)
}

fn context(state: &State) -> Checked<()> {
    match state.get(R1)? {
        Value::Ctx => Ok(()),
        _ => broken(Rule::Call, "r1 is not the context"),
    }
}

/// How many bytes at most, of which there must be some (`ARG_CONST_SIZE`).
fn size(state: &State, reg: Reg) -> Checked<u32> {
    let size = number(state, reg)?;
    match u32::try_from(size.max) {
        Ok(most) if size.min > 0 && most <= i32::MAX as u32 => Ok(most),
        _ => broken(Rule::Call, format!("{reg} may be 0, or any number of bytes")),
    }
}

fn number(state: &State, reg: Reg) -> Checked<Scalar> {
    match state.get(reg)? {
        Value::Scalar(scalar) => Ok(scalar),
        other => broken(Rule::Call, format!("{reg} is {}, not a number", other.kind())),
    }
}
