//! Out: a relocatable object that libbpf loads and that disassemblers and verifiers read.
//!
//! The code in it is the canonical bytes, with `BPF_PSEUDO_MAP_IDX` and the map's index as they are
//! hashed and listed. At each of those a relocation names the map's symbol, by which a loader replaces
//! both; like any reader of BPF objects it must not take the index for an addend.

use super::abi::*;
use crate::btf::{Builder, FUNC_INFO_SIZE, INT, LINE_INFO_SIZE, describe, header, identifier};
use crate::bytes::Out;
use crate::insn::{ByteOrder, Insn, SLOT};
use crate::map::MapDecl;
use crate::program::{LICENSE, Program};

/// The object's order: that of the canonical bytes.
const ORDER: ByteOrder = ByteOrder::Little;

/// The program as an object. Its hook names its section, by which libbpf knows the program's type.
pub fn object(program: &Program) -> Vec<u8> {
    let hook = program.hook();
    let mut types = Builder::new(ORDER);
    let [func_info, line_info] = describe(program, SLOT as u32, &mut types);
    let maps: Vec<MapSymbol> = map_types(program.maps(), &mut types);
    let ext = ext(types.string(hook.section()), &func_info, &line_info);

    let (mut strings, mut symbols) = (Strings(vec![0]), Out::new(ORDER));
    symbols.bytes.resize(SYM, 0);
    let code = program.bytes(ORDER);
    symbol(&mut symbols, strings.add(&program.symbol()), GLOBAL_FUNC, CODE, 0, code.len());
    for map in &maps {
        symbol(&mut symbols, strings.add(&map.name), GLOBAL_OBJECT, MAPS_AT, map.at, map.size);
    }

    let alloc = SHF_ALLOC | SHF_WRITE;
    let mut sections = vec![
        Section::new(hook.section(), SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, code).align(8),
        Section::new("license", SHT_PROGBITS, alloc, LICENSE.to_bytes_with_nul().to_vec()),
        Section::new(".BTF", SHT_PROGBITS, 0, types.finish()).align(4),
        Section::new(".BTF.ext", SHT_PROGBITS, 0, ext).align(4),
        // `sh_info` is the first global symbol.
        Section::new(".symtab", SHT_SYMTAB, 0, symbols.bytes).align(8).table(STRTAB, 1, SYM),
        Section::new(".strtab", SHT_STRTAB, 0, Vec::new()),
    ];
    if !maps.is_empty() {
        let size = maps.iter().map(|map| map.size).sum();
        let relocations = relocations(program);
        let rel = format!(".rel{}", hook.section());
        sections.push(Section::new(MAPS, SHT_PROGBITS, alloc, vec![0; size]).align(8));
        let rel = Section::new(rel, SHT_REL, SHF_INFO_LINK, relocations).align(8);
        sections.push(rel.table(SYMTAB, CODE.into(), REL));
    }
    let names: Vec<u32> = sections.iter().map(|section| strings.add(&section.name)).collect();
    sections[usize::from(STRTAB) - 1].data = strings.0;
    file(&sections, &names)
}

/// Places of sections; 0 is none.
const CODE: u16 = 1;
const SYMTAB: u16 = 5;
const STRTAB: u16 = 6;
const MAPS_AT: u16 = 7;

/// A section to be written.
struct Section {
    name: String,
    kind: u32,
    flags: u64,
    link: u16,
    info: u32,
    align: usize,
    entry: usize,
    data: Vec<u8>,
}

impl Section {
    fn new(name: impl Into<String>, kind: u32, flags: u64, data: Vec<u8>) -> Self {
        Self { name: name.into(), kind, flags, link: 0, info: 0, align: 1, entry: 0, data }
    }

    fn align(self, align: usize) -> Self {
        Self { align, ..self }
    }

    fn table(self, link: u16, info: u32, entry: usize) -> Self {
        Self { link, info, entry, ..self }
    }
}

/// A string table: strings by offset, the first empty.
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        at
    }
}

/// `Elf64_Sym`
fn symbol(out: &mut Out, name: u32, info: u8, section: u16, value: usize, size: usize) {
    out.u32(name).u8(info).u8(0).u16(section).u64(value as u64).u64(size as u64);
}

/// `Elf64_Rel`, one for each map load. The symbols of the maps follow the null one and the function's.
fn relocations(program: &Program) -> Vec<u8> {
    let (mut out, mut at) = (Out::new(ORDER), 0);
    for line in program.lines() {
        if let Insn::LoadMap { map, .. } = line.insn {
            out.u64(at).u32(R_BPF_64_64).u32(map.get() + 2);
        }
        at += (line.insn.slots() * SLOT) as u64;
    }
    out.bytes
}

/// A map's symbol in `.maps`.
struct MapSymbol {
    name: String,
    at: usize,
    size: usize,
}

/// Defines the maps as libbpf wants them: each a variable in the section `.maps`, of a struct whose
/// members are pointers to arrays; what a member says is the array's length.
fn map_types(decls: &[MapDecl], types: &mut Builder) -> Vec<MapSymbol> {
    const POINTER: u32 = 8;
    let (mut symbols, mut variables) = (Vec::new(), Vec::new());
    let mut at = 0;
    for decl in decls {
        let members = [
            ("type", decl.kind as u32),
            ("key_size", decl.key_size),
            ("value_size", decl.value_size),
            ("max_entries", decl.max_entries),
            ("map_flags", decl.flags),
        ];
        let members = members.map(|(name, number)| {
            let array = types.array(INT, number);
            (name, types.pointer(array))
        });
        let size = POINTER * members.len() as u32;
        let shape = types.structure(&members, POINTER);
        let name = identifier(decl.name);
        variables.push([types.variable(&name, shape).0, at, size]);
        symbols.push(MapSymbol { name, at: at as usize, size: size as usize });
        at += size;
    }
    if !variables.is_empty() {
        types.section(MAPS, at, &variables);
    }
    symbols
}

/// `.BTF.ext`: the records, each kind by section, after the size of one.
fn ext(section: u32, func_info: &[u8], line_info: &[u8]) -> Vec<u8> {
    let records = |size: u32, records: &[u8]| {
        let mut out = Out::new(ORDER);
        out.u32s(&[size, section, records.len() as u32 / size]);
        out.bytes.extend_from_slice(records);
        out.bytes
    };
    let (funcs, lines) = (records(FUNC_INFO_SIZE, func_info), records(LINE_INFO_SIZE, line_info));
    let mut out = header(ORDER, 3);
    let (funcs_len, lines_len) = (funcs.len() as u32, lines.len() as u32);
    // No CO-RE relocations, which LLVM looks for even in a header that ends before them.
    out.u32s(&[0, funcs_len, funcs_len, lines_len, funcs_len + lines_len, 0]);
    out.bytes.extend(funcs);
    out.bytes.extend(lines);
    out.bytes
}

/// The header, the sections, and the table of their headers.
fn file(sections: &[Section], names: &[u32]) -> Vec<u8> {
    let (mut body, mut headers) = (vec![0; EHDR], Out::new(ORDER));
    headers.bytes.resize(SHDR, 0);
    for (section, name) in sections.iter().zip(names) {
        body.resize(body.len().next_multiple_of(section.align), 0);
        headers.u32(*name).u32(section.kind).u64(section.flags).u64(0);
        headers.u64(body.len() as u64).u64(section.data.len() as u64);
        headers.u32(section.link.into()).u32(section.info);
        headers.u64(section.align as u64).u64(section.entry as u64);
        body.extend_from_slice(&section.data);
    }
    body.resize(body.len().next_multiple_of(8), 0);

    let mut out = Out::new(ORDER);
    out.bytes.extend(MAGIC);
    out.u8(ELFCLASS64).u8(ELFDATA2LSB).u8(EV_CURRENT);
    out.bytes.resize(16, 0);
    out.u16(ET_REL).u16(EM_BPF).u32(EV_CURRENT.into());
    out.u64(0).u64(0).u64(body.len() as u64);
    out.u32(0).u16(EHDR as u16).u16(0).u16(0);
    out.u16(SHDR as u16).u16(sections.len() as u16 + 1).u16(STRTAB);
    body.splice(..EHDR, out.bytes);
    body.extend(headers.bytes);
    body
}
