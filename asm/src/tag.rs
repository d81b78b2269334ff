//! The program tag: how the kernel names what it was given to load.
//!
//! It is the beginning of a hash over the instructions in the machine's byte order, computed before
//! the verifier rewrites any (kernel/bpf/core.c, `bpf_prog_calc_tag`). A map's descriptor means nothing
//! to anyone else and is hashed as zero; an index is hashed as it stands.

use sha1::Digest;

use crate::insn::{ByteOrder, Insn, SLOT};
use crate::program::Program;

/// The hash that a kernel uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TagKind {
    /// Kernels before 6.18.
    Sha1,
    /// Kernels from 6.18.
    Sha256,
}

/// How the instructions that the kernel was given name their maps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MapRefs {
    /// By index, as they are listed (`BPF_PSEUDO_MAP_IDX`).
    Index,
    /// By descriptor, patched in for a kernel before 5.14 (`BPF_PSEUDO_MAP_FD`).
    Patched,
}

impl TagKind {
    /// That of a kernel `(major, minor)`.
    pub fn of(kernel: (u32, u32)) -> Self {
        if kernel < (6, 18) { Self::Sha1 } else { Self::Sha256 }
    }
}

impl MapRefs {
    /// What a kernel `(major, minor)` can be given: `fd_array` is there from 5.14 on.
    pub fn of(kernel: (u32, u32)) -> Self {
        if kernel < (5, 14) { Self::Patched } else { Self::Index }
    }

    /// An instruction of ours as the kernel gets it. A descriptor means nothing here: it is zero.
    pub(crate) fn shown(self, insn: Insn) -> Insn {
        match (self, insn) {
            (Self::Patched, Insn::LoadMap { dst, .. }) => Insn::LoadMapFd { dst, fd: 0 },
            _ => insn,
        }
    }
}

/// The tag, in the order in which tools print its bytes. `order` is that of the kernel's machine.
pub fn tag(program: &Program, kind: TagKind, refs: MapRefs, order: ByteOrder) -> [u8; 8] {
    let bytes = hashed(program, refs, order);
    match kind {
        TagKind::Sha1 => first::<sha1::Sha1>(&bytes),
        TagKind::Sha256 => first::<sha2::Sha256>(&bytes),
    }
}

/// What the tag is a hash of: the bytes that a kernel is given, with each map's descriptor zero.
pub fn hashed(program: &Program, refs: MapRefs, order: ByteOrder) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.slots() * SLOT);
    for line in program.lines() {
        refs.shown(line.insn).encode(order, &mut bytes);
    }
    bytes
}

/// SHA-256, whole: of [`Program::bytes`] it is what names a program beyond doubt.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

fn first<D: Digest>(bytes: &[u8]) -> [u8; 8] {
    let mut tag = [0; 8];
    tag.iter_mut().zip(D::digest(bytes)).for_each(|(to, from)| *to = from);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::{Checksum, Shipped};

    const KINDS: [TagKind; 2] = [TagKind::Sha1, TagKind::Sha256];
    const REFS: [MapRefs; 2] = [MapRefs::Index, MapRefs::Patched];

    #[test]
    fn pass_is_as_kernels_have_it() {
        let pass = Shipped::Pass.program().expect("assembles");
        let tags = [0x3b18_5187_f185_5c4c_u64, 0x614b_434c_d832_4ecc].map(u64::to_be_bytes);
        for refs in REFS {
            let got = KINDS.map(|kind| tag(&pass, kind, refs, ByteOrder::Little));
            assert_eq!(got, tags, "it has no maps to name");
        }
    }

    #[test]
    fn maps_by_descriptor_are_hashed_as_zero() {
        let program = Shipped::Forward(Checksum::Keep).program().expect("assembles");
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let patched = hashed(&program, MapRefs::Patched, order);
            let plain = program.bytes(order);
            let (slots, others) = (patched.chunks(SLOT), plain.chunks(SLOT));
            let changed: Vec<_> = slots.zip(others).filter(|(new, old)| new != old).collect();
            let loads = program.lines().iter();
            let loads = loads.filter(|line| matches!(line.insn, Insn::LoadMap { .. })).count();
            assert_eq!(changed.len(), loads);
            assert!(changed.iter().all(|(new, _)| new[4..] == [0; 4]), "no descriptor is left");
            assert!(changed.iter().all(|(new, old)| new[1] ^ old[1]
                == match order {
                    ByteOrder::Little => (5 ^ 1) << 4,
                    ByteOrder::Big => 5 ^ 1,
                }));
        }
    }

    #[test]
    fn every_program_has_tags_of_its_own() {
        let mut tags = Vec::new();
        for shipped in Shipped::ALL {
            let program = shipped.program().expect("assembles");
            for kind in KINDS {
                tags.push(tag(&program, kind, MapRefs::Index, ByteOrder::Little));
                let patched = tag(&program, kind, MapRefs::Patched, ByteOrder::Little);
                if !program.maps().is_empty() {
                    tags.push(patched);
                }
            }
        }
        let count = tags.len();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), count);
    }
}
