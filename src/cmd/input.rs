//! Programs from outside: raw bytes, hex text, or the sections of an ELF object.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::ValueEnum;
use xhop_asm::MapShape;
use xhop_asm::elf::Object;
use xhop_asm::insn::SLOT;

use crate::{Error, Result};

/// Bytes that are read at most: twice what a kernel takes as a program.
const MOST: u64 = 16 << 20;

/// What is in a file.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// By what it looks like.
    Auto,
    /// Instructions, little-endian.
    Raw,
    /// Instructions as hex digits, little-endian; white space between them does not matter.
    Hex,
    /// An object, as `clang -target bpf -c` makes it.
    Elf,
}

/// Which file, and what of it.
#[derive(clap::Args, Debug)]
pub struct Choice {
    /// What is in the file.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// Only this section of an ELF object.
    #[arg(long, value_name = "NAME")]
    section: Option<String>,
}

/// What was in a file.
pub struct Input {
    /// Pieces of code, each little-endian.
    pub pieces: Vec<Piece>,
    /// The maps that an object defines, which its code names by index; their names are printable.
    pub maps: Vec<MapShape>,
}

/// Code with its name.
pub struct Piece {
    /// Of an object's section; printable.
    pub section: Option<String>,
    /// The functions in it, with the slots where they begin; printable.
    pub functions: Vec<(usize, String)>,
    /// Its instructions.
    pub bytes: Vec<u8>,
}

impl Choice {
    /// Whether anything is said of what is in the file.
    pub fn is_made(&self) -> bool {
        self.format != Format::Auto || self.section.is_some()
    }
}

/// Reads a file; `-` is the standard input.
pub fn read(file: &Path, args: &Choice) -> Result<Input> {
    let unfit = |why: String| Error::Code { file: named(file, "standard input").into(), why };
    let bytes = contents(file, MOST)?.ok_or_else(|| {
        unfit("more than 16 MiB, longer than any program: name another file".into())
    })?;
    let format = match args.format {
        Format::Auto if bytes.starts_with(b"\x7fELF") => Format::Elf,
        Format::Auto if is_hex(&bytes) => Format::Hex,
        Format::Auto => Format::Raw,
        format => format,
    };
    if format == Format::Elf {
        return object(&bytes, args.section.as_deref()).map_err(unfit);
    }
    if args.section.is_some() {
        return Err(unfit("only an ELF object has sections: leave out --section".into()));
    }
    let bytes = if format == Format::Hex { from_hex(&bytes).map_err(unfit)? } else { bytes };
    let piece = Piece { section: None, functions: Vec::new(), bytes };
    Ok(Input { pieces: vec![piece], maps: Vec::new() })
}

/// A whole file, or standard input for `-`; `None` if it has more than `most` bytes.
pub fn contents(file: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // One byte more than may be shows that there is more.
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes),
        false => File::open(file).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)),
    };
    let read = read.map_err(Error::io(named(file, "standard input")))? as u64;
    Ok((read <= most).then_some(bytes))
}

/// A file as errors name it, where `-` stands for a standard stream.
pub fn named<'a>(file: &'a Path, stream: &'static str) -> &'a Path {
    if file.as_os_str() == "-" { stream.as_ref() } else { file }
}

fn is_hex(bytes: &[u8]) -> bool {
    let mut all = bytes.iter().all(|byte| byte.is_ascii_hexdigit() || byte.is_ascii_whitespace());
    all &= bytes.iter().any(u8::is_ascii_hexdigit);
    all
}

fn from_hex(text: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect();
    hex::decode(digits).map_err(|error| format!("no hex text: {error}"))
}

fn object(bytes: &[u8], wanted: Option<&str>) -> std::result::Result<Input, String> {
    let object = Object::parse(bytes).map_err(|error| error.to_string())?;
    let mut pieces = Vec::new();
    for section in object.sections() {
        if wanted.is_none_or(|wanted| wanted == section.name) {
            let function = |function: &xhop_asm::elf::Function| {
                let slot = usize::try_from(function.offset).unwrap_or(usize::MAX) / SLOT;
                (slot, function.name.escape_debug().to_string())
            };
            pieces.push(Piece {
                section: Some(section.name.escape_debug().to_string()),
                functions: section.functions.iter().map(function).collect(),
                bytes: section.little_endian().into_owned(),
            });
        }
    }
    if pieces.is_empty() {
        let names: Vec<&str> = object.sections().iter().map(|found| found.name.as_str()).collect();
        return Err(match wanted {
            Some(_) => {
                format!("no such section with code: it has {}", names.join(", ").escape_debug())
            }
            None => "no section with code".into(),
        });
    }
    let mut maps = object.maps().to_vec();
    for map in &mut maps {
        map.name = map.name.escape_debug().to_string();
    }
    Ok(Input { pieces, maps })
}
