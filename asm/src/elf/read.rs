//! In: an object as clang makes it, from whoever; what it says is checked, not believed.
//!
//! Time and memory are bounded by the object's size: parts that overlap, which no compiler makes, are
//! refused once they add up to more than there is.

use std::borrow::Cow;
use std::collections::HashMap;

use super::ElfError;
use super::abi::*;
use super::file::{File, Relocation, Symbol, relocations};
use crate::btf::Types;
use crate::bytes::{In, Out};
use crate::insn::{BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE, ByteOrder, LDDW, SLOT};
use crate::map::MapShape;

/// Maps of one object; a program in the kernel has at most 64 (`MAX_USED_MAPS`).
const MAPS_MOST: usize = 1024;
/// `BPF_MAP_TYPE_ARRAY`
const ARRAY: u32 = 2;
/// The program can't write to it.
const BPF_F_RDONLY_PROG: u32 = 1 << 7;

/// A BPF object: the code in it and the maps that the code uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    sections: Vec<Section>,
    maps: Vec<MapShape>,
}

/// A section with code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its name: for libbpf the type of the programs in it, as in `xdp`; functions that they call are in
    /// `.text`.
    pub name: String,
    /// The byte order of the instructions.
    pub order: ByteOrder,
    /// The instructions. A 64-bit immediate that names a map has the map's place in [`Object::maps`], as
    /// `BPF_PSEUDO_MAP_IDX` or, for a value in it, `BPF_PSEUDO_MAP_IDX_VALUE`. Other relocations (calls
    /// to another section, symbols of the kernel) are left as the compiler wrote them.
    pub bytes: Vec<u8>,
    /// The functions in it, by place.
    pub functions: Vec<Function>,
}

/// A function in a section.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Function {
    /// Bytes from the section's beginning to its first instruction.
    pub offset: u64,
    /// Its name.
    pub name: String,
}

impl Section {
    /// The instructions in the canonical order, little-endian. What is too short for an instruction stays as
    /// it is.
    pub fn little_endian(&self) -> Cow<'_, [u8]> {
        if self.order == ByteOrder::Little {
            return Cow::Borrowed(&self.bytes);
        }
        let mut turned = self.bytes.clone();
        for slot in turned.chunks_exact_mut(SLOT) {
            if let [_, regs, off0, off1, imm @ ..] = slot {
                *regs = regs.rotate_left(4);
                std::mem::swap(off0, off1);
                imm.reverse();
            }
        }
        Cow::Owned(turned)
    }
}

impl Object {
    /// Reads an object. An error names what is wrong with it; hostile input is no danger.
    pub fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        let file = File::read(bytes)?;
        let mut reader = Reader { maps: defined_maps(&file)?, by_name: HashMap::new(), file };
        let names = reader.maps.iter().map(|map| map.name.clone());
        reader.by_name = names.zip(0..).collect();
        let sections = reader.code(bytes.len())?;
        Ok(Self { sections, maps: reader.maps })
    }

    /// The sections with code, in the object's order.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The maps: those of the section `.maps` first, whether used or not; then, as code uses them, what
    /// libbpf makes of `.data`, `.rodata` and `.bss` (an array of one entry, with the section's name), and
    /// maps that no BTF defines (if nothing else does, all numbers are 0).
    pub fn maps(&self) -> &[MapShape] {
        &self.maps
    }
}

/// The maps that the object's BTF defines; none if it has no BTF, or one that can't be read.
fn defined_maps(file: &File) -> Result<Vec<MapShape>, ElfError> {
    let Some(btf) = file.sections.iter().find(|section| section.name == b".BTF") else {
        return Ok(Vec::new());
    };
    let types = Types::read(file.data(btf)?);
    Ok(types.map_or_else(Vec::new, |types| types.maps(MAPS, MAPS_MOST)))
}

struct Reader<'a> {
    file: File<'a>,
    maps: Vec<MapShape>,
    /// Places in `maps`.
    by_name: HashMap<String, u32>,
}

impl Reader<'_> {
    /// The sections with code, relocated; `most` bytes are read.
    fn code(&mut self, most: usize) -> Result<Vec<Section>, ElfError> {
        let mut left = most;
        let mut spend = |bytes: usize| {
            left = left.checked_sub(bytes).ok_or(ElfError::Overlap)?;
            Ok(())
        };
        let (mut found, mut places) = (Vec::new(), HashMap::new());
        for (index, header) in self.file.sections.iter().enumerate() {
            if header.kind != SHT_PROGBITS || header.flags & SHF_EXECINSTR == 0 || header.size == 0
            {
                continue;
            }
            let data = self.file.data(header)?;
            spend(data.bytes.len())?;
            places.insert(index, found.len());
            let (name, order) = (text(header.name), self.file.order());
            found.push(Section { name, order, bytes: data.bytes.to_vec(), functions: Vec::new() });
        }
        for symbol in self.file.symbols().filter(|symbol| symbol.kind == STT_FUNC) {
            let place = places.get(&usize::from(symbol.section));
            if let Some(section) = place.and_then(|place| found.get_mut(*place)) {
                let function = Function { offset: symbol.value, name: text(symbol.name) };
                section.functions.push(function);
            }
        }
        found.iter_mut().for_each(|section| crate::sort(&mut section.functions));
        for index in 0..self.file.sections.len() {
            let Some(header) = self.file.sections.get(index).copied() else { break };
            let place = places.get(&(header.info as usize)).filter(|_| header.kind == SHT_REL);
            let Some(section) = place.and_then(|place| found.get_mut(*place)) else { continue };
            let data = self.file.data(&header)?;
            spend(data.bytes.len())?;
            for relocation in relocations(data).filter(|found| found.kind == R_BPF_64_64) {
                self.relocate(section, relocation)?;
            }
        }
        Ok(found)
    }

    /// Puts the map's index in the place of its address.
    fn relocate(&mut self, section: &mut Section, relocation: Relocation) -> Result<(), ElfError> {
        let wrong = || ElfError::Relocation { section: section.name.clone(), at: relocation.at };
        let symbol = self.file.symbol(relocation.symbol).ok_or_else(wrong)?;
        let Some(target) = self.target(symbol)? else { return Ok(()) };
        let at = usize::try_from(relocation.at).ok().filter(|at| at % SLOT == 0);
        let slots = at.and_then(|at| section.bytes.get(at..)?.first_chunk::<{ 2 * SLOT }>());
        let (Some(at), Some([LDDW, regs, _, _, addend @ .., _, _, _, _, _, _, _, _])) = (at, slots)
        else {
            return Err(wrong());
        };
        let order = section.order;
        let addend = In { order, bytes: addend }.u32(0).unwrap_or(0);
        let (src, map, offset) = match target {
            Target::Map(map) => (BPF_PSEUDO_MAP_IDX, map, 0),
            Target::Value { map, offset } => {
                (BPF_PSEUDO_MAP_IDX_VALUE, map, (offset as u32).wrapping_add(addend))
            }
        };
        let regs = match order {
            ByteOrder::Little => (regs & 0x0f) | (src << 4),
            ByteOrder::Big => (regs & 0xf0) | src,
        };
        let mut load = Out::new(order);
        load.u8(LDDW).u8(regs).u16(0).u32(map).u32(0).u32(offset);
        if let Some(slots) = section.bytes.get_mut(at..at + 2 * SLOT) {
            slots.copy_from_slice(&load.bytes);
        }
        Ok(())
    }

    /// What a symbol stands for; `None` if it is neither a map nor in one.
    fn target(&mut self, symbol: Symbol) -> Result<Option<Target>, ElfError> {
        let Some(header) = self.file.sections.get(usize::from(symbol.section)).copied() else {
            return Ok(None);
        };
        let is = |stem: &[u8]| match header.name.strip_prefix(stem) {
            Some(rest) => rest.is_empty() || rest.starts_with(b"."),
            None => false,
        };
        if header.name == MAPS.as_bytes() {
            let name = text(symbol.name);
            let map = self.map(MapShape { name, ..MapShape::default() })?;
            return Ok(Some(Target::Map(map)));
        }
        if header.name == MAPS_BEFORE.as_bytes() {
            let shape = shape_before(self.file.data(&header)?, symbol);
            return Ok(Some(Target::Map(self.map(shape)?)));
        }
        let read_only = is(b".rodata");
        if !(read_only || is(b".data") || is(b".bss")) {
            return Ok(None);
        }
        let map = self.map(MapShape {
            name: text(header.name),
            kind: ARRAY,
            key_size: 4,
            value_size: u32::try_from(header.size).unwrap_or(u32::MAX),
            max_entries: 1,
            flags: if read_only { BPF_F_RDONLY_PROG } else { 0 },
        })?;
        Ok(Some(Target::Value { map, offset: symbol.value }))
    }

    /// The place of the map with this name; it is added if there is none.
    fn map(&mut self, shape: MapShape) -> Result<u32, ElfError> {
        if let Some(index) = self.by_name.get(&shape.name) {
            return Ok(*index);
        }
        if self.maps.len() >= MAPS_MOST {
            return Err(ElfError::TooManyMaps { most: MAPS_MOST });
        }
        let index = self.maps.len() as u32;
        self.by_name.insert(shape.name.clone(), index);
        self.maps.push(shape);
        Ok(index)
    }
}

/// What a 64-bit immediate is to be.
enum Target {
    /// A map, by its place in the list.
    Map(u32),
    /// A value in the only entry of a map.
    Value { map: u32, offset: u64 },
}

/// A map as it was defined before there was BTF: the first fields of libbpf's `struct bpf_map_def`.
fn shape_before(section: In, symbol: Symbol) -> MapShape {
    let at = usize::try_from(symbol.value).unwrap_or(usize::MAX);
    let field = |index: usize| section.u32(at.saturating_add(index * 4)).unwrap_or(0);
    MapShape {
        name: text(symbol.name),
        kind: field(0),
        key_size: field(1),
        value_size: field(2),
        max_entries: field(3),
        flags: field(4),
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
