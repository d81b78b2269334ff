//! Numbers and sizes of ELF64 (elf(5)) and of its BPF part (Documentation/bpf/llvm_reloc.rst).

pub(super) const MAGIC: [u8; 4] = *b"\x7fELF";
pub(super) const ELFCLASS64: u8 = 2;
pub(super) const ELFDATA2LSB: u8 = 1;
pub(super) const ELFDATA2MSB: u8 = 2;
pub(super) const EV_CURRENT: u8 = 1;
pub(super) const ET_REL: u16 = 1;
pub(super) const EM_BPF: u16 = 247;

/// Bytes of the file's header, of a section's, of a symbol, of a relocation without an addend.
pub(super) const EHDR: usize = 64;
pub(super) const SHDR: usize = 64;
pub(super) const SYM: usize = 24;
pub(super) const REL: usize = 16;

pub(super) const SHT_PROGBITS: u32 = 1;
pub(super) const SHT_SYMTAB: u32 = 2;
pub(super) const SHT_STRTAB: u32 = 3;
pub(super) const SHT_NOBITS: u32 = 8;
pub(super) const SHT_REL: u32 = 9;

pub(super) const SHF_WRITE: u64 = 1;
pub(super) const SHF_ALLOC: u64 = 1 << 1;
pub(super) const SHF_EXECINSTR: u64 = 1 << 2;
pub(super) const SHF_INFO_LINK: u64 = 1 << 6;

/// `st_info`: a global object, a global function.
pub(super) const GLOBAL_OBJECT: u8 = (1 << 4) | 1;
pub(super) const GLOBAL_FUNC: u8 = (1 << 4) | 2;

/// The lower half of `st_info`: a function.
pub(super) const STT_FUNC: u8 = 2;

/// A 64-bit immediate is to be the symbol's.
pub(super) const R_BPF_64_64: u32 = 1;

/// Where libbpf looks for map definitions.
pub(super) const MAPS: &str = ".maps";
/// Where it looked before version 1.0, for others.
pub(super) const MAPS_BEFORE: &str = "maps";
