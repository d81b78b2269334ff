//! The tables of an object: sections, symbols, relocations. Nothing in it is believed.

use super::ElfError;
use super::abi::*;
use crate::bytes::In;
use crate::insn::ByteOrder;

/// A section's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: u32,
    pub(super) flags: u64,
    offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
    pub(super) info: u32,
}

/// A symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: u8,
    pub(super) section: u16,
    pub(super) value: u64,
}

/// A relocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation {
    pub(super) at: u64,
    pub(super) kind: u32,
    pub(super) symbol: u32,
}

/// An object's bytes and what they are divided into.
pub(super) struct File<'a> {
    all: In<'a>,
    pub(super) sections: Vec<Header<'a>>,
    symbols: In<'a>,
    symbol_names: In<'a>,
}

impl<'a> File<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ElfError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(ElfError::NotElf);
        }
        let order = match (bytes.get(4), bytes.get(5)) {
            (Some(&ELFCLASS64), Some(&ELFDATA2LSB)) => ByteOrder::Little,
            (Some(&ELFCLASS64), Some(&ELFDATA2MSB)) => ByteOrder::Big,
            _ => return Err(ElfError::NotBpf),
        };
        let all = In { order, bytes };
        let truncated = || ElfError::Truncated { what: "header" };
        let half = |at| all.u16(at).ok_or_else(truncated);
        if (half(16)?, half(18)?) != (ET_REL, EM_BPF) {
            return Err(ElfError::NotBpf);
        }
        let (size, count, names) = (half(58)?, half(60)?, half(62)?);
        if count != 0 && usize::from(size) != SHDR {
            return Err(ElfError::NotBpf);
        }
        let table = all.u64(40).ok_or_else(truncated)?;
        let table = all
            .part(table, u64::from(count) * SHDR as u64)
            .ok_or(ElfError::Truncated { what: "table of sections" })?;
        let none = In { order, bytes: &[] };
        let mut file = Self { all, sections: Vec::new(), symbols: none, symbol_names: none };
        file.sections = table
            .bytes
            .chunks(SHDR)
            .map(|bytes| header(In { order, bytes }).ok_or_else(truncated))
            .collect::<Result<_, _>>()?;
        file.name_sections(table, names)?;
        if let Some(symtab) = file.sections.iter().find(|section| section.kind == SHT_SYMTAB) {
            let names = file.sections.get(symtab.link as usize);
            file.symbol_names = names.map_or(Ok(none), |names| file.data(names))?;
            file.symbols = file.data(symtab)?;
        }
        Ok(file)
    }

    fn name_sections(&mut self, table: In<'a>, names: u16) -> Result<(), ElfError> {
        let Some(names) = self.sections.get(usize::from(names)) else { return Ok(()) };
        let names = self.data(names)?;
        for (section, at) in self.sections.iter_mut().zip((0..).step_by(SHDR)) {
            section.name = table.u32(at).and_then(|at| names.name(at)).unwrap_or_default();
        }
        Ok(())
    }

    /// What is in a section.
    pub(super) fn data(&self, section: &Header) -> Result<In<'a>, ElfError> {
        let size = if section.kind == SHT_NOBITS { 0 } else { section.size };
        self.all.part(section.offset, size).ok_or(ElfError::Truncated { what: "section" })
    }

    /// The byte order of all of it.
    pub(super) fn order(&self) -> ByteOrder {
        self.all.order
    }

    pub(super) fn symbol(&self, index: u32) -> Option<Symbol<'a>> {
        let part = self.symbols.part(u64::from(index) * SYM as u64, SYM as u64)?;
        Some(Symbol {
            name: self.symbol_names.name(part.u32(0)?).unwrap_or_default(),
            kind: part.u8(4)? & 0xf,
            section: part.u16(6)?,
            value: part.u64(8)?,
        })
    }

    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol<'a>> {
        (0..(self.symbols.bytes.len() / SYM) as u32).filter_map(|index| self.symbol(index))
    }
}

/// Without its name, which needs another section.
fn header(part: In<'_>) -> Option<Header<'_>> {
    Some(Header {
        name: &[],
        kind: part.u32(4)?,
        flags: part.u64(8)?,
        offset: part.u64(24)?,
        size: part.u64(32)?,
        link: part.u32(40)?,
        info: part.u32(44)?,
    })
}

/// The relocations in a section's data.
pub(super) fn relocations(data: In<'_>) -> impl Iterator<Item = Relocation> {
    data.bytes.chunks_exact(REL).filter_map(move |bytes| {
        let part = In { bytes, ..data };
        let info = part.u64(8)?;
        Some(Relocation { at: part.u64(0)?, kind: info as u32, symbol: (info >> 32) as u32 })
    })
}
