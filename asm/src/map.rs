//! Maps as a program sees them: declared once, then named by index.

/// The kinds of map that our programs use, with the kernel's numbers
/// (`enum bpf_map_type`, include/uapi/linux/bpf.h).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`
    Hash = 1,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`
    PercpuArray = 6,
    /// `BPF_MAP_TYPE_DEVMAP_HASH`
    DevmapHash = 25,
    /// `BPF_MAP_TYPE_RINGBUF`: no keys; `max_entries` is its bytes.
    Ringbuf = 27,
}

impl MapKind {
    /// The kernel's name, as bpftool prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::PercpuArray => "percpu_array",
            Self::DevmapHash => "devmap_hash",
            Self::Ringbuf => "ringbuf",
        }
    }
}

/// What a map must look like for a program to use it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapDecl {
    /// Its name in listings, pins and (up to 15 bytes) in the kernel.
    pub name: &'static str,
    /// Its kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value (per-CPU kinds: on one CPU).
    pub value_size: u32,
    /// How many entries it may hold.
    pub max_entries: u32,
    /// `BPF_F_*` flags of `BPF_MAP_CREATE`.
    pub flags: u32,
}

/// A map as an object of whatever origin defines it, with the kernel's numbers; 0 is what is not known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MapShape {
    /// Its name.
    pub name: String,
    /// `enum bpf_map_type`
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value (per-CPU kinds: on one CPU).
    pub value_size: u32,
    /// How many entries it may hold.
    pub max_entries: u32,
    /// `BPF_F_*` flags of `BPF_MAP_CREATE`.
    pub flags: u32,
}

impl From<&MapDecl> for MapShape {
    fn from(decl: &MapDecl) -> Self {
        let MapDecl { name, kind, key_size, value_size, max_entries, flags } = *decl;
        Self { name: name.into(), kind: kind as u32, key_size, value_size, max_entries, flags }
    }
}

/// A map's place in the list that goes with the program: what `BPF_PSEUDO_MAP_IDX`
/// refers to. It is not a file descriptor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MapIndex(pub(crate) u32);

impl MapIndex {
    /// The index as it stands in the instruction's immediate.
    pub const fn get(self) -> u32 {
        self.0
    }
}
