//! Maps. Lengths are checked against the map's before the kernel reads or writes that many bytes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use xhop_asm::{MapDecl, MapKind};

use super::{Attr, Cmd, addr, addr_mut, bpf, bpf_fd_charged, obj_name, raw};
use crate::{Error, Result};

/// Set by the kernel itself on every devmap (kernel/bpf/devmap.c).
const BPF_F_RDONLY_PROG: u32 = 1 << 7;

const KINDS: [MapKind; 4] =
    [MapKind::Hash, MapKind::PercpuArray, MapKind::DevmapHash, MapKind::Ringbuf];

/// A map, kept alive by its descriptor.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    info: MapInfo,
}

/// What the kernel says of a map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapInfo {
    /// Its kind.
    pub kind: MapKind,
    /// Its id, unique on this host while it lives.
    pub id: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value (per-CPU kinds: on one CPU).
    pub value_size: u32,
    /// How many entries it may hold.
    pub max_entries: u32,
    /// `BPF_F_*`, with what the kernel added.
    pub flags: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
}

#[repr(C)]
#[derive(Default)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

// SAFETY: laid out as the kernel has it, no addresses.
unsafe impl Attr for CreateAttr {}

#[repr(C)]
struct ElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    /// Or the next key.
    value: u64,
    flags: u64,
}

// SAFETY: laid out as the kernel has it; `Map` checks that key and value are as long as the
// map's (per-CPU: one 8-aligned value for each possible CPU), and keeps them alive.
unsafe impl Attr for ElemAttr {}

/// The beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct RawInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    name: [u8; 16],
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Map {
    /// Creates a map, empty.
    pub fn create(decl: &MapDecl) -> Result<Self> {
        let mut attr = CreateAttr {
            map_type: decl.kind as u32,
            key_size: decl.key_size,
            value_size: decl.value_size,
            max_entries: decl.max_entries,
            map_flags: decl.flags,
            map_name: obj_name(decl.name),
            ..CreateAttr::default()
        };
        let fd = bpf_fd_charged(Cmd::MAP_CREATE, &mut attr)
            .map_err(Cmd::MAP_CREATE.failed_charged(decl.name))?;
        Self::from_fd(fd, decl.name)
    }

    /// Opens a pinned map. A map of a kind that we never create is refused.
    pub fn open_pinned(path: &Path) -> Result<Self> {
        Self::from_fd(super::obj_get(path, "bpf-map")?, &path.to_string_lossy())
    }

    /// Opens a map by its id; likewise.
    pub fn by_id(id: u32) -> Result<Self> {
        Self::from_fd(super::fd_by_id(Cmd::MAP_GET_FD_BY_ID, id)?, &format!("id {id}"))
    }

    fn from_fd(fd: OwnedFd, on: &str) -> Result<Self> {
        let mut info = RawInfo::default();
        // SAFETY: `RawInfo` is the beginning of the kernel's struct, no addresses.
        unsafe { super::obj_info(fd.as_fd(), &mut info) }
            .map_err(Cmd::OBJ_GET_INFO_BY_FD.failed(on))?;
        // A kind whose buffer sizes we don't know can't be used safely.
        let kind = KINDS.into_iter().find(|kind| *kind as u32 == info.kind);
        let kind = kind.ok_or(Error::MapKind {
            map: on.into(),
            kind: "kind that xhop never makes",
            remedy: "unpin it",
        })?;
        let info = MapInfo {
            kind,
            id: info.id,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.map_flags,
            name: super::name_string(&info.name),
        };
        Ok(Self { fd, info })
    }

    /// What the kernel says of it.
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Whether a program that declares `decl` can use it.
    pub fn matches(&self, decl: &MapDecl) -> bool {
        let ours = match decl.kind {
            MapKind::DevmapHash => decl.flags | BPF_F_RDONLY_PROG,
            MapKind::Hash | MapKind::PercpuArray | MapKind::Ringbuf => decl.flags,
        };
        let info = &self.info;
        (info.kind, info.key_size, info.value_size, info.max_entries, info.flags)
            == (decl.kind, decl.key_size, decl.value_size, decl.max_entries, ours)
    }

    /// What the kernel has charged for it, in bytes.
    pub fn memory(&self) -> Result<u64> {
        super::memory(self.as_fd())
    }

    /// Pins it to a path on a BPF file system.
    pub fn pin(&self, path: &Path) -> Result<()> {
        super::obj_pin(self.as_fd(), path)
    }

    /// Writes an entry, new or not. Per-CPU kinds take the values of all possible CPUs, each
    /// rounded up to 8 bytes. A devmap's ifindex is one of the calling thread's netns.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.check("key", self.info.key_size as usize, key)?;
        self.check("value", self.value_len()?, value)?;
        let done = self.elem(Cmd::MAP_UPDATE_ELEM, key, addr(value));
        done.map_err(Cmd::MAP_UPDATE_ELEM.failed(&self.info.name))
    }

    /// Reads an entry; `None` if there is none.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if self.is_percpu() {
            return Err(self.wrong_kind("read it with lookup_percpu"));
        }
        self.read(key)
    }

    /// Reads an entry's value on each possible CPU; `None` if there is no such entry.
    pub fn lookup_percpu(&self, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>> {
        if !self.is_percpu() {
            return Err(self.wrong_kind("read it with lookup"));
        }
        let size = self.info.value_size as usize;
        // `max(1)`: chunks of no bytes panic, and no map has values of none.
        let split = |all: Vec<u8>| {
            let values = all.chunks(size.next_multiple_of(8).max(1));
            values.map(|value| value.iter().copied().take(size).collect()).collect()
        };
        Ok(self.read(key)?.map(split))
    }

    /// The sums over all CPUs of the `u64` at these offsets of an entry; 0 if there is no such entry.
    pub fn sums<const N: usize>(&self, key: &[u8], offsets: [i16; N]) -> Result<[u64; N]> {
        let cpus = self.lookup_percpu(key)?.unwrap_or_default();
        Ok(offsets.map(|off| {
            let words = cpus.iter().filter_map(|value| value.get(off as usize..)?.first_chunk());
            words.map(|word| u64::from_ne_bytes(*word)).fold(0, u64::wrapping_add)
        }))
    }

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.check("key", self.info.key_size as usize, key)?;
        let mut value = vec![0; self.value_len()?];
        match self.elem(Cmd::MAP_LOOKUP_ELEM, key, addr_mut(&mut value)) {
            Ok(()) => Ok(Some(value)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Cmd::MAP_LOOKUP_ELEM.failed(&self.info.name)(errno)),
        }
    }

    /// Removes an entry; false if there was none.
    pub fn delete(&self, key: &[u8]) -> Result<bool> {
        self.check("key", self.info.key_size as usize, key)?;
        match self.elem(Cmd::MAP_DELETE_ELEM, key, 0) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(Cmd::MAP_DELETE_ELEM.failed(&self.info.name)(errno)),
        }
    }

    /// The keys of all entries, in no order. What comes or goes meanwhile may be among them or not.
    pub fn keys(&self) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        let mut next = vec![0; self.info.key_size as usize];
        // Without a key it gives the first.
        let mut attr =
            ElemAttr { map_fd: raw(self), pad: 0, key: 0, value: addr_mut(&mut next), flags: 0 };
        // Where the last one has gone, it begins anew: not for ever.
        for _ in 0..self.info.max_entries {
            match bpf(Cmd::MAP_GET_NEXT_KEY, &mut attr) {
                Ok(_) => keys.push(next.clone()),
                Err(Errno::ENOENT) => break,
                Err(errno) => return Err(Cmd::MAP_GET_NEXT_KEY.failed(&self.info.name)(errno)),
            }
            attr.key = keys.last().map_or(0, |key| addr(key));
        }
        Ok(keys)
    }

    /// One of the element commands.
    fn elem(&self, cmd: Cmd, key: &[u8], value: u64) -> nix::Result<()> {
        let mut attr = ElemAttr { map_fd: raw(self), pad: 0, key: addr(key), value, flags: 0 };
        bpf(cmd, &mut attr).map(drop)
    }

    fn is_percpu(&self) -> bool {
        match self.info.kind {
            MapKind::PercpuArray => true,
            MapKind::Hash | MapKind::DevmapHash | MapKind::Ringbuf => false,
        }
    }

    /// How many bytes the kernel reads or writes for a value (`bpf_map_value_size`).
    fn value_len(&self) -> Result<usize> {
        let size = self.info.value_size as usize;
        if self.is_percpu() { Ok(size.next_multiple_of(8) * possible_cpus()?) } else { Ok(size) }
    }

    fn check(&self, what: &'static str, want: usize, given: &[u8]) -> Result<()> {
        if given.len() == want {
            return Ok(());
        }
        Err(Error::MapSize { map: self.info.name.clone(), what, want, got: given.len() })
    }

    fn wrong_kind(&self, remedy: &'static str) -> Error {
        Error::MapKind { map: self.info.name.clone(), kind: self.info.kind.name(), remedy }
    }
}

/// How many CPUs this host may ever have: the length of a per-CPU value.
pub fn possible_cpus() -> Result<usize> {
    let path = "/sys/devices/system/cpu/possible";
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let odd = || Error::io(path)(std::io::ErrorKind::InvalidData.into());
    parse_cpus(text.trim()).ok_or_else(odd)
}

/// Counts the CPUs of a list such as `0-3,6`.
fn parse_cpus(list: &str) -> Option<usize> {
    list.split(',').try_fold(0usize, |count, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        count.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::privileged;

    const HASH: MapDecl = MapDecl {
        name: "xhop-test.hash_cut",
        kind: MapKind::Hash,
        key_size: 4,
        value_size: 6,
        max_entries: 3,
        flags: 0,
    };

    #[test]
    fn counts_cpus() {
        assert_eq!(parse_cpus("0"), Some(1));
        assert_eq!(parse_cpus("0-3"), Some(4));
        assert_eq!(parse_cpus("0,2-3,7"), Some(4));
        for odd in ["", "x", "3-1", "0-", "0-18446744073709551615"] {
            assert_eq!(parse_cpus(odd), None, "{odd}");
        }
    }

    #[test]
    fn hash() {
        if !privileged("map::hash") {
            return;
        }
        let map = Map::create(&HASH).expect("create");
        assert_eq!(map.info().name, "xhop_test.hash_");
        assert!(map.matches(&HASH) && !map.matches(&MapDecl { value_size: 8, ..HASH.clone() }));
        assert_eq!(map.lookup(b"key1").expect("lookup"), None);
        map.update(b"key1", b"value1").expect("update");
        assert_eq!(map.lookup(b"key1").expect("lookup").as_deref(), Some(&b"value1"[..]));
        assert!(map.delete(b"key1").expect("delete"));
        assert!(!map.delete(b"key1").expect("delete"));
    }

    #[test]
    fn lengths_are_checked() {
        if !privileged("map::lengths_are_checked") {
            return;
        }
        let map = Map::create(&HASH).expect("create");
        assert!(matches!(map.update(b"key", b"value1"), Err(Error::MapSize { got: 3, .. })));
        assert!(matches!(map.update(b"key1", b""), Err(Error::MapSize { what: "value", .. })));
        assert!(matches!(map.lookup(b""), Err(Error::MapSize { .. })));
        assert!(matches!(map.delete(b"12345"), Err(Error::MapSize { .. })));
        assert!(matches!(map.lookup_percpu(b"key1"), Err(Error::MapKind { .. })));
    }

    #[test]
    fn percpu_array() {
        if !privileged("map::percpu_array") {
            return;
        }
        let kind = MapKind::PercpuArray;
        let decl = MapDecl { kind, value_size: 12, max_entries: 2, ..HASH.clone() };
        let map = Map::create(&decl).expect("create");
        let cpus = possible_cpus().expect("cpus");
        let one = 1u32.to_ne_bytes();
        let zeros = map.lookup_percpu(&one).expect("lookup").expect("arrays are full");
        assert_eq!(zeros, vec![vec![0; 12]; cpus]);
        let values: Vec<u8> = (0..cpus).flat_map(|cpu| [cpu as u8 + 1; 16]).collect();
        map.update(&one, &values).expect("update");
        let read = map.lookup_percpu(&one).expect("lookup").expect("arrays are full");
        let want: Vec<_> = (0..cpus).map(|cpu| vec![cpu as u8 + 1; 12]).collect();
        assert_eq!(read, want);
        assert!(matches!(map.lookup(&one), Err(Error::MapKind { .. })));
        assert_eq!(map.lookup_percpu(&9u32.to_ne_bytes()).expect("lookup"), None);
    }

    #[test]
    fn devmap_flags_match() {
        if !privileged("map::devmap_flags_match") {
            return;
        }
        let decl = MapDecl { kind: MapKind::DevmapHash, value_size: 4, ..HASH.clone() };
        let map = Map::create(&decl).expect("create");
        assert!(map.matches(&decl), "{:?}", map.info());
    }
}
