//! Maps, as the kernel keeps them: values at addresses that do not move.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;

use xhop_asm::{MapDecl, MapKind};

use crate::error::Error;
use crate::memory;

/// Bytes after each value that nobody may write: the widest access less one, rounded up.
const REDZONE: [u8; 8] = [0x5a; 8];

/// How many bytes of a value instructions may access: `rbpf` is told of each one, before each run. Helpers may
/// access all.
const DIRECT: u64 = 64;

/// A value and its red zone.
type Value = Box<[Cell<u8>]>;

/// One map of a [`Vm`](crate::Vm). Keys and values are bytes, numbers in the machine's byte order.
///
/// A per-CPU array is that of a machine with one CPU.
pub struct Map {
    decl: MapDecl,
    entries: RefCell<BTreeMap<Vec<u8>, Value>>,
}

impl Map {
    pub(crate) fn new(decl: &MapDecl) -> Self {
        let map = Self { decl: decl.clone(), entries: RefCell::default() };
        if decl.kind == MapKind::PercpuArray {
            let zero = vec![0; decl.value_size as usize];
            for index in 0..decl.max_entries {
                map.put(index.to_ne_bytes().to_vec(), &zero);
            }
        }
        map
    }

    /// What the program declared.
    pub fn decl(&self) -> &MapDecl {
        &self.decl
    }

    /// Puts a value, over the one that is there (`BPF_ANY`). Errors: a wrong length, a full map,
    /// an array's index out of range.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let (key, value) = (self.key(key.as_ref())?, value.as_ref());
        if value.len() != self.decl.value_size as usize {
            let (want, got) = (self.decl.value_size as usize, value.len());
            return Err(Error::Length { map: self.decl.name, part: "value", want, got });
        }
        let known = self.entries.borrow().contains_key(&key);
        if !known && self.entries.borrow().len() >= self.decl.max_entries as usize {
            return Err(Error::Full { map: self.decl.name, max_entries: self.decl.max_entries });
        }
        self.put(key, value);
        Ok(())
    }

    /// The value of `key` as it is now, also after a run. Errors: a wrong length.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        let key = self.key(key.as_ref())?;
        Ok(self.entries.borrow().get(&key).map(|cells| memory::copy(self.value(cells))))
    }

    /// Takes an entry out; `false` if there was none. An array's entry becomes zero, for it
    /// can't be taken out. Errors: a wrong length.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let key = self.key(key.as_ref())?;
        if self.decl.kind == MapKind::PercpuArray {
            let zero = vec![0; self.decl.value_size as usize];
            return self.insert(&key, zero).map(|()| true);
        }
        Ok(self.entries.borrow_mut().remove(&key).is_some())
    }

    /// All entries, in the order of their keys.
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entries = self.entries.borrow();
        entries.iter().map(|(key, v)| (key.clone(), memory::copy(self.value(v)))).collect()
    }

    /// The addresses of a value's bytes.
    pub(crate) fn lookup(&self, key: &[u8]) -> Option<Range<u64>> {
        self.entries.borrow().get(key).map(|cells| memory::addresses(self.value(cells)))
    }

    /// The addresses of what instructions may access of all values.
    pub(crate) fn direct(&self) -> Vec<Range<u64>> {
        let within = |value: Range<u64>| value.start..value.end.min(value.start + DIRECT);
        self.addresses().into_iter().map(within).collect()
    }

    /// The addresses of all values.
    pub(crate) fn addresses(&self) -> Vec<Range<u64>> {
        let entries = self.entries.borrow();
        entries.values().map(|cells| memory::addresses(self.value(cells))).collect()
    }

    /// Lets `work` have the bytes at an address, if they are in one value.
    pub(crate) fn access(&self, addr: u64, len: usize, work: &mut dyn FnMut(&[Cell<u8>])) -> bool {
        let entries = self.entries.borrow();
        let mut values = entries.values().map(|cells| self.value(cells));
        let found = values.find_map(|value| memory::part(value, addr, len));
        found.map(work).is_some()
    }

    /// What lies at an address, for people: `stats[00000000]+8`.
    pub(crate) fn name_at(&self, addr: u64) -> Option<String> {
        let entries = self.entries.borrow();
        let mut values = entries.iter().map(|(key, v)| (key, memory::addresses(self.value(v))));
        let (key, value) = values.find(|(_, value)| value.contains(&addr))?;
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(match addr - value.start {
            0 => format!("{}[{key}]", self.decl.name),
            off => format!("{}[{key}]+{off}", self.decl.name),
        })
    }

    /// Makes it hold just these entries, which it gave by [`Map::entries`].
    pub(crate) fn restore(&self, entries: &[(Vec<u8>, Vec<u8>)]) {
        // They are in the order of their keys.
        let kept = |key: &Vec<u8>| entries.binary_search_by(|(kept, _)| kept.cmp(key)).is_ok();
        self.entries.borrow_mut().retain(|key, _| kept(key));
        entries.iter().for_each(|(key, value)| self.put(key.clone(), value));
    }

    /// The key of a value that the program wrote over the end of, if there is one.
    pub(crate) fn overrun(&self) -> Option<Vec<u8>> {
        let entries = self.entries.borrow();
        let size = self.decl.value_size as usize;
        let whole =
            |cells: &Value| cells.get(size..).is_some_and(|red| memory::copy(red) == REDZONE);
        let broken = entries.iter().find(|(_, cells)| !whole(cells));
        broken.map(|(key, _)| key.clone())
    }

    /// A value without its red zone.
    fn value<'a>(&self, cells: &'a [Cell<u8>]) -> &'a [Cell<u8>] {
        cells.get(..self.decl.value_size as usize).unwrap_or(cells)
    }

    fn key(&self, key: &[u8]) -> Result<Vec<u8>, Error> {
        let (want, got) = (self.decl.key_size as usize, key.len());
        if want != got {
            return Err(Error::Length { map: self.decl.name, part: "key", want, got });
        }
        Ok(key.to_vec())
    }

    /// Keeps the address of a value that is there already, as the kernel's arrays do.
    fn put(&self, key: Vec<u8>, value: &[u8]) {
        let mut entries = self.entries.borrow_mut();
        let cells = entries
            .entry(key)
            .or_insert_with(|| value.iter().chain(&REDZONE).copied().map(Cell::new).collect());
        memory::fill(cells, value);
    }
}
