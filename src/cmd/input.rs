//! Programs from outside: raw bytes, hex text, or the sections of an ELF object.

use std::fs::File;
use std::io::{ErrorKind, Read};

use clap::ValueEnum;
use xhop_asm::MapShape;
use xhop_asm::elf::Object;
use xhop_asm::insn::SLOT;

use crate::{Error, Result};

/// Bytes that are read at most: twice what a kernel takes as a program.
const MOST: usize = 16 << 20;

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
    /// The maps that an object defines, which its code names by index.
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

/// Reads a file; `-` is the standard input.
pub fn read(file: &str, args: &Choice) -> Result<Input> {
    let bytes = contents(file)?;
    let unfit = |why: String| Error::Code { file: file.escape_debug().to_string(), why };
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

fn contents(file: &str) -> Result<Vec<u8>> {
    let read = |from: &mut dyn Read| {
        let mut bytes = Vec::new();
        from.take(MOST as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > MOST {
            return Err(std::io::Error::new(ErrorKind::FileTooLarge, "longer than any program"));
        }
        Ok(bytes)
    };
    let bytes = match file {
        "-" => read(&mut std::io::stdin().lock()),
        path => File::open(path).and_then(|mut file| read(&mut file)),
    };
    bytes.map_err(|why| Error::Code { file: file.escape_debug().to_string(), why: why.to_string() })
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
    Ok(Input { pieces, maps: object.maps().to_vec() })
}
