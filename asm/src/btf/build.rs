//! BTF being written: types are numbered as they come, strings are kept once.

use std::ops::Range;

use crate::bytes::Out;
use crate::insn::ByteOrder;

/// `struct btf_header`
pub(crate) const MAGIC: u16 = 0xeb9f;
pub(crate) const VERSION: u8 = 1;

/// `BTF_KIND_*`
pub(crate) mod kind {
    pub(crate) const INT: u32 = 1;
    pub(crate) const PTR: u32 = 2;
    pub(crate) const ARRAY: u32 = 3;
    pub(crate) const STRUCT: u32 = 4;
    pub(crate) const UNION: u32 = 5;
    pub(crate) const ENUM: u32 = 6;
    pub(crate) const FWD: u32 = 7;
    pub(crate) const TYPEDEF: u32 = 8;
    pub(crate) const VOLATILE: u32 = 9;
    pub(crate) const CONST: u32 = 10;
    pub(crate) const RESTRICT: u32 = 11;
    pub(crate) const FUNC: u32 = 12;
    pub(crate) const FUNC_PROTO: u32 = 13;
    pub(crate) const VAR: u32 = 14;
    pub(crate) const DATASEC: u32 = 15;
    pub(crate) const FLOAT: u32 = 16;
    pub(crate) const DECL_TAG: u32 = 17;
    pub(crate) const TYPE_TAG: u32 = 18;
    pub(crate) const ENUM64: u32 = 19;
}

/// `BTF_INT_SIGNED`, in its place in an INT's data.
const INT_SIGNED: u32 = 1 << 24;
/// `BTF_FUNC_GLOBAL`, `BTF_VAR_GLOBAL_ALLOCATED`
const GLOBAL: u32 = 1;

/// A type's number; 0 is `void`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TypeId(pub(crate) u32);

/// `int`, with which all begins.
pub(crate) const INT: TypeId = TypeId(1);

/// Types and strings.
#[derive(Debug)]
pub(crate) struct Builder {
    types: Out,
    count: u32,
    strings: Vec<u8>,
    /// Where each is in `strings`, in their order.
    known: Vec<Range<usize>>,
}

impl Builder {
    pub(crate) fn new(order: ByteOrder) -> Self {
        // The first string is the empty one: no name.
        let (strings, known) = (vec![0], std::iter::once(0..0).collect());
        let mut new = Self { types: Out::new(order), count: 0, strings, known };
        new.add("int", kind::INT, 0, 4, &[INT_SIGNED | 32]);
        new
    }

    pub(crate) fn order(&self) -> ByteOrder {
        self.types.order
    }

    /// The string's place. The kernel takes any bytes, but a listing wants one line.
    pub(crate) fn string(&mut self, text: &str) -> u32 {
        let Self { strings, known, .. } = self;
        let at = strings.len();
        strings.extend(text.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
        let (before, new) = strings.split_at(at);
        match known.binary_search_by(|place| before[place.clone()].cmp(new)) {
            Ok(index) => {
                strings.truncate(at);
                known[index].start as u32
            }
            Err(index) => {
                known.insert(index, at..strings.len());
                strings.push(0);
                at as u32
            }
        }
    }

    /// A `struct btf_type`: its name, its kind with `vlen`, its size or type, and what follows.
    fn add(&mut self, name: &str, kind: u32, vlen: u32, size_or_type: u32, data: &[u32]) -> TypeId {
        let name = self.string(name);
        self.types.u32s(&[name, (kind << 24) | vlen, size_or_type]).u32s(data);
        self.count += 1;
        TypeId(self.count)
    }

    /// A global function that takes nothing, as far as BTF is told. `name` is an identifier.
    pub(crate) fn func(&mut self, name: &str, returns: TypeId) -> TypeId {
        let proto = self.add("", kind::FUNC_PROTO, 0, returns.0, &[]);
        self.add(name, kind::FUNC, GLOBAL, proto.0, &[])
    }

    /// A pointer to it.
    pub(crate) fn pointer(&mut self, to: TypeId) -> TypeId {
        self.add("", kind::PTR, 0, to.0, &[])
    }

    /// So many of it.
    pub(crate) fn array(&mut self, of: TypeId, length: u32) -> TypeId {
        self.add("", kind::ARRAY, 0, 0, &[of.0, INT.0, length])
    }

    /// A struct without a name; each member has `size` bytes.
    pub(crate) fn structure(&mut self, members: &[(&str, TypeId)], size: u32) -> TypeId {
        let mut data = Vec::new();
        for (index, (name, of)) in members.iter().enumerate() {
            data.extend([self.string(name), of.0, index as u32 * size * 8]);
        }
        let count = members.len() as u32;
        self.add("", kind::STRUCT, count, count * size, &data)
    }

    /// A global variable. `name` is an identifier.
    pub(crate) fn variable(&mut self, name: &str, of: TypeId) -> TypeId {
        self.add(name, kind::VAR, 0, of.0, &[GLOBAL])
    }

    /// A section of so many bytes, with its variables: type, offset, size.
    pub(crate) fn section(&mut self, name: &str, size: u32, variables: &[[u32; 3]]) {
        self.add(name, kind::DATASEC, variables.len() as u32, size, variables.as_flattened());
    }

    /// Header, types and strings, as the kernel wants them: without a gap.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = header(self.types.order, 2);
        out.u32s(&[0, self.types.len(), self.types.len(), self.strings.len() as u32]);
        out.bytes.extend(self.types.bytes);
        out.bytes.extend(self.strings);
        out.bytes
    }
}

/// The beginning of `struct btf_header` and of `struct btf_ext_header`; offset and length of so many parts
/// follow.
pub(crate) fn header(order: ByteOrder, parts: u32) -> Out {
    let mut out = Out::new(order);
    out.u16(MAGIC).u8(VERSION).u8(0).u32(8 + 8 * parts);
    out
}
