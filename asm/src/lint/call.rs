//! Calls of helpers: what each takes and gives (the kernel's `struct bpf_func_proto`).

use super::finding::{Checked, Rule, broken};
use super::scalar::Scalar;
use super::state::State;
use super::step::Machine;
use super::value::Value;
use crate::helper::Helper;
use crate::reg::{R0, R1, R2, R3, R4, R5, Reg};

/// Kinds whose values a lookup gives (`enum bpf_map_type`): hash, array, percpu_hash, percpu_array,
/// lru_hash, lru_percpu_hash.
const LOOKUP: [u32; 6] = [1, 2, 5, 6, 9, 10];
/// devmap, devmap_hash
const DEVMAP: [u32; 2] = [14, 25];
/// `BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG`
const RESTRICTED: u32 = 1 << 7 | 1 << 8;
/// A key must fit on the stack (`MAX_BPF_STACK`).
const KEY_MAX: u32 = 512;
/// What `bpf_csum_diff` takes at most before 6.13.
const CSUM_DIFF_MAX: u64 = 512;

impl Machine<'_> {
    pub(super) fn call(&mut self, state: &mut State, helper: Helper) -> Checked<()> {
        let named = |(rule, what)| (rule, format!("{helper}: {what}"));
        let result = match helper.number() {
            1 => self.lookup(state),
            28 => self.csum_diff(state),
            51 => self.redirect_map(state),
            65 => self.adjust_tail(state),
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
        if total > CSUM_DIFF_MAX {
            return broken(Rule::Call, "takes at most 512 bytes");
        }
        Ok(Value::UNKNOWN)
    }

    fn adjust_tail(&mut self, state: &mut State) -> Checked<Value> {
        if state.get(R1)? != Value::Ctx {
            return broken(Rule::Call, "r1 is not the context");
        }
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

fn number(state: &State, reg: Reg) -> Checked<Scalar> {
    match state.get(reg)? {
        Value::Scalar(scalar) => Ok(scalar),
        other => broken(Rule::Call, format!("{reg} is {}, not a number", other.kind())),
    }
}
