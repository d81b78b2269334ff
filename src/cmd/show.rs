//! `xhop show`: one program, for people and for other tools.

use std::io::IsTerminal;

use clap::ValueEnum;
use xhop_asm::elf::object;
use xhop_asm::listing::{View, c, dot, listing};
use xhop_asm::programs::Shipped;

use super::rights::Rights;
use super::{program, put};
use crate::{Error, Result};

/// The oldest kernel that can be shown for: the oldest that is supported.
const OLDEST: (u32, u32) = (5, 10);

/// What to show, and how.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Its name, as `xhop programs` lists it.
    #[arg(value_parser = program)]
    program: Shipped,
    /// As what.
    #[arg(long, value_enum, default_value_t = Format::Listing)]
    format: Format,
    /// As a kernel of this version gets it, say 5.10: before 5.14 each map is named by its descriptor.
    #[arg(long, value_name = "VERSION", value_parser = kernel)]
    kernel: Option<(u32, u32)>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// All there is to know, then an instruction a line.
    Listing,
    /// Hex digits, 8 bytes a line.
    Hex,
    /// A C array of `struct bpf_insn`.
    C,
    /// The bytes: what is hashed, little-endian.
    Bin,
    /// The control flow, for graphviz.
    Dot,
    /// An object with BTF for loaders and verifiers; it is the same for every kernel.
    Elf,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::PRINT.take()?;
    let shipped = args.program;
    let program = shipped.program().map_err(Error::Assemble)?;
    let view = View::new(&program, args.kernel);
    let text = match args.format {
        Format::Listing => listing(shipped, args.kernel).map_err(Error::Assemble)?,
        Format::Hex => view.hex(),
        Format::C => c(view),
        Format::Dot => dot(view),
        Format::Bin => return binary(&view.bytes(), "bin"),
        Format::Elf => return binary(&object(&program), "elf"),
    };
    put(text.as_bytes());
    Ok(())
}

/// Bytes that are no text.
fn binary(bytes: &[u8], format: &'static str) -> Result<()> {
    if std::io::stdout().is_terminal() {
        return Err(Error::Terminal { format });
    }
    put(bytes);
    Ok(())
}

/// `5.10`, or `5.10.209-something` as uname(1) prints it.
fn kernel(version: &str) -> std::result::Result<(u32, u32), String> {
    let mut numbers = version.splitn(3, '.').map(|number| {
        let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        number.get(..digits).and_then(|digits| digits.parse().ok())
    });
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok((major, minor)),
        (Some(_), Some(_)) => Err("kernels from 5.10 on are supported".into()),
        _ => Err("a version is two numbers, as in 5.10".into()),
    }
}
