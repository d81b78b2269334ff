//! BTF being read, of whatever origin: only what defines maps (libbpf's `.maps` section).

use super::build::{MAGIC, kind};
use crate::bytes::In;
use crate::map::MapShape;

/// Typedefs and qualifiers, or dimensions of an array, that are followed; a type may refer to itself.
const DEPTH: usize = 32;
/// Members of a map's definition that are looked at; libbpf knows about ten.
const MEMBERS: u32 = 32;
/// Bytes of a `struct btf_type`, of a `struct btf_member` and of a `struct btf_var_secinfo`.
const TYPE: usize = 12;
const ENTRY: usize = 12;
/// Bytes of a pointer, and of a descriptor in a map's value.
const POINTER: u32 = 8;
const FD: u32 = 4;

/// Types by number.
pub(crate) struct Types<'a> {
    data: In<'a>,
    strings: In<'a>,
    /// Where each begins; number 1 comes first.
    at: Vec<usize>,
}

/// A `struct btf_type`.
#[derive(Clone, Copy)]
struct Type<'a> {
    name: &'a [u8],
    kind: u32,
    vlen: u32,
    size_or_type: u32,
    /// Where its data begin.
    data: usize,
}

/// Whether a type of this kind is another one, with a name or a qualifier.
fn wraps(of: u32) -> bool {
    use kind::*;
    matches!(of, TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG)
}

impl<'a> Types<'a> {
    /// From a `.BTF` section. Reading ends at a kind that is not known; `None` if it can't even begin.
    pub(crate) fn read(blob: In<'a>) -> Option<Self> {
        if blob.u16(0)? != MAGIC {
            return None;
        }
        let body = blob.u32(4)?;
        let part = |at: usize| {
            let (off, len) = (blob.u32(at)?, blob.u32(at + 4)?);
            blob.part(u64::from(body) + u64::from(off), len.into())
        };
        let mut types = Self { data: part(8)?, strings: part(16)?, at: Vec::new() };
        let mut at = 0;
        while let Some(next) = types.after(at) {
            types.at.push(at);
            at = next;
        }
        Some(types)
    }

    /// Where the type after the one at `at` begins.
    fn after(&self, at: usize) -> Option<usize> {
        let info = self.data.u32(at + 4)?;
        let (kind, vlen) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        let data = match kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * vlen,
            kind::ENUM | kind::FUNC_PROTO => 8 * vlen,
            kind::PTR | kind::FWD | kind::FUNC | kind::FLOAT => 0,
            other if wraps(other) => 0,
            _ => return None,
        };
        let next = at + TYPE + data;
        (next <= self.data.bytes.len()).then_some(next)
    }

    fn get(&self, number: u32) -> Option<Type<'a>> {
        let at = *self.at.get((number as usize).checked_sub(1)?)?;
        let info = self.data.u32(at + 4)?;
        Some(Type {
            name: self.strings.name(self.data.u32(at)?)?,
            kind: (info >> 24) & 0x1f,
            vlen: info & 0xffff,
            size_or_type: self.data.u32(at + 8)?,
            data: at + TYPE,
        })
    }

    /// The same without names and qualifiers around it.
    fn bare(&self, number: u32) -> Option<Type<'a>> {
        let mut found = self.get(number)?;
        for _ in 0..DEPTH {
            if !wraps(found.kind) {
                return Some(found);
            }
            found = self.get(found.size_or_type)?;
        }
        None
    }

    /// The maps that are defined in the section of this name, at most `most`.
    pub(crate) fn maps(&self, section: &str, most: usize) -> Vec<MapShape> {
        let sections = (1..=self.at.len() as u32).filter_map(|number| self.get(number));
        let ours = sections
            .filter(|found| found.kind == kind::DATASEC && found.name == section.as_bytes());
        let variables = ours.flat_map(|found| {
            (0..found.vlen as usize).filter_map(move |at| self.data.u32(found.data + at * ENTRY))
        });
        variables.take(most).filter_map(|number| self.map(number)).collect()
    }

    /// A variable as a map's definition; what it does not say is 0.
    fn map(&self, variable: u32) -> Option<MapShape> {
        let variable = self.get(variable).filter(|found| found.kind == kind::VAR)?;
        let shape = self.bare(variable.size_or_type).filter(|found| found.kind == kind::STRUCT)?;
        let name = String::from_utf8_lossy(variable.name).into_owned();
        let mut map = MapShape { name, ..MapShape::default() };
        for member in 0..shape.vlen.min(MEMBERS) as usize {
            let at = shape.data + member * ENTRY;
            let name = self.strings.name(self.data.u32(at)?)?;
            let of = self.bare(self.data.u32(at + 4)?)?;
            let number = || self.length(of).unwrap_or(0);
            let size = || self.pointed_size(of).unwrap_or(0);
            match name {
                b"type" => map.kind = number(),
                b"key_size" => map.key_size = number(),
                b"key" => map.key_size = size(),
                b"value_size" => map.value_size = number(),
                b"value" => map.value_size = size(),
                // Of maps or programs.
                b"values" => map.value_size = FD,
                b"max_entries" => map.max_entries = number(),
                b"map_flags" => map.flags = number(),
                _ => {}
            }
        }
        Some(map)
    }

    /// The number that a pointer to an array stands for: the array's length.
    fn length(&self, pointer: Type) -> Option<u32> {
        let array = self.bare(pointer.size_or_type)?;
        let right = pointer.kind == kind::PTR && array.kind == kind::ARRAY;
        right.then(|| self.data.u32(array.data + 8))?
    }

    /// Bytes of what is pointed to.
    fn pointed_size(&self, pointer: Type) -> Option<u32> {
        let mut number = (pointer.kind == kind::PTR).then_some(pointer.size_or_type)?;
        let mut times = 1u32;
        for _ in 0..DEPTH {
            let found = self.bare(number)?;
            let size = match found.kind {
                kind::ARRAY => {
                    times = times.checked_mul(self.data.u32(found.data + 8)?)?;
                    number = self.data.u32(found.data)?;
                    continue;
                }
                kind::PTR => POINTER,
                kind::INT | kind::STRUCT | kind::UNION => found.size_or_type,
                kind::ENUM | kind::ENUM64 | kind::FLOAT => found.size_or_type,
                _ => return None,
            };
            return times.checked_mul(size);
        }
        None
    }
}
